"""A step's log as it is stored: what was read of it, gaps filled with what its toolbox uploaded, and lines in the rest.

What always holds: output stands in its order and once; what neither has is named, to the byte where its place is known.
Nothing is asked of the object storage for a log without gaps.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypeAlias

from runabout.control.logchunks import Hole, LogChunk, Uploaded, attempt_chunks, cover
from runabout.control.spool import Kept, Spool
from runabout.executors.markers import SETUP
from runabout.executors.steplog import Gap, Lack
from runabout.ost import ByteRange, ChangedError, CorruptError, NotFoundError, ObjectStore
from runabout.records import RunId

Piece: TypeAlias = Kept | Uploaded | bytes
_GONE = (NotFoundError, ChangedError, CorruptError)


class ChunkLostError(Exception):
    """A chunk that was listed cannot be read now or ever; the next look at the log does without it."""


class LogFill:
    """Says of what pieces the logs of one attempt's steps consist; `uploads` is whether there can be any chunks."""

    def __init__(self, ost: ObjectStore, spool: Spool, *, run: RunId, task: str, attempt: int, uploads: bool) -> None:
        self._ost = ost
        self._spool = spool
        self._attempt = (run, task, attempt)
        self._uploads = uploads
        self._chunks: list[LogChunk] | None = None
        self._lost: set[str] = set()
        self._filled: dict[int, int] = {}
        """bytes of each step that come from chunks"""

    async def pieces(self, step: int) -> list[Piece]:
        """Return what the log of a step consists of; nothing where it has none.

        Raises:
            errors of the object storage. ChunkLostError: ask again.
        """
        parts = self._spool.parts(step)
        if not any(isinstance(part, Gap) for part in parts):
            return [part for part in parts if isinstance(part, Kept)]
        chunks = await self._known()
        self._filled[step] = 0
        made: list[Piece] = []
        for part in parts:
            if isinstance(part, Gap):
                await self._fill(made, part, step, chunks)
                continue
            if part.is_lines and await self._is_open(made):
                made.append(b"\n")
            made.append(part)
        return made

    async def read(self, pieces: list[Piece]) -> AsyncIterator[bytes]:
        """Return the bytes of a log. Errors as of `pieces`."""
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
            elif isinstance(piece, Kept):
                async for data in self._spool.read(piece):
                    yield data
            else:
                async for data in self._uploaded(piece):
                    yield data

    async def _known(self) -> list[LogChunk]:
        if self._chunks is None:
            self._chunks = await attempt_chunks(self._ost, *self._attempt) if self._uploads else []
        return [chunk for chunk in self._chunks if chunk.key not in self._lost]

    async def _fill(self, made: list[Piece], gap: Gap, step: int, chunks: list[LogChunk]) -> None:
        """Add what fills a gap, and lines for what nothing does."""
        begun = [each for each in self._spool.sizes if self._has_begun(each)]  # of those that said anything
        latest = max([SETUP, *(chunk.step for chunk in chunks), *begun])
        if gap.lack is Lack.LATER and step > latest:
            return
        if gap.lack is Lack.ALL and chunks:
            gap = replace(gap, lack=Lack.END)
        at = gap.start
        parts = cover([chunk for chunk in chunks if chunk.step == step], gap.start, gap.end)
        end = gap.start + sum(part.end - part.start if isinstance(part, Hole) else part.length for part in parts)
        for part in parts:
            if isinstance(part, Hole):
                await self._say(made, replace(gap, lack=Lack.BYTES, start=part.start, end=part.end))
                at = part.end
                continue
            kept = min(part.length, self._room())
            if kept:
                made.append(replace(part, length=kept))
                self._filled[step] += kept
                at += kept
            if kept < part.length:
                limit = f"the limit is {self._spool.limit} an attempt"
                await self._say(made, Gap(Lack.BYTES, gap.title, limit, at, end))
                at = end
                break
        if gap.lack is not Lack.BYTES:
            await self._say(made, replace(gap, start=at), goes_on=step < latest)

    def _has_begun(self, step: int) -> bool:
        return any(isinstance(part, Kept) or part.lack is not Lack.LATER for part in self._spool.parts(step))

    def _room(self) -> int:
        """Return how many bytes of chunks may still be kept."""
        return max(0, self._spool.limit - self._spool.size - sum(self._filled.values()))

    async def _say(self, made: list[Piece], gap: Gap, *, goes_on: bool = False) -> None:
        line = gap.line(goes_on=goes_on)
        made.append(b"\n" + line if await self._is_open(made) else line)

    async def _is_open(self, made: list[Piece]) -> bool:
        """Whether what there is ends within a line."""
        if not made:
            return False
        last = made[-1]
        if isinstance(last, bytes):
            return not last.endswith(b"\n")
        if isinstance(last, Kept):
            return last.open
        end = b"".join(
            [data async for data in self._uploaded(replace(last, start=last.start + last.length - 1, length=1))]
        )
        return end != b"\n"

    async def _uploaded(self, piece: Uploaded) -> AsyncIterator[bytes]:
        size = 0
        try:
            async with self._ost.open(piece.key, ByteRange(piece.start, piece.length)) as reader:
                async for data in reader:
                    size += len(data)
                    yield data
        except _GONE as error:
            self._lost.add(piece.key)
            raise ChunkLostError(str(error)) from error
        if size != piece.length:
            self._lost.add(piece.key)
            raise ChunkLostError(f"{piece.key} has become shorter")


def size_of(pieces: list[Piece]) -> int:
    """Return how many bytes pieces have together."""
    return sum(
        len(piece) if isinstance(piece, bytes) else piece.size if isinstance(piece, Kept) else piece.length
        for piece in pieces
    )


async def remove_chunks(ost: ObjectStore, run: RunId, task: str, attempt: int) -> None:
    """Delete what was uploaded of an attempt's log. Errors of the object storage."""
    for chunk in await attempt_chunks(ost, run, task, attempt):
        await ost.delete(chunk.key)
