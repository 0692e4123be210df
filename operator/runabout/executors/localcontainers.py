"""The driver that runs each attempt as containers of Podman: the task's own image, with the toolbox put into it.

What always holds: one name is started once; a container has what its pod would have (user, capabilities, limits,
volumes, services beside it on the same localhost), and of this machine only what the task names; everything ends when
we do, whatever ends us, and nothing is left: no container, no pod, no volume. Images stay, as with every use of Podman.
"""

import asyncio
import secrets
import shutil
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

from runabout.executors.containerflags import Mount
from runabout.executors.containerlife import Attempt, Life, clear_volumes, containers_in, log_file
from runabout.executors.containers import MOUNT
from runabout.executors.containervolumes import make_volumes, mounts_of
from runabout.executors.driver import Created, Creation, Done, Invalid, PodRef, Removal, Unavailable
from runabout.executors.images import Images
from runabout.executors.localdriver import NODE, Changed, LogFile, plan_of, put_programs
from runabout.executors.localsecrets import LocalSecrets, UnusableError
from runabout.executors.manifest import PLAN_FILE, PodManifest
from runabout.executors.podman import Machine, Podman, PodmanError
from runabout.executors.podview import mapping, text
from runabout.records.json import JsonObject

GATEWAY = f"{MOUNT}/gateway"
"""Where the folder with the gateway's socket appears."""
SOCKET = "socket"
"""The gateway's, in its folder."""
END_SECONDS = 30.0
"""For containers that are being removed."""


@dataclass(slots=True)
class _Running:
    """A life, and the task that lives it."""

    life: Life
    task: asyncio.Task[None]


