"""What toolboxes have uploaded of their logs while they ran: chunks, each an object, and how they fill a gap.

    logs/<run>/<task>/<attempt>/chunks/<step>/<offset>-<SHA-256 of its bytes>

A chunk is output of one step (`setup`, or its number) from an offset on, without anything of ours in it. Chunks are
written by whoever executes the task: they may be missing, may overlap, and are deleted when the step's log is stored.
"""

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from runabout.executors.markers import SETUP
from runabout.ost import ByteRange, ObjectStore, iterate
from runabout.records import RunId

LARGEST_CHUNK = 4 * 1024 * 1024
"""Bytes."""
LARGEST_OFFSET = 10**15 - 1
_NAME = re.compile(r"(setup|\d{1,2})/(\d{15})-[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class LogChunk:
    """`size` bytes of step `step` (-1: the setup) from byte `offset` on, stored as `key`."""

    step: int
    offset: int
    size: int
    key: str

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Bytes that a gap is filled with: `length` from byte `start` on of the object `key`."""

    key: str
    start: int
    length: int

    def read(self, ost: ObjectStore) -> AsyncIterator[bytes]:
        """Return the bytes, in pieces. Errors of the object storage."""
        return _read(ost, self)


@dataclass(frozen=True, slots=True)
class Hole:
    """Bytes that nobody has, from `start` to before `end`."""

    start: int
    end: int


def chunks_folder(run: RunId, task: str, attempt: int) -> str:
    """Return what the keys of an attempt's chunks begin with."""
    return f"logs/{run}/{task}/{attempt}/chunks/"


def chunk_key(run: RunId, task: str, attempt: int, step: int, offset: int, sha256: str) -> str:
    """Return the object that holds a chunk."""
    return f"{chunks_folder(run, task, attempt)}{_words(step)}/{offset:015d}-{sha256}"


async def attempt_chunks(ost: ObjectStore, run: RunId, task: str, attempt: int) -> list[LogChunk]:
    """Return all chunks of an attempt, by step and offset. Errors of the object storage."""
    folder = chunks_folder(run, task, attempt)
    return sorted([chunk async for chunk in _listed(ost, folder, folder, "")])


async def count_chunks(ost: ObjectStore, run: RunId, task: str, attempt: int, *, most: int) -> int:
    """Return how many objects lie where an attempt's chunks do, at most `most`. Errors of the object storage."""
    found = 0
    async for _ in iterate(ost, chunks_folder(run, task, attempt)):
        found += 1
        if found >= most:
            break
    return found


async def step_chunks(
    ost: ObjectStore, run: RunId, task: str, attempt: int, step: int, *, first: int
) -> list[LogChunk]:
    """Return the chunks of a step that can have byte `first` or later ones. Errors of the object storage."""
    folder = chunks_folder(run, task, attempt)
    own = f"{folder}{_words(step)}/"
    after = f"{own}{max(0, first - LARGEST_CHUNK):015d}" if first else ""
    return [chunk async for chunk in _listed(ost, folder, own, after) if chunk.end > first]


def cover(chunks: Iterable[LogChunk], start: int, end: int | None) -> list[Uploaded | Hole]:
    """Return what makes up the bytes from `start` to before `end`: of chunks of one step, by offset, and holes.

    Without `end`, up to the last byte that any chunk has.
    """
    made: list[Uploaded | Hole] = []
    at = start
    for chunk in chunks:
        if end is not None and (at >= end or chunk.offset >= end):
            break
        if chunk.end <= at:
            continue
        if chunk.offset > at:
            made.append(Hole(at, chunk.offset))
            at = chunk.offset
        until = chunk.end if end is None else min(chunk.end, end)
        made.append(Uploaded(chunk.key, at - chunk.offset, until - at))
        at = until
    if end is not None and at < end:
        made.append(Hole(at, end))
    return made


async def _listed(ost: ObjectStore, folder: str, prefix: str, start_after: str) -> AsyncIterator[LogChunk]:
    async for item in iterate(ost, prefix, start_after=start_after):
        found = _NAME.fullmatch(item.key.removeprefix(folder))
        if found is not None and item.size:
            yield LogChunk(SETUP if found[1] == "setup" else int(found[1]), int(found[2]), item.size, item.key)


async def _read(ost: ObjectStore, part: Uploaded) -> AsyncIterator[bytes]:
    async with ost.open(part.key, ByteRange(part.start, part.length)) as reader:
        async for piece in reader:
            yield piece


def _words(step: int) -> str:
    return "setup" if step == SETUP else str(step)
