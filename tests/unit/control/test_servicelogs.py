"""Logs of services are stored beside those of the steps, within a deadline, whatever is missing; in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from fixtures.logs import ServiceContainers
from fixtures.states import RUN
from runabout.control.logs import LogGoneError, LogUnavailableError
from runabout.control.servicelogs import (
    AT_ONCE,
    DEADLINE_SECONDS,
    END_BYTES,
    HEAD_BYTES,
    READ_SECONDS,
    ServiceJob,
    ServiceLogs,
    service_log_key,
)
from runabout.ost import MemoryObjectStore, OstError, UnavailableError

virtual = pytest.mark.looptime
POD = f"{RUN}-test-1"


def job(*services: str, again: Sequence[str] = ()) -> ServiceJob:
    return ServiceJob(RUN, "test", 1, "ci", POD, tuple((name, name in again) for name in services))


class Work:
    """A collector at work on the storage in memory."""

    def __init__(self, source: ServiceContainers, ost: MemoryObjectStore) -> None:
        self.ost = ost
        self._done = asyncio.Event()
        self.logs = ServiceLogs(source=source, ost=ost, on_change=lambda _job: self._done.set())

    async def done(self, what: ServiceJob) -> float:
        """Collect; return how many seconds it took."""
        clock = asyncio.get_running_loop().time
        begin = clock()
        self.logs.collect(what)
        assert self.logs.waits(what.pod)
        await self._done.wait()
        assert not self.logs.waits(what.pod)
        return clock() - begin

    async def objects(self) -> dict[str, bytes]:
        return {info.key.rpartition("/")[2]: await self.ost.read(info.key) for info in await self.ost.list("logs/")}


@asynccontextmanager
async def working(
    texts: Mapping[str, Sequence[bytes | Exception | None]],
    errors: Mapping[str, Exception] | None = None,
    ost: MemoryObjectStore | None = None,
) -> AsyncIterator[Work]:
    made = Work(ServiceContainers(texts, errors or {}), ost or MemoryObjectStore())
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(made.logs.run(stop))
        try:
            yield made
        finally:
            stop.set()


def test_the_address_of_a_log_stands_beside_the_steps() -> None:
    assert service_log_key(RUN, "test", 2, "db") == "logs/1il7g1c000001/test/2/service-db"


@virtual
async def test_each_service_has_an_object_of_its_own() -> None:
    async with working({"db": [b"ready\n"], "cache": [b"up\n"], "silent": [b""]}) as work:
        await work.done(job("db", "cache", "silent"))
        assert await work.objects() == {"service-db": b"ready\n", "service-cache": b"up\n"}


@virtual
async def test_of_a_service_that_was_started_again_both_logs_are_there_and_the_first_ones_last_lines() -> None:
    async with working({"db": [b"second\n", b"first\nout of luck\n"]}) as work:
        await work.done(job("db", again=["db"]))
        assert await work.objects() == {
            "service-db": b"first\nout of luck\n[runabout: service db ended here and was started again]\nsecond\n"
        }
        assert work.logs.last_lines(POD, "db") == "first | out of luck"


@virtual
async def test_a_service_that_goes_on_is_not_waited_for() -> None:
    async with working({"db": [b"one\n"], "stubborn": [None]}) as work:
        assert await work.done(job("db", "stubborn")) == pytest.approx(READ_SECONDS, abs=0.1)
        found = await work.objects()
        assert found["service-db"] == b"one\n"
        assert found["service-stubborn"] == (
            b"[runabout: service stubborn did not end in time; what it wrote from here on is not kept]\n"
        )


@pytest.mark.parametrize("error", [LogGoneError("the pod is gone"), LogUnavailableError("no node")])
@virtual
async def test_a_log_that_cannot_be_had_is_a_line_that_says_so(error: Exception) -> None:
    async with working({"db": [b"one\n"]}, {"lost": error}) as work:
        await work.done(job("lost", "db"))
        assert await work.objects() == {
            "service-db": b"one\n",
            "service-lost": f"[runabout: the log of service lost cannot be had: {error}]\n".encode(),
        }


@virtual
async def test_an_error_that_nobody_thought_of_costs_the_rest_of_one_log_which_says_so() -> None:
    async with working({"db": [b"one\n"], "odd": [b"begun"]}, {"odd": ZeroDivisionError("odd")}) as work:
        await work.done(job("odd", "db", again=["odd"]))
        assert await work.objects() == {
            "service-db": b"one\n",
            "service-odd": b"[runabout: the rest of the log is lost: ZeroDivisionError: odd]\n",
        }


@virtual
async def test_a_log_that_breaks_off_with_an_error_that_nobody_thought_of_keeps_what_came() -> None:
    async with working({"odd": [ZeroDivisionError("odd"), b"first\nhalf a line"]}) as work:
        await work.done(job("odd", again=["odd"]))
        assert await work.objects() == {
            "service-odd": b"first\nhalf a line\n"
            b"[runabout: service odd ended here and was started again]\n"
            b"[runabout: the rest of the log is lost: ZeroDivisionError: odd]\n"
        }


@virtual
async def test_a_log_that_cannot_be_stored_for_a_reason_that_nobody_thought_of_is_a_line_that_says_so() -> None:
    odd = [ZeroDivisionError("odd")]

    def fault(operation: str, _key: str, _done: bool) -> OstError | None:
        if operation == "write" and odd:
            raise odd.pop()
        return None

    async with working({"db": [b"one\n"]}, ost=MemoryObjectStore(fault=fault)) as work:
        await work.done(job("db"))
        assert await work.objects() == {
            "service-db": b"[runabout: the rest of the log is lost: ZeroDivisionError: odd]\n"
        }


@virtual
async def test_of_a_long_log_beginning_and_end_are_kept_with_a_line_about_what_lies_between() -> None:
    begin, end = b"x" * (HEAD_BYTES - 1) + b"\n", b"y" * (END_BYTES - 8) + b"the end\n"
    async with working({"db": [begin + b"between\n" + end], "all": [begin + end]}) as work:
        await work.done(job("db", "all"))
        found = await work.objects()
        assert found["service-all"] == begin + end
        notice = b"[runabout: 8 bytes are not kept here: of a service the first 1048576 and the last 1048576 are]\n"
        assert found["service-db"] == begin + notice + end


@virtual
async def test_a_line_that_is_cut_ends_before_the_line_that_says_so() -> None:
    async with working({"db": [b"x" * HEAD_BYTES + b"xx" + b"y" * END_BYTES]}) as work:
        await work.done(job("db"))
        found = (await work.objects())["service-db"]
        assert found[HEAD_BYTES:].startswith(b"\n[runabout: 2 bytes are not kept here: ")
        assert found.endswith(b"]\n" + b"y" * END_BYTES)


@virtual
async def test_a_storage_that_is_away_for_a_moment_gets_the_log_later() -> None:
    away: list[OstError] = [UnavailableError("no route")] * 3
    ost = MemoryObjectStore(fault=lambda *_call: away.pop() if away else None)
    async with working({"db": [b"one\n"]}, ost=ost) as work:
        await work.done(job("db"))
        assert await work.objects() == {"service-db": b"one\n"}


@virtual
async def test_nobody_waits_beyond_the_deadline_whatever_the_storage_does() -> None:
    away = [True]
    ost = MemoryObjectStore(fault=lambda *_call: UnavailableError("no route") if away else None)
    async with working({"db": [b"one\n"]}, ost=ost) as work:
        assert await work.done(job("db")) == pytest.approx(DEADLINE_SECONDS, abs=0.1)
        assert work.logs.last_lines(POD, "db") == "one"


@virtual
async def test_the_deadline_counts_for_those_who_wait_for_their_turn_too() -> None:
    names = [f"s{number}" for number in range(AT_ONCE * 6)]
    async with working({name: [None] for name in names}) as work:
        assert await work.done(job(*names)) == pytest.approx(DEADLINE_SECONDS, abs=0.1)


@virtual
async def test_what_an_earlier_process_has_stored_stays() -> None:
    async with working({"db": [b"later\n"]}) as work:
        await work.ost.write(service_log_key(RUN, "test", 1, "db"), b"earlier\n", size=8)
        await work.done(job("db"))
        assert await work.objects() == {"service-db": b"earlier\n"}


@virtual
async def test_what_is_forgotten_is_not_waited_for() -> None:
    async with working({"db": [None]}) as work:
        work.logs.collect(job("db"))
        work.logs.forget(POD)
        assert not work.logs.waits(POD)
