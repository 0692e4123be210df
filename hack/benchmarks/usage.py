"""What a process and those that it has started use while they run, looked at from outside."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.process import status

LOOK_SECONDS = 0.05


@dataclass
class Peaks:
    """The most memory that each process had resident at once, in KiB, by its id; the last one seen of each."""

    of: dict[int, int] = field(default_factory=dict)

    @property
    def megabytes(self) -> float:
        """All together, as if all had had their most at the same time: never less than what was needed, in MiB."""
        return sum(self.of.values()) / 1024

    def look(self, pid: int) -> None:
        """Take note of a process and all that descend from it; those that have gone keep what was seen."""
        waiting = [pid]
        while waiting:
            process = waiting.pop()
            with contextlib.suppress(OSError, ValueError):
                self.of[process] = max(self.of.get(process, 0), status(process)["VmHWM"])
                children = (task / "children" for task in Path(f"/proc/{process}/task").iterdir())
                waiting += [int(child) for file in children for child in file.read_text().split()]


@asynccontextmanager
async def watched(pid: int) -> AsyncIterator[Peaks]:
    """Look at a process and its descendants again and again; what was seen is there afterwards, too."""
    peaks = Peaks()

    async def look() -> None:
        while True:
            peaks.look(pid)
            await asyncio.sleep(LOOK_SECONDS)

    looking = asyncio.create_task(look())
    try:
        yield peaks
    finally:
        looking.cancel()
