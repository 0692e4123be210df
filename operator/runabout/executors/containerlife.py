"""One attempt as containers of Podman, from its images to its end: what a kubelet does with a pod.

What always holds: services are started in their order, each ready before the next one, and the main container after
them; they are ended after it, in the other order; a container is started once; whatever ends the life of an attempt,
its containers are removed with it, and its volumes.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import structlog

from runabout.executors.containerflags import Flags, Mount, container_flags
from runabout.executors.containerstate import ContainerState, began, pod_status
from runabout.executors.containervolumes import FOLDER
from runabout.executors.framedlog import Unframed
from runabout.executors.images import ImageError, Images
from runabout.executors.localdriver import Changed, shown_pod
from runabout.executors.manifest import TOOLBOX_CONTAINER, PodManifest
from runabout.executors.podman import Machine, Podman, PodmanError
from runabout.executors.podview import items, mapping, text
from runabout.executors.probes import Probe
from runabout.executors.services import PROBE_GRACE_SECONDS
from runabout.records.json import JsonObject

log = structlog.get_logger(__name__)

PULL_PAUSES = (10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""Seconds between tries of an image that does not come, a kubelet's."""
WAIT_TRIES = 3
"""How often Podman is asked for the end of a container before that is lost."""
SERVICE_SECONDS = 10
"""For a service to end, between SIGTERM and SIGKILL."""
MOST_LOG = "512mb"
"""Of a service's log, which begins anew then; a step's has no limit here."""
TAIL = 4096
"""Bytes of a log that are read to say what a container wrote last."""


@dataclass(slots=True)
class Attempt:
    """What an attempt was made with. `containers` are the services in their order, and the main one last."""

    manifest: PodManifest
    uid: str
    token: str
    created: int
    folder: Path
    containers: tuple[JsonObject, ...]
    variables: Mapping[str, Mapping[str, str]]
    """by container"""
    mounts: Mapping[str, tuple[Mount, ...]]
    """by container"""

    @property
    def summary(self) -> Path:
        """The file that the toolbox writes its summary to."""
        return self.folder / "summary"

    def log(self, container: str) -> Path:
        """Return the file with a container's log."""
        return log_file(self.folder, container)


def log_file(folder: Path, container: str) -> Path:
    """Return the file with a container's log in an attempt's folder."""
    return folder / "logs" / container


def containers_in(pod: JsonObject) -> tuple[JsonObject, ...]:
    """Return what of a pod's spec is executed here: services, and the main container last."""
    services = (item for item in items(pod.get("initContainers")) if item.get("name") != TOOLBOX_CONTAINER)
    return (*services, *items(pod.get("containers")))


