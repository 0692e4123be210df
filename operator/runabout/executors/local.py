"""The driver that runs each attempt as processes of this machine: the toolbox with its plan, in a folder of its own.

An attempt is shown as the pod that it stands for, so that whoever observes pods observes it. What always holds: one
name is started once; an attempt's files, home and temporary folder are its own; its processes end when we do, whatever
ends us (the toolbox follows its parent). Nothing is isolated beyond that: no image, no limits, no other user.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import orjson

from runabout.executors.driver import Created, Creation, Done, Invalid, PodRef, Removal, Unavailable
from runabout.executors.localdriver import (
    NODE,
    TOOLBOX,
    Changed,
    LogFile,
    plan_of,
    put_programs,
    shown_pod,
    time_text,
)
from runabout.executors.localsecrets import LocalSecrets, UnusableError
from runabout.executors.manifest import PLAN_FILE, TOOLBOX_CONTAINER, PodManifest
from runabout.executors.podview import items, mapping
from runabout.records.json import JsonObject

PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "USER", *PROXIES, "SSL_CERT_FILE")
"""Variables of ours that steps have, too; a container would have its image's."""
END_SECONDS = 5.0
"""For processes that were killed."""
STOP_LOOKS = 1000
"""At a process that was told to stop: it does so within microseconds."""
_AT_REST = frozenset("TtZX")
"""States of a thread that is stopped, traced, or dead."""


@dataclass(slots=True)
class _Attempt:
    """The processes of one attempt."""

    folder: Path
    manifest: PodManifest
    uid: str
    token: str
    created: int
    process: asyncio.subprocess.Process | None = None
    started: int | None = None
    ended: int | None = None
    exit_code: int | None = None
    summary: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)