class ContainerDriver:
    """Implements :class:`runabout.executors.localdriver.LocalDriver`.

    `work` is a folder for attempts, `toolbox` the program. Tasks reach the gateway through the socket in the folder
    `gateway`, None where nothing listens. `notice` is told sentences about images.
    """

    def __init__(
        self,
        *,
        podman: str,
        work: Path,
        toolbox: Path,
        secrets: LocalSecrets,
        gateway: Path | None,
        on_change: Changed,
        notice: Callable[[str], None],
        now: Callable[[], int],
    ) -> None:
        self._work = work
        self._toolbox = toolbox
        self._secrets = secrets
        self._gateway = gateway
        self._on_change = on_change
        self._now = now
        self._podman = Podman(podman, folder=work)
        self._images = Images(self._podman, notice=notice)
        self._attempts: dict[str, _Running] = {}
        self._making: dict[str, asyncio.Lock] = {}
        self._stack = AsyncExitStack()
        self._group = asyncio.TaskGroup()
        self._machine = Machine(rootless=True, limits=frozenset())

    async def __aenter__(self) -> Self:
        """Begin.

        Raises:
            PodmanError: Podman does not work here.
        """
        self._machine = await self._stack.enter_async_context(self._podman.guarded())
        for folder in self._work.iterdir():
            await clear_volumes(self._podman, self._machine, folder)
        await self._stack.enter_async_context(self._group)
        return self

    async def __aexit__(self, *error: object) -> None:
        for running in self._attempts.values():
            running.task.cancel()
        await self._stack.__aexit__(None, None, None)

    async def create(self, manifest: PodManifest) -> Creation:
        """See `Driver.create`."""
        async with self._making.setdefault(manifest.name, asyncio.Lock()):
            known = self._attempts.get(manifest.name)
            if known is not None:
                return Created(known.life.attempt.uid, NODE)
            folder = self._work / manifest.name
            try:
                attempt = await asyncio.to_thread(self._prepare, manifest, folder)
            except UnusableError as error:
                shutil.rmtree(folder, ignore_errors=True)
                return Invalid(str(error))
            except OSError as error:
                shutil.rmtree(folder, ignore_errors=True)
                return Unavailable(f"the attempt cannot be started: {error}")
            except Exception as error:  # noqa: BLE001 - or it would be taken for begun when it is asked for again
                shutil.rmtree(folder, ignore_errors=True)
                return Invalid(f"the attempt cannot be started: {type(error).__name__}: {error}")
            life = Life(attempt, self._podman, self._machine, self._images, self._on_change, self._now)
            task = self._group.create_task(life.run(), name=f"containers of {manifest.name}")
            task.add_done_callback(lambda _: life.over.set())  # it may be cancelled before it begins
            self._attempts[manifest.name] = _Running(life, task)
        self._on_change(None, life.pod())
        return Created(attempt.uid, NODE)

    async def stop(self, pod: PodRef, *, started: bool, grace_seconds: int) -> Removal:  # noqa: ARG002 - we know better; the toolbox knows the grace
        """See `Driver.stop`."""
        running = self._attempts.get(pod.name)
        if running is None:
            return Done(gone=True)
        life = running.life
        async with life.begins:
            begun = life.main.started is not None or life.over.is_set()
        if not begun:
            return await self.remove(pod)
        if life.main.runs:
            try:
                await life.stop()
            except PodmanError as error:
                return Unavailable(str(error))
        return Done()

    async def exists(self, pod: PodRef) -> bool:
        """See `Driver.exists`."""
        return pod.name in self._attempts

    async def remove(self, pod: PodRef, *, force: bool = False) -> Removal:  # noqa: ARG002 - there is one way
        """See `Driver.remove`."""
        running = self._attempts.get(pod.name)
        if running is None:
            return Done(gone=True)
        before = running.life.pod()
        running.life.gone = True
        running.task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await running.life.over.wait()
        if self._attempts.pop(pod.name, None) is not None:
            self._on_change(before, None)
        return Done(gone=True)

    def kill(self) -> None:
        """See `LocalDriver.kill`."""
        for name, running in self._attempts.items():
            if not running.life.over.is_set():
                self._group.create_task(self._kill(name, running.life), name=f"end of {name}")

    async def _kill(self, name: str, life: Life) -> None:
        if life.main.started is not None:
            with suppress(PodmanError):
                await life.kill()
                return
        if life.main.ended is None:
            await self.remove(PodRef("", name))

    def pod(self, _namespace: str, name: str) -> JsonObject | None:
        """See `LocalDriver.pod`."""
        running = self._attempts.get(name)
        return None if running is None or running.life.gone else running.life.pod()

    def log(self, pod: str, container: str) -> LogFile | None:
        """See `LocalDriver.log`."""
        file = log_file(self._work / pod, container)
        running = self._attempts.get(pod)
        of_service = running is not None and container != running.life.main.name
        return LogFile(file, framed=True, of_service=of_service) if file.exists() else None

    def is_over(self, pod: str, container: str) -> bool:
        """See `LocalDriver.is_over`."""
        running = self._attempts.get(pod)
        return running is None or running.life.is_over(container)

    def holder(self, token: str) -> tuple[str, str] | None:
        """See `LocalDriver.holder`."""
        for running in self._attempts.values():
            attempt, main = running.life.attempt, running.life.main
            if secrets.compare_digest(attempt.token, token) and main.ended is None and not running.life.gone:
                return attempt.manifest.namespace, attempt.manifest.name
        return None

    def _prepare(self, manifest: PodManifest, folder: Path) -> Attempt:
        """Make an attempt's folder: all that its containers find of ours."""
        pod = mapping(manifest.pod["spec"])
        containers = containers_in(pod)
        names = [text(container.get("name")) for container in containers]
        variables = {name: self._secrets.variables(each) for name, each in zip(names, containers, strict=True)}
        if any("\x00" in value for values in variables.values() for value in values.values()):
            raise ValueError("embedded null byte")
        plan = self._plan(manifest)
        for part in ("bin", "plan", "token", "logs"):
            (folder / part).mkdir(parents=True)
        put_programs(self._toolbox, folder / "bin")
        (folder / "bin").chmod(0o777)  # the steps' scripts are written there, by whichever user the image has
        token = secrets.token_urlsafe()
        (folder / "token" / "token").write_text(token)
        (folder / "plan" / PLAN_FILE).write_bytes(plan)
        (folder / "summary").touch()
        (folder / "summary").chmod(0o666)
        volumes = make_volumes(pod, folder, self._secrets)
        mounts = {
            name: (*mounts_of(container, volumes), *self._own_mounts(manifest, container, folder))
            for name, container in zip(names, containers, strict=True)
        }
        return Attempt(manifest, str(uuid.uuid4()), token, self._now(), folder, containers, variables, mounts)

    def _own_mounts(self, manifest: PodManifest, container: JsonObject, folder: Path) -> list[Mount]:
        """Return what a container has that its pod does not name: a kubelet's work, and ours."""
        if text(container.get("name")) != manifest.container:
            return [Mount(str(folder / "bin"), f"{MOUNT}/bin", read_only=True)] if container.get("startupProbe") else []
        summary = Mount(str(folder / "summary"), "/dev/termination-log")
        if self._gateway is None:
            return [summary]
        # All tasks have the same one: whoever could put another socket there would be given the others' tokens.
        return [summary, Mount(str(self._gateway), GATEWAY, read_only=True)]

    def _plan(self, manifest: PodManifest) -> bytes:
        """Return the plan with the way to the gateway in it; what its steps log in with is here."""
        plan = orjson.loads(plan_of(manifest))
        for step in plan["steps"]:
            login = step.get("clone", {}).get("credentials")
            if login:
                self._secrets.login(login["secret"])
        if "gateway" in plan and self._gateway is not None:
            plan["gateway"]["socket"] = f"{GATEWAY}/{SOCKET}"
        return orjson.dumps(plan)
