"""What the container's log has lost comes from what the toolbox uploaded; what neither has is named to the byte."""

import asyncio
import hashlib
import itertools
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.logs import Container, Reading, collecting, job
from fixtures.states import RUN
from models.container_log import ToolboxLog, toolbox_log
from runabout.control.logchunks import Hole, LogChunk, Uploaded, attempt_chunks, chunk_key, cover
from runabout.control.logs import CLEANING_SECONDS, LogGoneError, LogUnavailableError, log_key
from runabout.control.spool import IN_MEMORY
from runabout.ost import ByteRange, CorruptError, MemoryObjectStore, NotFoundError, ObjectReader, UnavailableError
from runabout.ost.store import WHOLE

SETUP = b"toolbox\n"
OUTPUT = [b"".join(b"line %d of the first\n" % number for number in range(40)), b"second\r\n" * 30 + b"end"]
TEXT = toolbox_log(OUTPUT)
LINES = [0, *(place + 1 for place, byte in enumerate(TEXT[:-1]) if byte == ord("\n"))]
"""Where a rotated log may begin; it is never empty."""
MISSING = re.compile(rb"\n?\[runabout: bytes (\d+)\xe2\x80\x93(\d+) of (?:step \w+|the setup) are missing: [^\n]*\]\n")

virtual = pytest.mark.looptime


def in_virtual_time(work: Callable[[], Coroutine[None, None, dict[str, bytes]]]) -> dict[str, bytes]:
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(work())


def steps(*logs: bytes, setup: bytes = SETUP) -> dict[str, bytes]:
    rows = {log_key(RUN, "build", 1, number): text for number, text in enumerate(logs) if text}
    return {**rows, log_key(RUN, "build", 1, -1): setup}


async def upload(ost: MemoryObjectStore, step: int, offset: int, data: bytes) -> str:
    key = chunk_key(RUN, "build", 1, step, offset, hashlib.sha256(data).hexdigest())
    await ost.write(key, data)
    return key


async def upload_all(ost: MemoryObjectStore, outputs: Mapping[int, bytes], size: int = 100) -> None:
    for step, output in outputs.items():
        for at in range(0, len(output), size):
            await upload(ost, step, at, output[at : at + size])


def named(log: bytes, whole: bytes) -> list[tuple[int, int]]:
    """Return the ranges that a log names as missing; all others have to be in it, each in its place."""
    place = byte = 0
    ranges = []
    for gap in MISSING.finditer(log):
        first, last = int(gap[1]), int(gap[2])
        assert log[place : place + first - byte] == whole[byte:first]
        assert gap.start() <= place + first - byte <= gap.start() + 1
        ranges.append((first, last + 1))
        place, byte = gap.end(), last + 1
    assert log[place:] == whole[byte:]
    return ranges


def pieces(cuts: Sequence[int], size: int) -> list[tuple[int, int]]:
    places = sorted({0, size, *(cut % size for cut in cuts)})
    return list(itertools.pairwise(places))


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, len(TEXT)),
    st.sampled_from(LINES),
    st.tuples(st.lists(st.integers(0, 5000), max_size=8), st.lists(st.integers(0, 5000), max_size=8)),
    st.sets(st.integers(0, 20)),
    st.integers(0, 60),
)
def test_a_log_whose_beginning_was_lost_is_whole_or_names_what_neither_has(
    seen: int, begins: int, cuts: tuple[list[int], list[int]], lost: set[int], overlap: int
) -> None:
    """`lost` are chunks that were never uploaded; a chunk may begin some bytes before its predecessor ends."""
    source = Container(TEXT, [Reading(0, seen, LogUnavailableError("the connection broke off")), Reading(begins)])
    uploaded: dict[int, set[int]] = {-1: set(), 0: set(), 1: set()}
    outputs = {-1: SETUP, 0: OUTPUT[0], 1: OUTPUT[1]}

    async def collect() -> dict[str, bytes]:
        ost, number = MemoryObjectStore(), 0
        for step, output in outputs.items():
            for start, end in pieces(cuts[step] if step >= 0 else [], len(output)):
                number += 1
                if number not in lost:
                    begin = max(0, start - overlap)
                    await upload(ost, step, begin, output[begin:end])
                    uploaded[step] |= set(range(begin, end))
        async with collecting(source, ost, uploads=True) as work:
            work.collector.follow(job())
            work.collector.ended(job().pod, None, (len(SETUP), *map(len, OUTPUT)))
            await work.stored(job())
            return await work.objects()

    found = in_virtual_time(collect)
    for step, output in outputs.items():
        for start, end in named(found.get(log_key(RUN, "build", 1, step), b""), output):
            assert not uploaded[step] & set(range(start, end))