class ProcessDriver:
    """Implements :class:`runabout.executors.localdriver.LocalDriver`.

    `work` is a folder for attempts, `toolbox` the program.
    """

    def __init__(
        self, *, work: Path, toolbox: Path, secrets: LocalSecrets, on_change: Changed, now: Callable[[], int]
    ) -> None:
        self._work = work
        self._toolbox = toolbox
        self._secrets = secrets
        self._on_change = on_change
        self._now = now
        self._attempts: dict[str, _Attempt] = {}
        self._group: asyncio.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.kill()
        if self._group is not None:
            await self._group.__aexit__(None, None, None)

    async def create(self, manifest: PodManifest) -> Creation:
        """See `Driver.create`."""
        known = self._attempts.get(manifest.name)
        if known is not None:
            return Created(known.uid, NODE)
        attempt = _Attempt(
            self._work / manifest.name, manifest, str(uuid.uuid4()), secrets.token_urlsafe(), self._now()
        )
        self._attempts[manifest.name] = attempt
        try:
            environment = await asyncio.to_thread(self._prepare, attempt)
            await self._start(attempt, environment)
        except UnusableError as error:
            self._forget(attempt)
            return Invalid(str(error))
        except OSError as error:
            self._forget(attempt)
            return Unavailable(f"the attempt cannot be started: {error}")
        except Exception as error:  # noqa: BLE001 - or it would be taken for begun when it is asked for again
            self._forget(attempt)
            return Invalid(f"the attempt cannot be started: {type(error).__name__}: {error}")
        self._on_change(None, _pod(attempt))
        return Created(attempt.uid, NODE)

    async def stop(self, pod: PodRef, *, started: bool, grace_seconds: int) -> Removal:  # noqa: ARG002 - the toolbox knows the grace
        """See `Driver.stop`."""
        attempt = self._attempts.get(pod.name)
        if attempt is None or attempt.process is None:
            return Done(gone=True)
        if not attempt.over.is_set():
            attempt.process.send_signal(signal.SIGTERM)
        return Done()

    async def exists(self, pod: PodRef) -> bool:
        """See `Driver.exists`."""
        return pod.name in self._attempts

    async def remove(self, pod: PodRef, *, force: bool = False) -> Removal:  # noqa: ARG002 - there is one way
        """See `Driver.remove`."""
        attempt = self._attempts.get(pod.name)
        if attempt is None:
            return Done(gone=True)
        _kill(attempt)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await attempt.over.wait()
        before = _pod(attempt)
        del self._attempts[pod.name]
        self._on_change(before, None)
        return Done(gone=True)

    def kill(self) -> None:
        """See `LocalDriver.kill`."""
        for attempt in self._attempts.values():
            _kill(attempt)

    def pod(self, _namespace: str, name: str) -> JsonObject | None:
        """See `LocalDriver.pod`."""
        attempt = self._attempts.get(name)
        return None if attempt is None or attempt.started is None else _pod(attempt)

    def log(self, pod: str, container: str) -> LogFile | None:  # noqa: ARG002 - there is one
        """See `LocalDriver.log`."""
        file = self._work / pod / "log"
        return LogFile(file) if file.exists() else None

    def is_over(self, pod: str, container: str) -> bool:  # noqa: ARG002 - there is one
        """See `LocalDriver.is_over`."""
        attempt = self._attempts.get(pod)
        return attempt is None or attempt.over.is_set()

    def holder(self, token: str) -> tuple[str, str] | None:
        """See `LocalDriver.holder`."""
        for attempt in self._attempts.values():
            if secrets.compare_digest(attempt.token, token) and not attempt.over.is_set():
                return attempt.manifest.namespace, attempt.manifest.name
        return None

    def _forget(self, attempt: _Attempt) -> None:
        """Let an attempt that did not begin be tried again."""
        _kill(attempt)
        del self._attempts[attempt.manifest.name]
        shutil.rmtree(attempt.folder, ignore_errors=True)

    def _prepare(self, attempt: _Attempt) -> dict[str, str]:
        """Make the attempt's folder; return the environment of its processes."""
        folder, manifest = attempt.folder, attempt.manifest
        pod = mapping(manifest.pod["spec"])
        services = [item for item in items(pod.get("initContainers")) if item.get("name") != TOOLBOX_CONTAINER]
        if services:
            raise UnusableError(f"the service {services[0].get('name')} needs a container: give --in containers")
        [container] = items(pod["containers"])
        variables = self._secrets.variables(container)
        for part in ("bin", "home", "tmp"):
            (folder / part).mkdir(parents=True, mode=0o700)
        put_programs(self._toolbox, folder / "bin")
        (folder / "token").write_text(attempt.token)
        (folder / "token").chmod(0o600)
        (folder / PLAN_FILE).write_bytes(self._plan(attempt))
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {**passed, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), **variables}

    def _plan(self, attempt: _Attempt) -> bytes:
        """Return the plan with places of this machine in it."""
        plan = orjson.loads(plan_of(attempt.manifest))
        if "gateway" in plan:
            plan["gateway"]["tokenFile"] = str(attempt.folder / "token")
        for step in plan["steps"]:
            credentials = step.get("clone", {}).get("credentials")
            if credentials:
                credentials["folder"] = str(self._secrets.login(credentials["secret"]))
        return orjson.dumps(plan)

    async def _start(self, attempt: _Attempt, environment: Mapping[str, str]) -> None:
        folder = attempt.folder
        with (folder / "log").open("wb") as log:
            attempt.process = await asyncio.create_subprocess_exec(
                str(folder / "bin" / TOOLBOX),
                "run",
                *("--plan", str(folder / PLAN_FILE)),
                *("--termination-log", str(folder / "summary")),
                *("--parent", str(os.getpid())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,  # a file, which takes what is written after our end, too
                stderr=log,
                env=dict(environment),
                cwd=folder / "home",
                start_new_session=True,  # Ctrl-C is for us; we tell the toolbox
            )
        attempt.started = self._now()
        if self._group is None:
            raise RuntimeError("the driver is an async context: enter it first")
        self._group.create_task(self._follow(attempt, attempt.process), name=f"processes of {attempt.manifest.name}")

    async def _follow(self, attempt: _Attempt, process: asyncio.subprocess.Process) -> None:
        before = _pod(attempt)
        code = await process.wait()
        with contextlib.suppress(OSError):
            attempt.summary = (attempt.folder / "summary").read_text(errors="replace")
        attempt.exit_code = code if code >= 0 else 128 - code
        attempt.ended = self._now()
        attempt.over.set()
        if attempt.manifest.name in self._attempts:
            self._on_change(before, _pod(attempt))


def _kill(attempt: _Attempt) -> None:
    """End what an attempt has started.

    All are held before any is ended: one that runs may start another at any moment, and without their toolbox nobody
    would find them.
    """
    if attempt.process is None or attempt.over.is_set():
        return
    held: list[int] = []
    while new := [pid for pid in (attempt.process.pid, *_descendants(attempt.process.pid)) if pid not in held]:
        for pid in new:
            _signal(pid, signal.SIGSTOP)
        for pid in new:
            _await_stop(pid)
        held += new
    for pid in held:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _await_stop(pid: int) -> None:
    """Return when no thread of a process runs any more, or one is in a call that cannot be broken off."""
    for _ in range(STOP_LOOKS):
        try:
            threads = [file.read_text(errors="replace") for file in Path(f"/proc/{pid}/task").glob("*/stat")]
        except OSError:
            continue  # one has ended between the two looks
        if all(text.rpartition(")")[2].split()[0] in _AT_REST for text in threads):
            return
        os.sched_yield()


def _descendants(ancestor: int) -> list[int]:
    """Return the processes that stem from one, the nearest first."""
    children: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(file.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(file.parent.name))
    found = [ancestor]
    for pid in found:
        found += children.get(pid, ())
    return found[1:]


def _pod(attempt: _Attempt) -> JsonObject:
    state: dict[str, object] = {"running": {"startedAt": time_text(attempt.started)}}
    phase = "Running"
    if attempt.ended is not None:
        phase = "Succeeded" if attempt.exit_code == 0 else "Failed"
        state = {
            "terminated": {
                "exitCode": attempt.exit_code,
                "reason": "Completed" if attempt.exit_code == 0 else "Error",
                "message": attempt.summary,
                "startedAt": time_text(attempt.started),
                "finishedAt": time_text(attempt.ended),
            }
        }
    status = {"phase": phase, "containerStatuses": [{"name": attempt.manifest.container, "state": state}]}
    return shown_pod(attempt.manifest, uid=attempt.uid, created=attempt.created, status=status)
