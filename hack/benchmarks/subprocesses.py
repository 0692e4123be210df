"""A module of these benchmarks as a process of its own, with which one talks in lines: both ends of it."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from localcluster.console import LocalClusterError

END_SECONDS = 10.0


class Program:
    """The process; what it says on standard error goes where ours does."""

    def __init__(self, name: str, process: Process) -> None:
        self._name = name
        self._process = process

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    async def line(self, word: str, seconds: float) -> list[str]:
        """Wait for the next line, which begins with `word`; return what follows it.

        Raises:
            LocalClusterError: it says something else, has ended, or takes longer than `seconds`.
        """
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        try:
            async with asyncio.timeout(seconds):
                text = (await self._process.stdout.readline()).decode()
        except TimeoutError as error:
            raise LocalClusterError(f"{self._name} has not said {word!r} in {seconds:g} s") from error
        first, *rest = text.split() or [""]
        if first != word:
            raise LocalClusterError(
                f"{self._name} was to say {word!r}, and {f'said {text.strip()!r}' if text else 'has ended'}"
            )
        return rest

    def tell(self, line: str) -> None:
        """Send it a line."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._process.stdin.write(f"{line}\n".encode())


@asynccontextmanager
async def program(module: str, *arguments: str) -> AsyncIterator[Program]:
    """Start `python -m module`; it is gone afterwards: told by the end of its input, and else by a signal."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=PIPE, stdout=PIPE, env=environment
    )
    try:
        yield Program(" ".join((module, arguments[0])), process)
        assert process.stdin is not None  # noqa: S101 - it was asked for
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# the process's own end


def say(line: str) -> None:
    """Tell who has started this process."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def told() -> str:
    """Return the next line that this process is sent, nothing at the end."""
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()
