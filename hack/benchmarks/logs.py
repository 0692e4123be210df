"""What following a thousand logs costs the operator and the gateway, beside reading the same bytes with nothing else.

Each reads from an API server that is none (`benchmarks.logserver`), over TLS, one connection for each log as with a
real one: pods have no part in it. All figures are differences, seen from outside the process: CPU while the streams are
opened, while each brings a piece a second, and while they end; memory is what is resident at the most meanwhile.
"""

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import process, untiltold, usage
from benchmarks.figures import Figure
from benchmarks.logserver import PIECE
from benchmarks.subprocesses import Program, program
from fixtures.certificates import Certificates, certificates
from localcluster.console import LocalClusterError

PATIENCE_SECONDS = 120.0
"""For each line of a process, beside the time that it takes to write."""
QUIET_SECONDS, QUIET_CPU = 0.5, 0.03
"""A process that has used so little CPU in so long has done all that came."""


@dataclass(frozen=True)
class Sizes:
    """How many streams, and for how long each brings 1 KB a second."""

    streams: int = 1000
    seconds: int = 20


@dataclass(frozen=True)
class Used:
    """What a reader used: CPU in seconds, memory in MiB."""

    opening: float
    following: float
    ending: float
    memory: float


def measure(sizes: Sizes, say: Callable[[str], None]) -> list[Figure]:
    """Return every figure; takes two minutes with the defaults.

    Raises:
        LocalClusterError: a reader did not get every byte, or ended before.
    """
    with tempfile.TemporaryDirectory(prefix="runabout-bench-") as name:
        return figures(sizes, untiltold.run(_measure(Path(name), sizes, say)))


async def _measure(folder: Path, sizes: Sizes, say: Callable[[str], None]) -> dict[str, Used]:
    made = certificates(folder, name="bench")
    arguments = (str(sizes.streams), str(sizes.seconds), str(made.cert), str(made.key))
    found = {}
    for what in ("plain", "collector", "gateway"):
        say(f"{sizes.streams:,} logs followed, {what} …")
        async with program("benchmarks.logserver", *arguments) as server:
            address = (await server.line("listens", PATIENCE_SECONDS))[0]
            found[what] = await _read(what, f"https://127.0.0.1:{address}", server, made, sizes)
    return found


async def _read(what: str, address: str, server: Program, made: Certificates, sizes: Sizes) -> Used:
    """Let one reader read all logs; return what it used."""
    streams = str(sizes.streams)
    async with AsyncExitStack() as stack:
        reader = measured = await stack.enter_async_context(
            program("benchmarks.logreaders", what, address, str(made.ca), streams)
        )
        if what == "gateway":
            url, run = await measured.line("serves", PATIENCE_SECONDS)
            reader = await stack.enter_async_context(
                program("benchmarks.logreaders", "followers", url, str(made.ca), streams)
            )
            reader.tell(run)
        await reader.line("ready", PATIENCE_SECONDS)
        looking = await stack.enter_async_context(usage.watched(measured.pid))
        memory, cpu = process.status(measured.pid)["VmRSS"] / 1024, [process.cpu_seconds(measured.pid)]
        reader.tell("open")
        await server.line("open", PATIENCE_SECONDS)
        cpu.append(await _quiet(measured.pid))
        server.tell("write")
        await server.line("written", PATIENCE_SECONDS + sizes.seconds)
        cpu.append(await _quiet(measured.pid))
        server.tell("end")
        (read,) = await reader.line("read", PATIENCE_SECONDS)
        cpu.append(await _quiet(measured.pid))
        _check(what, int(read), sizes)
        return Used(cpu[1] - cpu[0], cpu[2] - cpu[1], cpu[3] - cpu[2], looking.megabytes - memory)


async def _quiet(pid: int) -> float:
    """Wait until a process has done what came; return its CPU seconds then."""
    before = process.cpu_seconds(pid)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            await asyncio.sleep(QUIET_SECONDS)
            now = process.cpu_seconds(pid)
            if now - before <= QUIET_CPU:
                return now
            before = now


def _check(what: str, read: int, sizes: Sizes) -> None:
    """Make sure that nothing is missing: who reads less needs less. What is read plainly has the marks, too."""
    expected = sizes.streams * sizes.seconds * len(PIECE)
    if read < expected or (what != "plain" and read != expected):
        raise LocalClusterError(f"of {expected} bytes of logs the {what} has read {read}")


def figures(sizes: Sizes, used: dict[str, Used]) -> list[Figure]:
    """Return the figures of each reader beside those of `plain`."""
    plain = used["plain"]
    names = {
        "plain": "plain HTTP",
        "collector": "operator's collector",
        "gateway": "gateway",
    }
    pieces = sizes.streams * sizes.seconds
    found = [
        Figure(
            f"{sizes.streams:,} logs, 1 KB/s each: plain HTTP, CPU of a core",
            plain.following / sizes.seconds * 100,
            "%",
            beside="the limit: the same bytes, dropped",
        )
    ]
    for what in ("collector", "gateway"):
        one, name = used[what], names[what]
        found.append(
            Figure(
                f"{name}, CPU of a core",
                one.following / sizes.seconds * 100,
                "%",
                beside=_times(one.following, plain.following),
            )
        )
    for what, name in names.items():
        one = used[what]
        ending = f"ending one {one.ending / sizes.streams * 1000:.1f} ms"
        found += [
            Figure(f"{name}, CPU per piece", one.following / pieces * 1e6, "µs"),
            Figure(
                f"{name}, CPU to open a stream",
                one.opening / sizes.streams * 1000,
                "ms",
                beside=f"{_times(one.opening, plain.opening)}; {ending}",
            ),
            Figure(
                f"{name}, memory per stream",
                one.memory * 1024 / sizes.streams,
                "KiB",
                beside=f"{one.memory:,.0f} MiB, {_times(one.memory, plain.memory)}",
            ),
        ]
    return found


def _times(value: float, limit: float) -> str:
    return f"{value / limit:.1f} of plain HTTP's" if limit else ""
