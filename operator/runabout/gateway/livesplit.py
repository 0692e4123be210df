"""A log split while it is followed, also before a marker has said where its last bytes belong.

A kubelet that is behind a log skips whole files of it, and says nothing. What comes after that belongs somewhere else
than it seems to, up to the next marker. So bytes that no marker has confirmed are given out only where no file can have
been skipped: else the log has to be opened anew, which begins in one file. The operator waits for markers and needs
none of this.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from runabout.executors.steplog import LOST, Chunk, Gap, Lack, StepLogSplitter
from runabout.gateway.pacing import paced

SKIP_SECONDS = 3.0
"""A file is skipped by who was not at the log's end for as long as lies between two rotations: this is the least."""
SKIP_BYTES = 256 * 1024
"""Whoever is so far behind has more than this to come: as much is on its way here already."""
UNPLACED_SECONDS = 2.0
"""How often the storage is asked about a log that has not said where it is: the toolbox uploads no sooner."""


class BehindError(Exception):
    """Nobody knows where the last bytes belong: the log has to be opened anew."""


async def split(
    splitter: StepLogSplitter, pieces: AsyncIterator[bytes], *, follow: bool, stay: Callable[[], bool]
) -> AsyncGenerator[list[Chunk]]:
    """Yield what is given out as pieces come, and what is held back when none has come for a moment.

    `stay` is asked where what is held back is not sure: whether to wait for a marker all the same, as in a log that was
    opened anew and has said nothing new.

    Raises:
        BehindError: it is not sure, and not waited for.
    """
    clock = asyncio.get_running_loop().time
    at_end = came = clock()
    size, sure = 0, True

    def is_behind() -> bool:
        return follow and came - at_end >= SKIP_SECONDS and size >= SKIP_BYTES

    async with aclosing(paced(pieces)) as coming:
        async for piece in coming:
            if piece is not None:
                came, size = clock(), size + len(piece)
                given = splitter.feed(piece)
                sure = sure or bool(given)  # by a marker
                yield given
                continue
            sure = sure and not is_behind()
            if not sure and not stay():
                raise BehindError
            at_end, size = clock(), 0
            yield splitter.flush() if sure else []
    if sure and not is_behind():
        yield splitter.flush()


async def until_placed(batches: AsyncGenerator[list[Chunk]], step: int) -> AsyncGenerator[list[Chunk]]:
    """Yield batches, and as long as none has anything, now and then and at their end, a gap of the step without an end.

    A log that was rotated and is silent has no marker, and may be empty: all that there is of it was uploaded.
    """
    clock = asyncio.get_running_loop().time
    gap = [Chunk(step, 0, b"", Gap(Lack.UNKNOWN, "", LOST, 0))]
    placed, asked = False, clock()
    async with aclosing(batches):
        async for chunks in batches:
            placed = placed or bool(chunks)
            if placed or clock() - asked < UNPLACED_SECONDS:
                yield chunks
            else:
                asked = clock()
                yield gap
    if not placed:
        yield gap