@pytest.mark.parametrize("gone", [True, False])
@virtual
async def test_a_log_of_which_nothing_can_be_read_is_what_was_uploaded(gone: bool) -> None:
    ost = MemoryObjectStore()
    await upload_all(ost, {-1: SETUP, 0: OUTPUT[0], 1: OUTPUT[1][:100]})
    lost: Exception = LogGoneError("the pod is gone") if gone else LogUnavailableError("no such container")
    async with collecting(Container(TEXT, [Reading(0, 0, lost)]), ost, uploads=True) as work:
        work.collector.follow(job())
        work.collector.ended(job().pod, "NodeLost", None)
        await work.stored(job())
        found = await work.objects()
    why = b"NodeLost: the pod is gone" if gone else b"NodeLost: no such container"
    assert found == steps(
        OUTPUT[0]
        + b"[runabout: the bytes of step compile from byte %d on, if any, are missing: %s]\n" % (len(OUTPUT[0]), why),
        OUTPUT[1][:100] + b"\n[runabout: step test did not end: %s]\n" % why,
        setup=SETUP + b"[runabout: the bytes of the setup from byte 8 on, if any, are missing: %s]\n" % why,
    )


@virtual
async def test_a_log_that_broke_off_goes_on_with_what_was_uploaded_of_its_step_and_of_later_ones() -> None:
    log = ToolboxLog()
    log.marker("v1", RUN, "build", 1)
    log.write(SETUP)
    log.end()
    log.begin(0)
    log.write(b"one\n")
    ost = MemoryObjectStore()
    await upload_all(ost, {0: b"one\ntwo\n", 1: b"three"}, 3)
    async with collecting(Container(bytes(log.text), [Reading()]), ost, uploads=True) as work:
        work.collector.follow(job())
        work.collector.ended(job().pod, "Evicted", None)
        await work.stored(job())
        assert await work.objects() == steps(
            b"one\ntwo\n[runabout: the bytes of step compile from byte 8 on, if any, are missing: Evicted]\n",
            b"three\n[runabout: step test did not end: Evicted]\n",
        )


@virtual
async def test_without_anything_uploaded_the_log_says_what_it_always_said() -> None:
    for uploads in (True, False):
        async with collecting(Container(b"", [Reading()]), uploads=uploads) as work:
            work.collector.follow(job())
            work.collector.ended(job().pod, "NodeLost", None)
            await work.stored(job())
            assert await work.objects() == steps(setup=b"[runabout: the task has no log: NodeLost]\n")


@virtual
async def test_a_log_of_steps_that_said_nothing_and_were_the_last_has_no_object() -> None:
    log = ToolboxLog()
    log.marker("v1", RUN, "build", 1)
    log.end()
    log.begin(0)
    async with collecting(Container(bytes(log.text), [Reading()]), uploads=True) as work:
        work.collector.follow(job())
        work.collector.ended(job().pod, "StepFailed", (0, 0))
        await work.stored(job())
        assert await work.objects() == {}


@virtual
async def test_what_fills_a_gap_counts_against_the_limit() -> None:
    ost, output = MemoryObjectStore(), b"0123456789" * 20
    text = toolbox_log([output], max_line=50)
    await upload_all(ost, {-1: SETUP, 0: output})
    source = Container(text, [Reading(text.index(b" at 0 150]") - len(ToolboxLog().prefix))])
    async with collecting(source, ost, uploads=True, max_bytes=100) as work:
        work.collector.follow(job(steps=("compile",)))
        work.collector.ended(job().pod, None, (8, 200))
        await work.stored(job())
        found = await work.objects()
    # 50 bytes were read; the setup takes 8 of the other 50
    line = "[runabout: bytes 42–149 of step compile are missing: the limit is 100 an attempt]\n"  # noqa: RUF001 - a range
    assert found == steps(output[:42] + b"\n" + line.encode() + output[150:])


