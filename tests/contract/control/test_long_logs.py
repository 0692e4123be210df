"""A log of 100 MB, from the container's log to the object storage: every byte, or what the limit leaves and a line."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fixtures.logs import Container, collecting, job
from models.container_log import NONCE
from runabout.ost import ByteRange, ObjectStore, OstSettings, open_ost

LINE = b"%0999d\n"
BLOCK = 50
"""Lines between two markers, as the toolbox writes them."""
LINES = 100_000
SETUP = b"toolbox\n"
PREFIX = b"[runabout " + NONCE.encode()


def blocks() -> Iterator[bytes]:
    for first in range(0, LINES, BLOCK):
        yield b"".join(LINE % number for number in range(first, first + BLOCK))


class LongLog(Container):
    """A container's log of one step with 100 MB, which is made while it is read."""

    @asynccontextmanager
    async def read(
        self,
        namespace: str,  # noqa: ARG002 - the port's
        pod: str,  # noqa: ARG002 - the port's
        container: str,  # noqa: ARG002 - the port's
        *,
        follow: bool,  # noqa: ARG002 - the port's
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        yield self._made()

    async def _made(self) -> AsyncIterator[bytes]:
        size = 0
        yield PREFIX + b" v1 r build 1]\n" + SETUP + PREFIX + b" end setup 8 success 0 1]\n"
        yield PREFIX + b" begin 0 1 8 compile]\n"
        for block in blocks():
            size += len(block)
            yield block + PREFIX + b" at 0 %d]\n" % size
        yield PREFIX + b" end 0 %d success 0 2]\n" % size + PREFIX + b" done 0 Completed 8,%d]\n" % size


@pytest.fixture
async def ost(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    store = await open_ost(OstSettings(f"file://{tmp_path}/ost"))
    yield store
    await store.close()


async def stored(ost: ObjectStore, scratch: Path, limit: int) -> int:
    """Collect the log; return how many bytes of it are stored."""
    async with collecting(LongLog(b""), ost, max_bytes=limit, scratch=scratch) as work:
        work.collector.follow(job(steps=("compile",)))
        return (await work.stored(job())).sizes[0]


async def test_a_hundred_megabytes_are_stored_to_the_byte(ost: ObjectStore, tmp_path: Path) -> None:
    assert await stored(ost, tmp_path, 10**9) == LINES * 1000
    at = 0
    for block in blocks():
        assert await ost.read(job().key(0), ByteRange(at, len(block))) == block
        at += len(block)


async def test_what_exceeds_the_limit_is_cut_with_a_line_that_says_how_much(ost: ObjectStore, tmp_path: Path) -> None:
    limit = 20_000_000
    size = await stored(ost, tmp_path, limit)
    kept, cut = limit - len(SETUP), LINES * 1000 - limit + len(SETUP)
    line = b"\n[runabout: %d more bytes are not kept: the limit is %d an attempt]\n" % (cut, limit)
    assert size == kept + len(line)
    assert await ost.read(job().key(0), ByteRange(kept)) == line
    last = LINE % (kept // 1000)
    assert await ost.read(job().key(0), ByteRange(kept // 1000 * 1000, kept % 1000)) == last[: kept % 1000]
