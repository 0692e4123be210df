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
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import orjson

from runabout.executors.driver import Created, Creation, Done, Invalid, PodRef, Removal, Unavailable
from runabout.executors.manifest import PLAN_ANNOTATION, PLAN_FILE, PodManifest
from runabout.records.json import JsonObject

NODE = "local"
PROGRAMS = ("toolbox", "runabout-clone")
"""What executes steps; the second one is needed by those that clone, and lies beside the first."""
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "USER", *PROXIES, "SSL_CERT_FILE")
"""Variables of ours that steps have, too; a container would have its image's."""
END_SECONDS = 5.0
"""For processes that were killed."""
STOP_LOOKS = 1000
"""At a process that was told to stop: it does so within microseconds."""
_AT_REST = frozenset("TtZX")
"""States of a thread that is stopped, traced, or dead."""
_NO_FOLDER = Path("/nonexistent")
_NO_TEXT = "a variable can only be text; encode the value, as base64 for example, and decode it in the step"

Changed = Callable[[JsonObject | None, JsonObject | None], None]
"""Is told of a pod before and after it has changed; None: it is not there."""


class _UnusableError(Exception):
    """What a task asks for is not to be had here; the message says what to do."""


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
    """Implements :class:`runabout.executors.driver.Driver`; an async context, at whose end nothing runs any more.

    `work` is a folder for attempts, `toolbox` the program. In `secrets` the values of Secrets and ConfigMaps are files,
    `<name>/<key>`; None where there are none.
    """

    def __init__(
        self, *, work: Path, toolbox: Path, secrets: Path | None = None, on_change: Changed, now: Callable[[], int]
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
        except _UnusableError as error:
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
        """End all processes at once."""
        for attempt in self._attempts.values():
            _kill(attempt)

    def pod(self, _namespace: str, name: str) -> JsonObject | None:
        """Return an attempt as the pod that it stands for."""
        attempt = self._attempts.get(name)
        return None if attempt is None or attempt.started is None else _pod(attempt)

    def log(self, pod: str) -> Path | None:
        """Return the file with an attempt's log, which grows until that is over; None if there is none.

        That of an earlier process, which was killed, is as good.
        """
        file = self._work / pod / "log"
        return file if file.exists() else None

    def is_over(self, pod: str) -> bool:
        """Whether nothing of an attempt runs any more."""
        attempt = self._attempts.get(pod)
        return attempt is None or attempt.over.is_set()

    def holder(self, token: str) -> tuple[str, str] | None:
        """Return namespace and pod to which a token was given, while that runs."""
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
        variables = self._variables(manifest)
        for part in ("bin", "home", "tmp"):
            (folder / part).mkdir(parents=True, mode=0o700)
        for name in PROGRAMS:  # copies: a toolbox takes note beside itself that it has begun
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(self._toolbox.with_name(name) if name != PROGRAMS[0] else self._toolbox, folder / "bin")
        program = folder / "bin" / self._toolbox.name
        program.rename(folder / "bin" / PROGRAMS[0])
        (folder / "token").write_text(attempt.token)
        (folder / "token").chmod(0o600)
        (folder / PLAN_FILE).write_bytes(self._plan(attempt))
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {**passed, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), **variables}

    def _plan(self, attempt: _Attempt) -> bytes:
        """Return the plan with places of this machine in it."""
        plan = orjson.loads(_plan_of(attempt.manifest))
        if "gateway" in plan:
            plan["gateway"]["tokenFile"] = str(attempt.folder / "token")
        for step in plan["steps"]:
            credentials = step.get("clone", {}).get("credentials")
            if credentials:
                folder = self._secret(credentials["secret"])
                if not folder.is_dir():
                    raise _UnusableError(
                        f"what a clone step logs in with comes from the Secret {credentials['secret']}, which only a "
                        "cluster has: put username and password, or ssh-privatekey, as files into the folder "
                        f"{self._advised(folder)}"
                    )
                credentials["folder"] = str(folder)
        return orjson.dumps(plan)

    def _variables(self, manifest: PodManifest) -> dict[str, str]:
        """Return the variables of the first container; the toolbox takes out what is meant for its plan."""
        [container] = _list(_object(manifest.pod["spec"])["containers"])
        found: dict[str, str] = {}
        for variable in map(_object, _list(container.get("env"))):
            name, value = str(variable["name"]), variable.get("value")
            if isinstance(value, str):
                found[name] = value.replace("$$", "$")  # as Kubernetes does
                continue
            read = self._referred(name, _object(variable.get("valueFrom")))
            if read is not None:
                found[name] = read
        return found

    def _referred(self, variable: str, source: Mapping[str, object]) -> str | None:
        [reference] = map(_object, source.values())
        file = self._secret(str(reference["name"])) / str(reference["key"])
        try:
            value = file.read_bytes()
        except OSError as error:
            if reference.get("optional") is True:
                return None
            raise _UnusableError(
                f"the variable {variable} comes from a Secret or ConfigMap, which only a cluster has: put its value "
                f"into the file {self._advised(file)}"
            ) from error
        try:
            text = value.decode()
        except UnicodeDecodeError as error:
            raise _UnusableError(
                f"the variable {variable} comes from {file}, which is not UTF-8: {_NO_TEXT}"
            ) from error
        if "\x00" in text:
            raise _UnusableError(f"the variable {variable} comes from {file}, which has a zero byte: {_NO_TEXT}")
        return text

    def _advised(self, place: Path) -> str:
        """Return where in the folder of Secrets something belongs, and what to do to have such a folder."""
        if self._secrets is not None:
            return str(place)
        return f"{place.relative_to(_NO_FOLDER)} and give the folder as --secrets"

    def _secret(self, name: str) -> Path:
        return (self._secrets or _NO_FOLDER) / name

    async def _start(self, attempt: _Attempt, environment: Mapping[str, str]) -> None:
        folder = attempt.folder
        with (folder / "log").open("wb") as log:
            attempt.process = await asyncio.create_subprocess_exec(
                str(folder / "bin" / PROGRAMS[0]),
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


def _plan_of(manifest: PodManifest) -> str:
    if manifest.config_map is not None:
        return str(_object(manifest.config_map["data"])[PLAN_FILE])
    return str(_object(_object(manifest.pod["metadata"])["annotations"])[PLAN_ANNOTATION])


def _pod(attempt: _Attempt) -> JsonObject:
    state: dict[str, object] = {"running": {"startedAt": _time(attempt.started)}}
    phase = "Running"
    if attempt.ended is not None:
        phase = "Succeeded" if attempt.exit_code == 0 else "Failed"
        state = {
            "terminated": {
                "exitCode": attempt.exit_code,
                "reason": "Completed" if attempt.exit_code == 0 else "Error",
                "message": attempt.summary,
                "startedAt": _time(attempt.started),
                "finishedAt": _time(attempt.ended),
            }
        }
    metadata = {
        **_object(attempt.manifest.pod["metadata"]),
        "uid": attempt.uid,
        "creationTimestamp": _time(attempt.created),
    }
    return {
        "metadata": metadata,
        "spec": {"nodeName": NODE},
        "status": {"phase": phase, "containerStatuses": [{"name": attempt.manifest.container, "state": state}]},
    }


def _time(ms: int | None) -> str | None:
    """Return milliseconds since 1970 as Kubernetes writes times, but exactly."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Mapping[str, object]]:
    return list(map(_object, value)) if isinstance(value, list | tuple) else []