@pytest.mark.parametrize("lost", [0, 20])
@pytest.mark.parametrize("jump", [False, True])
@virtual
async def test_what_the_scratch_space_has_no_room_for_comes_from_what_was_uploaded(lost: int, jump: bool) -> None:
    """With `jump` the container's log has lost bytes, too, of those that there is no room for."""
    ost, long, short = MemoryObjectStore(), bytes(range(48, 88)) * (IN_MEMORY // 40 + 20), b"0123456789" * 20
    text = toolbox_log([long, short], max_line=50)
    await upload_all(ost, {-1: SETUP, 0: long[: len(long) - lost], 1: short}, 7000)
    parts = [Reading()]
    if jump:
        there = text.index(b" at 1 100]") - len(ToolboxLog().prefix)
        parts = [Reading(0, text.index(b" begin 1 "), LogUnavailableError("it broke off")), Reading(there)]
    async with collecting(Container(text, parts, piece=4096), ost, uploads=True, scratch_bytes=100) as work:
        work.collector.follow(job())
        work.collector.ended(job().pod, None, (len(SETUP), len(long), len(short)))
        await work.stored(job())
        found = await work.objects()
    why = "the limit is 100 for all attempts that wait to be stored"
    line = f"\n[runabout: bytes {len(long) - lost}–{len(long) - 1} of step compile are missing: {why}]\n"  # noqa: RUF001 - a range
    assert found == steps(long[: len(long) - lost] + line.encode() if lost else long, short)


@virtual
async def test_chunks_go_when_the_log_is_stored_and_not_before() -> None:
    ost = MemoryObjectStore()
    await upload_all(ost, {-1: SETUP, 0: OUTPUT[0]})
    async with collecting(Container(TEXT, [Reading()]), ost, uploads=True) as work:
        assert await attempt_chunks(ost, RUN, "build", 1)
        work.collector.follow(job())
        await work.stored(job())
        work.collector.forget(job().pod)  # the attempt's end is committed
        while await attempt_chunks(ost, RUN, "build", 1):  # noqa: ASYNC110 -- the collector does it unasked
            await asyncio.sleep(1)
        assert await work.objects() == steps(*OUTPUT)


class StuckStore(MemoryObjectStore):
    """An object storage that never says that it has deleted anything."""

    async def delete(self, key: str) -> None:
        assert "/chunks/" in key
        await asyncio.Event().wait()


@virtual
async def test_a_collector_that_is_stopped_waits_a_moment_for_chunks_to_go_and_no_longer() -> None:
    ost = StuckStore()
    await upload_all(ost, {0: OUTPUT[0]})
    async with asyncio.timeout(2 * CLEANING_SECONDS):
        async with collecting(Container(TEXT, [Reading()]), ost, uploads=True) as work:
            work.collector.follow(job())
            await work.stored(job())
        assert asyncio.get_running_loop().time() >= CLEANING_SECONDS


class DamagedStore(MemoryObjectStore):
    """An object storage that cannot read one object any more, or at first."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: dict[str, list[Exception]] = {}
        """what comes instead of an object; the last one again and again"""

    @asynccontextmanager
    async def open(self, key: str, range: ByteRange = WHOLE) -> AsyncIterator[ObjectReader]:  # noqa: A002 - the port's word
        errors = self.bad.get(key, [])
        if errors:
            raise errors.pop(0) if len(errors) > 1 else errors[0]
        async with super().open(key, range) as reader:
            yield reader


@pytest.mark.parametrize("error", [NotFoundError("it was deleted"), CorruptError("other bytes")])
@virtual
async def test_a_chunk_that_cannot_be_read_is_done_without(error: Exception) -> None:
    ost = DamagedStore()
    key = await upload(ost, 0, 0, OUTPUT[0][:21])
    await upload(ost, 0, 21, OUTPUT[0][21:])
    await upload(ost, -1, 0, SETUP)
    ost.bad[key] = [error]
    begins = TEXT.rindex(b"\n[runabout", 0, TEXT.index(b"end 0")) + 1
    async with collecting(Container(TEXT, [Reading(begins)]), ost, uploads=True) as work:
        work.collector.follow(job())
        work.collector.ended(job().pod, None, None)
        await work.stored(job())
        found = await work.objects()
    assert named(found[log_key(RUN, "build", 1, 0)], OUTPUT[0]) == [(0, 21)]


@virtual
async def test_a_storage_that_is_away_while_a_gap_is_filled_is_waited_for() -> None:
    ost = DamagedStore()
    await upload(ost, -1, 0, SETUP)
    key = await upload(ost, 0, 0, OUTPUT[0])
    ost.bad[key] = [UnavailableError("no answer")] * 5
    begins = TEXT.rindex(b"\n[runabout", 0, TEXT.index(b"end 0")) + 1
    async with collecting(Container(TEXT, [Reading(begins)]), ost, uploads=True) as work:
        work.collector.follow(job())
        work.collector.ended(job().pod, None, None)
        await work.until(lambda: work.collector.trouble(job().pod) is not None)
        ost.bad.clear()
        await work.stored(job())
        assert await work.objects() == steps(*OUTPUT)


class DyingStore(MemoryObjectStore):
    """An object storage that takes some logs and no more, as for a process that is killed then."""

    left: int | None = None

    async def write(
        self,
        key: str,
        data: bytes | AsyncIterable[bytes],
        *,
        size: int | None = None,
        persist: bool = True,
        create_only: bool = False,
    ) -> None:
        if self.left is not None:
            if not self.left:
                raise UnavailableError("no answer")
            self.left -= 1
        await super().write(key, data, size=size, persist=persist, create_only=create_only)


@pytest.mark.parametrize("written", range(4))
@virtual
async def test_a_log_that_a_process_has_begun_to_store_is_completed_by_the_next_one(written: int) -> None:
    """Which cannot read its beginning any more."""
    ost = DyingStore()
    await upload_all(ost, {-1: SETUP, 0: OUTPUT[0], 1: OUTPUT[1]})
    ost.left = written
    async with collecting(Container(TEXT, [Reading()]), ost, uploads=True) as first:
        first.collector.follow(job())
        await first.until(lambda: bool(first.news))
    ost.left = None
    async with collecting(Container(TEXT, [Reading(LINES[-3])]), ost, uploads=True) as second:
        second.collector.follow(job())
        second.collector.ended(job().pod, None, None)
        await second.stored(job())
        while await attempt_chunks(ost, RUN, "build", 1):  # noqa: ASYNC110 -- the collector does it unasked
            await asyncio.sleep(1)
        assert await second.objects() == steps(*OUTPUT)


CHUNKS = [LogChunk(0, 0, 10, "a"), LogChunk(0, 5, 3, "b"), LogChunk(0, 8, 7, "c"), LogChunk(0, 20, 5, "d")]


@pytest.mark.parametrize(
    ("start", "end", "made"),
    [
        (0, 25, [Uploaded("a", 0, 10), Uploaded("c", 2, 5), Hole(15, 20), Uploaded("d", 0, 5)]),
        (0, None, [Uploaded("a", 0, 10), Uploaded("c", 2, 5), Hole(15, 20), Uploaded("d", 0, 5)]),
        (3, 9, [Uploaded("a", 3, 6)]),
        (16, 18, [Hole(16, 18)]),
        (22, 30, [Uploaded("d", 2, 3), Hole(25, 30)]),
        (25, None, []),
        (30, 40, [Hole(30, 40)]),
    ],
)
def test_chunks_cover_what_they_have_and_nothing_twice(
    start: int, end: int | None, made: list[Uploaded | Hole]
) -> None:
    assert cover(CHUNKS, start, end) == made