@dataclass(slots=True)
class Life:
    """Executes an attempt; `on_change` is told of its pod before and after each change."""

    attempt: Attempt
    podman: Podman
    machine: Machine
    images: Images
    on_change: Changed
    now: Callable[[], int]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """set when nothing of it is left"""
    begins: asyncio.Lock = field(default_factory=asyncio.Lock)
    """held while a container is being started: it may run before that is known"""
    gone: bool = False
    """whether nobody is told anything any more"""
    _states: dict[str, ContainerState] = field(default_factory=dict)
    _broken: str | None = None
    _service_seconds: int = SERVICE_SECONDS
    _ends: dict[str, asyncio.Event] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    """under which each image is here, by container"""
    _following: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for container in self.attempt.containers:
            name = text(container.get("name"))
            self._states[name] = ContainerState(name)
            self._ends[name] = asyncio.Event()

    @property
    def main(self) -> ContainerState:
        """How the main container is."""
        return self._states[self.attempt.manifest.container]

    def is_over(self, container: str) -> bool:
        """Whether a container has ended, or never will begin."""
        return self.over.is_set() or container not in self._states or self._states[container].ended is not None

    def pod(self) -> JsonObject:
        """Return the pod that the attempt stands for."""
        *services, main = (self._states[text(each.get("name"))] for each in self.attempt.containers)
        created = self.attempt.created
        status = pod_status(main, services, created=created, broken=self._broken)
        return shown_pod(self.attempt.manifest, uid=self.attempt.uid, created=created, status=status)

    async def run(self) -> None:
        """Execute the attempt to its end, or until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    await self._course(group)
                except (PodmanError, OSError, ValueError) as error:
                    log.warning("an attempt is given up", pod=self.attempt.manifest.name, why=str(error))
                    before = self.pod()
                    self._broken = str(error)
                    self._told(before)
                    for each in self._following:
                        each.cancel()
        finally:
            await _to_its_end(self._clear())

    async def stop(self) -> None:
        """Ask the steps to end.

        Raises:
            PodmanError: they cannot be asked.
        """
        await self._signal("TERM", self.main)

    async def kill(self) -> None:
        """End the steps at once, and the services with them, also those that are being ended gently.

        Raises:
            PodmanError: that does not work.
        """
        self._service_seconds = 0
        for state in (self.main, *self._states.values()):
            if self._states[state.name].runs:
                await self._signal("KILL", state)

    async def _signal(self, name: str, state: ContainerState) -> None:
        try:
            await self.podman.run("kill", "--signal", name, self._container(state.name))
        except PodmanError:
            if not await self._has_ended(state.name):
                raise

    async def _course(self, group: asyncio.TaskGroup) -> None:
        *services, main = self.attempt.containers
        for container in self.attempt.containers:
            await self._have_image(container)
        if services:
            name = self.attempt.manifest.name
            await self.podman.run("pod", "create", "--name", name, "--hostname", name[:63], *self.podman.labels)
        for service in services:
            name = text(service.get("name"))
            if not await self._start(group, service):
                await self._never()
            if not await self._becomes_ready(service):
                await self._never()
            self._is(name, ready=True)
        await self._start(group, main)
        await self._ends[self.main.name].wait()
        for service in reversed(services):
            name = text(service.get("name"))
            if self._states[name].runs:
                await self.podman.run("stop", "-t", str(self._service_seconds), self._container(name))
            await self._ends[name].wait()

    async def _never(self) -> None:
        """Wait for somebody to look: an attempt whose service does not serve is ended from outside."""
        await asyncio.Event().wait()

    async def _have_image(self, container: JsonObject) -> None:
        """Have a container's image, however often that has to be tried; somebody else decides how long."""
        name, image = text(container.get("name")), text(container.get("image"))
        policy = text(container.get("imagePullPolicy")) or None
        tries = 0
        while True:
            try:
                self._names[name] = await self.images.have(image, policy, self._pulling)
            except ImageError as error:
                self._waits(name, error.reason, str(error))
            else:
                self._waits(name, "PodInitializing", "")
                return
            await asyncio.sleep(PULL_PAUSES[min(tries, len(PULL_PAUSES) - 1)])
            tries += 1

    def _pulling(self, how_far: str) -> None:
        self._waits(self.main.name, "ContainerCreating", how_far)

    async def _start(self, group: asyncio.TaskGroup, container: JsonObject) -> bool:
        """Start a container, and follow it; return False if it cannot be started, which its state says then."""
        name = text(container.get("name"))
        flags = self._flags(container)
        words = ["run", "-d", "--name", self._container(name), *self.podman.labels, *self._log_words(container)]
        if len(self.attempt.containers) > 1:
            words += ("--pod", self.attempt.manifest.name)
        else:
            words += ("--hostname", self.attempt.manifest.name[:63])
        async with self.begins:
            try:
                await self.podman.run(*words, *flags.words, variables=flags.variables)
            except PodmanError as error:
                if error.code is None or error.code < 0:
                    raise  # it says nothing about the container
                before = self.pod()
                self._states[name] = self._states[name].unstarted(str(error), now=self.now())
                self._ends[name].set()
                self._told(before)
                return False
            self._is(name, started=began(await self._inspected(name)) or self.now())
        task = group.create_task(self._follow(name), name=f"container {name} of {self.attempt.manifest.name}")
        self._following.append(task)
        return True

    def _flags(self, container: JsonObject) -> Flags:
        name, spec = text(container.get("name")), mapping(self.attempt.manifest.pod["spec"])
        return container_flags(
            container,
            image=self._names[name],
            pod_security=mapping(spec.get("securityContext")),
            variables=self.attempt.variables[name],
            mounts=self.attempt.mounts[name],
            limits=self.machine.limits,
        )

    def _log_words(self, container: JsonObject) -> list[str]:
        name = text(container.get("name"))
        words = ["--log-driver", "k8s-file", "--log-opt", f"path={self.attempt.log(name)}"]
        return words if name == self.main.name else [*words, "--log-opt", f"max-size={MOST_LOG}"]

    async def _becomes_ready(self, container: JsonObject) -> bool:
        """Wait until a service is ready; return False if it has ended, or was ended because it never was."""
        name, wanted = text(container.get("name")), mapping(container.get("startupProbe"))
        if not wanted:
            return True
        probe = Probe.of(wanted)
        await asyncio.sleep(probe.delay_seconds)
        for _ in range(probe.tries):
            pause = asyncio.create_task(asyncio.sleep(probe.period_seconds))
            try:
                if self._states[name].ended is None and await self._answers(name, probe):
                    return self._states[name].ended is None
                if self._states[name].ended is not None:
                    return False
                await pause
            finally:
                pause.cancel()
        await self.podman.run("stop", "-t", str(PROBE_GRACE_SECONDS), self._container(name))
        return False

    async def _answers(self, name: str, probe: Probe) -> bool:
        try:
            await self.podman.run("exec", self._container(name), *probe.words)
        except PodmanError:
            return False
        return True

    async def _follow(self, name: str) -> None:
        """Take note of a container's end."""
        inspected = await self._how_it_ended(name)
        failed = inspected.get("ExitCode") != 0
        if name == self.main.name:
            message = await asyncio.to_thread(_text, self.attempt.summary)
        else:
            message = await asyncio.to_thread(_last_words, self.attempt.log(name)) if failed else ""
        before = self.pod()
        self._states[name] = self._states[name].over(inspected, message=message, now=self.now())
        self._ends[name].set()
        self._told(before)

    async def _how_it_ended(self, name: str) -> JsonObject:
        """Wait for a container's end; a command that fails says nothing of the container, which may well run on."""
        for left in reversed(range(WAIT_TRIES)):
            try:
                await self.podman.run("wait", self._container(name), seconds=None)
                return await self._inspected(name)
            except PodmanError as error:
                pod = self.attempt.manifest.name
                log.warning("the end of a container is unknown", pod=pod, container=name, tries=left, why=str(error))
        return {}

    async def _inspected(self, name: str) -> JsonObject:
        said = await self.podman.run("container", "inspect", "--format", "{{json .State}}", self._container(name))
        try:
            return mapping(orjson.loads(said))
        except orjson.JSONDecodeError as error:
            raise PodmanError(f"podman container inspect answers with what is no JSON: {said[:200]!r}") from error

    async def _has_ended(self, name: str) -> bool:
        with contextlib.suppress(PodmanError):
            return text((await self._inspected(name)).get("Status")) in ("exited", "stopped", "removing")
        return False

    async def _clear(self) -> None:
        """Remove what is left of the attempt; what cannot be removed now is when all is over."""
        try:
            await self._remove()
            await clear_volumes(self.podman, self.machine, self.attempt.folder)
        except PodmanError as error:
            log.warning("containers are left for later", pod=self.attempt.manifest.name, why=str(error))
        finally:
            self.over.set()

    async def _remove(self) -> None:
        if len(self.attempt.containers) > 1:
            await self.podman.run("pod", "rm", "--ignore", "-f", "-t", "0", self.attempt.manifest.name)
        else:
            await self.podman.run("rm", "--ignore", "-f", "-v", "-t", "0", self._container(self.main.name))

    def _container(self, name: str) -> str:
        return f"{self.attempt.manifest.name}.{name}"

    def _waits(self, name: str, reason: str, message: str) -> None:
        before = self.pod()
        self._states[name] = self._states[name].waiting(reason, message)
        self._told(before)

    def _is(self, name: str, *, started: int | None = None, ready: bool | None = None) -> None:
        before = self.pod()
        self._states[name] = self._states[name].going(started=started, ready=ready)
        self._told(before)

    def _told(self, before: JsonObject) -> None:
        if not self.gone:
            self.on_change(before, self.pod())


async def _to_its_end(work: Coroutine[None, None, None]) -> None:
    """Wait for what tidies up, and does not take for ever, however often we are cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError


async def clear_volumes(podman: Podman, machine: Machine, folder: Path) -> None:
    """Remove an attempt's volumes, in which a user's containers may have files of other users.

    Raises:
        PodmanError: they are still there.
    """
    volumes = folder / FOLDER
    if not volumes.exists():
        return
    if machine.rootless:
        await podman.run("unshare", "rm", "-rf", "--", str(volumes))
    else:
        await asyncio.to_thread(shutil.rmtree, volumes, ignore_errors=True)


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _last_words(file: Path) -> str:
    """Return the end of what a container wrote."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - TAIL))
            if opened.tell():
                opened.readline()
            return Unframed().feed(opened.read()).decode(errors="replace")
    except OSError:
        return ""
