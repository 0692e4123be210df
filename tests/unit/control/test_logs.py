"""Logs are collected whole: read again where they broke off, cut with a word, stored once, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.logs import Collecting, Container, Reading, collecting, job
from fixtures.states import NOW, RUN
from models.container_log import ToolboxLog, toolbox_log
from runabout.control.logending import PATIENCE_SECONDS, SILENT_SECONDS
from runabout.control.logs import (
    END_SECONDS,
    QUIET_SECONDS,
    LogGoneError,
    LogUnavailableError,
    log_key,
)
from runabout.ost import MemoryObjectStore, OstError, UnavailableError

SETUP = b"toolbox\n"


def steps(*logs: bytes, setup: bytes = SETUP) -> dict[str, bytes]:
    """Return the objects of job `build` with these logs."""
    rows = {log_key(RUN, "build", 1, number): text for number, text in enumerate(logs) if text}
    return {**rows, log_key(RUN, "build", 1, -1): setup}


def in_virtual_time(work: Callable[[], Coroutine[None, None, dict[str, bytes]]]) -> dict[str, bytes]:
    """Return the result of `work`, for one example among many."""
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(work())


virtual = pytest.mark.looptime


def test_the_address_of_a_log_names_run_task_attempt_and_step() -> None:
    assert log_key(RUN, "build", 2, 0) == "logs/1il7g1c000001/build/2/0"
    assert log_key(RUN, "build", 2, -1) == "logs/1il7g1c000001/build/2/setup"


@virtual
async def test_a_complete_log_is_stored_step_by_step_before_anybody_says_that_the_container_ended() -> None:
    async with collecting(Container(toolbox_log([b"one\n", b"two"]))) as work:
        work.collector.follow(job())
        found = await work.stored(job())
        assert found.sizes == {-1: 8, 0: 4, 1: 3}
        assert await work.objects() == steps(b"one\n", b"two")
        assert work.news == [job()]
        assert work.collector.nonce(job().pod) == ToolboxLog().nonce


@virtual
async def test_steps_without_output_have_no_object() -> None:
    async with collecting(Container(toolbox_log([b"", b"two"]))) as work:
        work.collector.follow(job())
        assert (await work.stored(job())).sizes == {-1: 8, 1: 3}
        assert await work.objects() == steps(b"", b"two")


OUTPUT = [b"".join(b"line %d of the first\n" % number for number in range(40)), b"second\r\n" * 30 + b"end"]
TEXT = toolbox_log(OUTPUT)
LINES = [0, *(place + 1 for place, byte in enumerate(TEXT[:-1]) if byte == ord("\n"))]
"""Where a rotated log may begin; it is never empty."""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(TEXT)), max_size=4), st.integers(1, 300))
def test_a_log_that_breaks_off_is_read_again_without_repeats(breaks: list[int], piece: int) -> None:
    lost = LogUnavailableError("the connection broke off")
    readings = [
        *(Reading(0, place, lost if number % 2 else "ends") for number, place in enumerate(breaks)),
        Reading(),
    ]

    async def collect() -> dict[str, bytes]:
        async with collecting(Container(TEXT, readings, piece)) as work:
            work.collector.follow(job())
            await work.stored(job())
            return await work.objects()

    assert in_virtual_time(collect) == steps(*OUTPUT)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(TEXT)), st.sampled_from(LINES), st.booleans())
def test_what_was_rotated_away_is_named_and_nothing_is_out_of_its_place(seen: int, begins: int, ended: bool) -> None:
    source = Container(TEXT, [Reading(0, seen, LogUnavailableError("the connection broke off")), Reading(begins)])

    async def collect() -> dict[str, bytes]:
        async with collecting(source) as work:
            work.collector.follow(job())
            if ended:
                work.collector.ended(job().pod, None, (len(SETUP), *map(len, OUTPUT)))
            else:
                source.when[4] = lambda: work.collector.ended(job().pod, "Evicted", None)
            await work.stored(job())
            return await work.objects()

    found = in_virtual_time(collect)
    for key, whole in steps(*OUTPUT).items():
        text = found.get(key, b"")
        if text == whole:
            continue
        assert b"[runabout: " in text, key
        notices = [line for line in text.splitlines(keepends=True) if line.startswith(b"[runabout: ")]
        rest = text
        for notice in notices:
            rest = rest.replace(notice, b"\0")
        at = 0
        for part in rest.split(b"\0"):
            # a newline may be ours: it ends an open line before a notice
            found_part = part if whole.find(part, at) >= 0 else part.removesuffix(b"\n")
            place = whole.find(found_part, at)
            assert place >= 0, (key, part)
            at = place + len(found_part)


@virtual
async def test_a_notice_about_an_earlier_step_stands_in_that_steps_log() -> None:
    text = toolbox_log([b"first\n" * 100, b"second\n" * 100], mark_from=40)
    first = text.index(b"begin 0")
    second = text.index(b"at 1")
    end = text.rindex(b"\n[runabout", 0, text.rindex(b"end 1")) + 1
    source = Container(text, [Reading(0, text.index(b"at 0", first) + 60), Reading(second - 60, end)])
    async with collecting(source) as work:
        source.when[2] = lambda: work.collector.ended(job().pod, "Evicted", None)
        work.collector.follow(job())
        await work.stored(job())
        found = await work.objects()
    lines = found[log_key(RUN, "build", 1, 0)]
    output, _, notice = lines.partition(b"\n[runabout: ")  # a last newline is not trusted
    assert output == (b"first\n" * 100)[: len(output)]
    assert notice.decode() == f"the bytes of step compile from byte {len(output)} on, if any, are missing: Evicted]\n"
    assert found[log_key(RUN, "build", 1, 1)].endswith(b"[runabout: step test did not end: Evicted]\n")


@virtual
async def test_a_container_that_did_not_say_its_end_is_asked_once_more_and_its_log_says_why() -> None:
    log = ToolboxLog()
    log.marker("v1", RUN, "build", 1)
    log.write(SETUP)
    log.end()
    log.begin(0)
    log.write(b"half a li")
    source = Container(bytes(log.text))
    async with collecting(source) as work:
        work.collector.follow(job())
        source.when[3] = lambda: work.collector.ended(job().pod, "OOMKilled: no room", None)
        await work.stored(job())
        assert await work.objects() == steps(b"half a li\n[runabout: step compile did not end: OOMKilled: no room]\n")
    assert source.requests == [True, True, True, False]


@virtual
async def test_an_answer_that_ended_well_too_early_is_not_taken_for_the_log_of_a_container_that_was_killed() -> None:
    whole = toolbox_log([b"one\n", b"two\n"])
    text = whole[: whole.index(b"two\n") + 4]
    source = Container(text, [Reading(0, 0), Reading(0, 0), Reading(0, len(text) - 30), Reading()])
    async with collecting(source) as work:
        work.collector.follow(job())
        source.when[1] = lambda: work.collector.ended(job().pod, "OOMKilled: no room", None)
        await work.stored(job())
        objects = await work.objects()
    assert objects == steps(b"one\n", b"two\n[runabout: step test did not end: OOMKilled: no room]\n")


@pytest.mark.parametrize("early", [0, 40])
@virtual
async def test_a_log_that_has_an_end_is_asked_for_until_it_comes(early: int) -> None:
    text = toolbox_log([b"one\n", b"two\n"])
    source = Container(text, [Reading(0, early)] * 4 + [Reading()])
    async with collecting(source) as work:
        work.collector.follow(job())
        work.collector.ended(job().pod, None, (len(SETUP), 4, 4))
        await work.stored(job())
        assert await work.objects() == steps(b"one\n", b"two\n")
    assert len(source.requests) == 5


@virtual
async def test_a_log_whose_end_never_comes_is_given_up_after_a_while_and_says_what_is_missing() -> None:
    text = toolbox_log([b"one\n", b"two\n"])
    async with collecting(Container(text, [Reading(0, text.index(b"two\n"))])) as work:
        start = asyncio.get_running_loop().time()
        work.collector.follow(job())
        work.collector.ended(job().pod, None, (len(SETUP), 4, 4))
        await work.stored(job())
        assert PATIENCE_SECONDS < asyncio.get_running_loop().time() - start < 2 * PATIENCE_SECONDS
        line = "[runabout: bytes 0–3 of step test are missing: the container has ended]\n"  # noqa: RUF001 - a range
        assert await work.objects() == steps(b"one\n", line.encode())


def stopped_log() -> bytes:
    """Return the log of a task whose first step got a signal to end."""
    log = ToolboxLog()
    log.marker("v1", RUN, "build", 1)
    log.write(SETUP)
    log.end()
    log.begin(0)
    log.write(b"at work\n[runabout: stopped]\n")
    log.end("stopped", 143)
    log.done(143, "Stopped")
    return bytes(log.text)


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("Evicted: disk pressure", b"[runabout: step compile was ended from outside: Evicted: disk pressure]\n"),
        ("PodDeleted: by hand", b"[runabout: step compile was ended from outside: PodDeleted: by hand]\n"),
        ("Stopped: step compile was stopped", b""),
        (None, b""),
    ],
)
@virtual
async def test_a_complete_log_ends_with_who_had_its_step_stopped(reason: str | None, line: bytes) -> None:
    async with collecting(Container(stopped_log())) as work:
        work.collector.follow(job())
        asyncio.get_running_loop().call_later(20, work.collector.ended, job().pod, reason, None)
        found = await work.stored(job())
        expected = b"at work\n[runabout: stopped]\n" + line
        assert await work.objects() == steps(expected)
        assert found.sizes[0] == len(expected)


@virtual
async def test_a_complete_log_waits_a_while_and_no_longer_for_who_had_its_step_stopped() -> None:
    start = asyncio.get_running_loop().time()
    async with collecting(Container(stopped_log())) as work:
        work.collector.follow(job())
        await work.stored(job())
        assert asyncio.get_running_loop().time() - start == pytest.approx(END_SECONDS, abs=1)


@virtual
async def test_a_log_that_a_dead_node_never_closes_is_read_anew_once_the_container_has_ended() -> None:
    text = toolbox_log([b"one\n", b"two\n"])
    source = Container(text, [Reading(0, len(text) - 60, "stays open"), Reading()])
    async with collecting(source) as work:
        loop = asyncio.get_running_loop()
        start = loop.time()
        work.collector.follow(job())
        loop.call_later(600, work.collector.ended, job().pod, "NodeLost: no answer", None)
        await work.stored(job())
        assert loop.time() - start == pytest.approx(600 + QUIET_SECONDS, abs=2)
        assert await work.objects() == steps(b"one\n", b"two\n")
    assert source.requests == [True, False]


@virtual
async def test_a_log_that_is_gone_ends_with_the_servers_words_once_the_container_has_ended() -> None:
    source = Container(b"", [Reading(0, 0, LogGoneError("the pod is gone"))])
    async with collecting(source) as work:
        work.collector.follow(job())
        source.when[1] = lambda: work.collector.ended(job().pod, "PodDeleted", None)
        await work.stored(job())
        expected = b"[runabout: the task has no log: PodDeleted: the pod is gone]\n"
        assert await work.objects() == {log_key(RUN, "build", 1, -1): expected}


@virtual
async def test_a_log_that_is_gone_waits_a_while_for_the_news_that_its_container_ended() -> None:
    start = asyncio.get_running_loop().time()
    async with collecting(Container(b"", [Reading(0, 0, LogGoneError("the pod is gone"))])) as work:
        work.collector.follow(job())
        await work.stored(job())
        assert asyncio.get_running_loop().time() - start == pytest.approx(END_SECONDS, abs=1)


@virtual
async def test_a_log_that_cannot_be_had_is_asked_for_until_the_container_ended_and_a_few_times_more() -> None:
    source = Container(b"", [Reading(0, 0, LogUnavailableError("no node answers"))])
    async with collecting(source) as work:
        work.collector.follow(job())
        source.when[20] = lambda: work.collector.ended(job().pod, None, None)
        await work.stored(job())
        expected = b"[runabout: the task has no log: no node answers]\n"
        assert await work.objects() == {log_key(RUN, "build", 1, -1): expected}
    assert 20 < len(source.requests) < 30


@virtual
async def test_a_log_that_does_not_come_from_a_server_that_is_there_keeps_nobody_for_ever() -> None:
    text = toolbox_log([b"one\n", b"two\n"])
    hangs = LogUnavailableError("nothing came for 60 s", answered=False, silent=True)
    async with collecting(Container(text, [Reading(0, text.index(b"two\n"), hangs)])) as work:
        start = asyncio.get_running_loop().time()
        work.collector.follow(job())
        work.collector.ended(job().pod, "NodeLost", None)
        await work.stored(job())
        assert SILENT_SECONDS < asyncio.get_running_loop().time() - start < SILENT_SECONDS + 60
        line = b"[runabout: step test did not end: NodeLost: nothing came for 60 s]\n"
        assert await work.objects() == steps(b"one\n", line)


@virtual
async def test_a_server_that_is_away_is_waited_for_however_long_it_takes() -> None:
    text, away = toolbox_log([b"one\n", b"two\n"]), LogUnavailableError("no connection", answered=False)
    async with collecting(Container(text, [*[Reading(0, 0, away)] * 500, Reading()])) as work:
        work.collector.follow(job())
        work.collector.ended(job().pod, None, None)
        await work.stored(job())
        assert asyncio.get_running_loop().time() > 2 * SILENT_SECONDS
        assert await work.objects() == steps(b"one\n", b"two\n")


@virtual
async def test_output_over_the_limit_is_cut_with_a_line_in_every_step_that_lost_something() -> None:
    source = Container(toolbox_log([b"x" * 50 + b"\n", b"y" * 50, b"z" * 50]))
    what = job(steps=("a", "b", "c"))
    async with collecting(source, max_bytes=80) as work:
        work.collector.follow(what)
        sizes = (await work.stored(what)).sizes
        objects = await work.objects()
    assert objects == steps(
        b"x" * 50 + b"\n",
        b"y" * 21 + b"\n[runabout: 29 more bytes are not kept: the limit is 80 an attempt]\n",
        b"[runabout: 50 more bytes are not kept: the limit is 80 an attempt]\n",
    )
    assert sizes == {step: len(objects[what.key(step)]) for step in (-1, 0, 1, 2)}


@virtual
async def test_a_log_waits_for_the_storage_says_since_when_and_is_stored_when_it_is_back() -> None:
    away: list[OstError] = [UnavailableError("no route"), UnavailableError("no route"), UnavailableError("still none")]
    ost = MemoryObjectStore(fault=lambda *_call: away[0] if away else None)
    async with collecting(Container(toolbox_log([b"one\n"])), ost) as work:
        what = job(steps=("compile",))
        work.collector.follow(what)
        await work.until(lambda: work.collector.trouble(what.pod) is not None)
        assert work.collector.trouble(what.pod) == ("no route", NOW)
        assert work.collector.stored(what.pod) is None
        assert work.metrics.registry.get_sample_value("runabout_logs_waiting") == 1
        del away[:2]
        await work.until(lambda: work.collector.trouble(what.pod) == ("still none", NOW))
        del away[:]
        await work.stored(what)
        assert work.collector.trouble(what.pod) is None
        assert await work.objects() == steps(b"one\n")
        assert work.metrics.registry.get_sample_value("runabout_logs_waiting") == 0


@virtual
async def test_a_store_that_kept_a_log_and_failed_to_say_so_has_it_once() -> None:
    lost = [True]

    def fault(operation: str, key: str, done: bool) -> OstError | None:
        if operation == "write" and done and key.endswith("/0") and lost:
            lost.clear()
            return UnavailableError("the answer got lost")
        return None

    async with collecting(Container(toolbox_log([b"one\n", b"two\n"])), MemoryObjectStore(fault=fault)) as work:
        work.collector.follow(job())
        await work.stored(job())
        assert await work.objects() == steps(b"one\n", b"two\n")
    assert not lost


@virtual
async def test_what_was_stored_first_is_kept_when_a_log_is_read_again_after_a_restart() -> None:
    ost = MemoryObjectStore()
    await ost.write(job().key(0), b"as it was first stored\n")
    async with collecting(Container(toolbox_log([b"another\n", b"two\n"])), ost) as work:
        work.collector.follow(job())
        found = await work.stored(job())
        assert await work.objects() == steps(b"as it was first stored\n", b"two\n")
        assert found.sizes == {-1: len(SETUP), 0: len(b"as it was first stored\n"), 1: len(b"two\n")}


@virtual
async def test_no_more_logs_are_read_at_once_than_there_are_streams() -> None:
    source = Container(toolbox_log([b"one\n"]))
    jobs = [job(f"task{number}", ("compile",)) for number in range(12)]
    async with collecting(source, streams=3) as work:
        for what in jobs:
            work.collector.follow(what)
            work.collector.follow(what)
        for what in jobs:
            await work.stored(what)
    assert source.most_open == 3
    assert len(source.requests) == 12


@virtual
async def test_a_container_that_ended_is_read_though_others_hold_all_streams() -> None:
    whole = toolbox_log([b"one\n"])
    source = Container(whole, [Reading(0, 40, "stays open"), Reading()])
    long, short = job("long", ("compile",)), job("short", ("compile",))
    begun = asyncio.Event()
    source.when[1] = begun.set
    async with collecting(source, streams=1) as work:
        loop = asyncio.get_running_loop()
        work.collector.follow(long)
        async with asyncio.timeout(10):
            await begun.wait()
        start = loop.time()
        work.collector.follow(short)
        loop.call_later(30, work.collector.ended, short.pod, None, None)
        await work.stored(short)
        assert loop.time() - start == pytest.approx(30, abs=1)
        assert work.collector.stored(long.pod) is None
    assert source.requests == [True, False]


@virtual
async def test_a_job_that_is_forgotten_is_ended_and_unknown() -> None:
    source = Container(toolbox_log([b"one\n"])[:40], [Reading(ends="stays open")])
    begun = asyncio.Event()
    source.when[1] = begun.set
    async with collecting(source) as work:
        work.collector.follow(job())
        async with asyncio.timeout(10):
            await begun.wait()
        assert work.collector.knows(job().pod)
        work.collector.forget(job().pod)
        assert not work.collector.knows(job().pod)
        work.collector.ended(job().pod, None, None)
        work.collector.forget(job().pod)
    assert source.open == 0
    assert await work.objects() == {}


@virtual
async def test_a_log_that_waits_for_the_storage_is_stored_even_if_nobody_waits_for_it_any_more() -> None:
    away: list[OstError] = [UnavailableError("no route")]
    ost = MemoryObjectStore(fault=lambda *_call: away[0] if away else None)
    async with collecting(Container(toolbox_log([b"one\n", b"two"])), ost) as work:
        work.collector.follow(job())
        work.collector.ended(job().pod, None, None)
        await work.until(lambda: work.collector.trouble(job().pod) is not None)
        work.collector.forget(job().pod)
        assert not work.collector.knows(job().pod)
        away.clear()
        await work.until(lambda: work.metrics.registry.get_sample_value("runabout_logs_waiting") == 0)
        assert await work.objects() == steps(b"one\n", b"two")


@virtual
async def test_a_collector_that_is_stopped_waits_for_no_storage() -> None:
    ost = MemoryObjectStore(fault=lambda *_call: UnavailableError("no route"))
    async with asyncio.timeout(1000), collecting(Container(toolbox_log([b"one\n"])), ost) as work:
        work.collector.follow(job())
        work.collector.ended(job().pod, None, None)
        await work.until(lambda: work.collector.trouble(job().pod) is not None)
        work.collector.forget(job().pod)


@virtual
async def test_a_collector_that_is_stopped_reads_no_more_and_stores_nothing_half() -> None:
    source = Container(toolbox_log([b"one\n"])[:-40], [Reading(ends="stays open")])
    begun = asyncio.Event()
    source.when[1] = begun.set
    async with collecting(source) as work:
        work.collector.follow(job())
        async with asyncio.timeout(10):
            await begun.wait()
    assert source.open == 0
    assert await work.objects() == {}
    assert work.metrics.registry.get_sample_value("runabout_log_streams") == 0


@virtual
async def test_a_log_that_was_asked_for_before_the_collector_works_is_collected_then() -> None:
    made = Collecting(Container(toolbox_log([b"one\n", b"two"])), MemoryObjectStore())
    made.collector.follow(job())
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(made.collector.run(stop))
        await made.stored(job())
        stop.set()
    assert await made.objects() == steps(b"one\n", b"two")
