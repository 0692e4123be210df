"""Podman through its command line: what is asked of it, and that nothing of it outlives us.

What always holds: each container and pod that is made has our labels, by which all of them are found again. A process
of its own, the guard, waits for our end; if we are killed, it ends the commands that are under way, and removes what
they have made. If it is killed as well, whoever works with the same folder next does.
"""

import asyncio
import hashlib
import os
import shutil
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from runabout.executors.podview import mapping, text

PROGRAM = "podman"
INSTALL = "install Podman (Debian, Fedora and others: the package podman)"
OLDEST = 4
"""The first major version that has everything that is asked for."""
FOLDER_LABEL = "dev.runabout.folder"
PROCESS_LABEL = "dev.runabout.process"
COMMAND_SECONDS = 120.0
"""For a command that only this machine is needed for, many times what it takes."""
PATIENCE_SECONDS = 10.0
"""For a command that is broken off to tidy up after itself."""
_GUARD = """
trap '' HUP INT TERM
read -r word && exit 0
kill -TERM 0
for round in 1 2 3 4 5 6 7 8 9 10; do
  pods=$("$1" pod ps -q --filter "label=$2" </dev/null)
  [ -z "$pods" ] || "$1" pod rm -f -t 0 $pods </dev/null
  left=$("$1" ps -aq --filter "label=$2" </dev/null)
  [ -z "$left" ] || "$1" rm -f -v -t 0 $left </dev/null
  [ -n "$pods$left" ] || [ "$round" -lt 3 ] || exit 0
  sleep 1
done
"""
"""Arguments: podman, the label of our process: another one may already work with our folder.

Several rounds, for a command that was broken off may still have made something.
"""


class PodmanError(Exception):
    """A command did not do what it should; the message is Podman's own, `code` its exit code, None if it was late."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Machine:
    """What Podman can do here."""

    rootless: bool
    limits: frozenset[str]
    """What can be limited: `cpu`, `memory`."""


def find_podman() -> str | None:
    """Return the program, None if it is not installed."""
    return shutil.which(PROGRAM)


class Podman:
    """Runs commands for the one process that works with a `folder`."""

    def __init__(self, program: str, *, folder: Path) -> None:
        self._program = program
        self._folder = f"{FOLDER_LABEL}={hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]}"
        self._process = f"{PROCESS_LABEL}={uuid.uuid4().hex}"
        self._guard: asyncio.subprocess.Process | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """What each container and pod has to be made with."""
        return ("--label", self._folder, "--label", self._process)

    @asynccontextmanager
    async def guarded(self) -> AsyncIterator[Machine]:
        """Yield what can be done here; what an earlier process left is gone, and what we leave goes at the end.

        Raises:
            PodmanError: Podman does not work here, or is too old.
        """
        machine = await self._machine()
        await self.remove_all()
        self._guard = await asyncio.create_subprocess_exec(
            "/bin/sh",
            *("-c", _GUARD, "runabout-guard", self._program, self._process),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            process_group=0,
        )
        try:
            yield machine
        finally:
            await asyncio.shield(self.remove_all())
            await self._guard.communicate(b"done\n")
            self._guard = None

    async def remove_all(self) -> None:
        """Remove every pod and container of our folder, and what they have as volumes."""
        found = f"label={self._folder}"
        pods = (await self.run("pod", "ps", "-q", "--filter", found)).split()
        if pods:
            await self.run("pod", "rm", "-f", "-t", "0", *pods)
        left = (await self.run("ps", "-aq", "--filter", found)).split()
        if left:
            await self.run("rm", "-f", "-v", "-t", "0", *left)

    async def run(
        self,
        *words: str,
        variables: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        seconds: float | None = COMMAND_SECONDS,
    ) -> str:
        """Run a command and return what it says.

        Args:
            words: of the command, after the program.
            variables: that it has in its environment, besides ours.
            on_line: is told the lines of its standard error as they come.
            seconds: that it may take, None for as long as it takes.

        Raises:
            PodmanError: it failed, or was not ready in time.
        """
        process = await asyncio.create_subprocess_exec(
            self._program,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **(variables or {})},
            process_group=self._process_group(),
        )
        try:
            async with asyncio.timeout(seconds):
                said, errors = await _read(process, on_line)
        except TimeoutError as error:
            raise PodmanError(f"podman {words[0]} was not ready after {seconds:.0f} seconds") from error
        finally:
            if process.returncode is None:
                await asyncio.shield(_broken_off(process))
        if process.returncode:
            raise PodmanError(_reason(errors) or f"podman {words[0]} failed without a word", process.returncode)
        return said

    def _process_group(self) -> int:
        """Return the guard's process group, which it ends as a whole; while there is none, one of its own."""
        return self._guard.pid if self._guard is not None and self._guard.returncode is None else 0

    async def _machine(self) -> Machine:
        found = orjson.loads(await self.run("info", "--format", "json"))
        host, version = mapping(found.get("host")), text(mapping(found.get("version")).get("Version"))
        major = version.partition(".")[0]
        if not major.isdigit() or int(major) < OLDEST:
            raise PodmanError(f"this is Podman {version}, and {OLDEST}.0 or newer is needed")
        rootless = mapping(host.get("security")).get("rootless") is True
        controllers = host.get("cgroupControllers")
        usable = controllers if isinstance(controllers, list) and not (rootless and _is_old(host)) else ()
        return Machine(rootless, frozenset(map(str, usable)) & {"cpu", "memory"})


def _is_old(host: Mapping[str, Any]) -> bool:
    """Whether cgroups are those in which only root can limit anything."""
    return text(host.get("cgroupVersion")) == "v1"


async def _read(process: asyncio.subprocess.Process, on_line: Callable[[str], None] | None) -> tuple[str, str]:
    """Return what a process writes to both of its outputs until it ends."""
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("the outputs of a command are pipes")
    errors: list[bytes] = []

    async def follow(stream: asyncio.StreamReader) -> None:
        begun = b""
        while piece := await stream.read(65536):
            errors.append(piece)
            *lines, begun = (begun + piece).split(b"\n")
            if on_line is not None:
                for line in lines:
                    on_line(line.decode(errors="replace").strip())

    async with asyncio.TaskGroup() as group:
        group.create_task(follow(process.stderr))
        said = group.create_task(process.stdout.read())
        group.create_task(process.wait())
    return said.result().decode(errors="replace"), b"".join(errors).decode(errors="replace")


async def _broken_off(process: asyncio.subprocess.Process) -> None:
    """End a command; while it makes something it does not listen, so that nothing is half made."""
    _signal(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await process.wait()
    except TimeoutError:
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal without asking first whether the process runs, which would take its exit code from who waits."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def _reason(errors: str) -> str:
    """Return what a command says went wrong: from its last `Error:` on, else its last line."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    place = next((place for place in reversed(range(len(lines))) if lines[place].startswith("Error:")), len(lines) - 1)
    return " ".join(lines[place:]).removeprefix("Error:").strip() if lines else ""
