"""What an attempt that failed by itself leads to, with retries: its log first, then another one, or the task's end."""

from dataclasses import replace
from typing import Any

import pytest

from fixtures.states import NOW, a_task
from lab.observed import EVICTED, LATE_MS, PENDING_MS, PLACED, POD, RUNS, ended, pod, scene, with_sidecar
from runabout.control.observer import CLEANUP_MS, MAX_PAST_MESSAGE
from runabout.ost import MemoryObjectStore, UnavailableError
from runabout.records import Reason, Status
from runabout.records.encoding import encode

virtual = pytest.mark.looptime
TWICE: dict[str, object] = {"limit": 2}
NO_IMAGE = pod("Pending", {"waiting": {"reason": "InvalidImageName", "message": "x" * 900}}, **PLACED)


@virtual
async def test_a_failed_attempt_is_followed_by_another_one_once_its_log_is_stored() -> None:
    async with scene(retries=TWICE) as here:
        here.look(RUNS)
        first = here.look(ended(7), at=NOW + 10_000)
        assert (first.retry, first.ended) == ({}, {})
        assert first.waits["build"].reason is Reason.EXIT_CODE
        await here.stored()
        second = here.look(at=NOW + 11_000)
        past = second.retry["build"]
        assert (past.number, past.pod, past.reason, past.exit_code) == (1, POD, Reason.EXIT_CODE, 7)
        assert (past.started, past.ended) == (NOW, NOW + 9000)
        assert (second.ended, second.remove) == ({}, [])
        assert here.look(at=NOW + 12_000).retry == second.retry, "as long as nothing is committed"


@pytest.mark.parametrize(
    ("retries", "lost", "failed", "code", "again"),
    [
        ({"limit": 0}, 0, 0, 7, False),
        (TWICE, 0, 1, 7, True),
        (TWICE, 0, 2, 7, False),
        (TWICE, 2, 1, 7, True),
        ({"limit": 9, "onExitCodes": [7, 75]}, 0, 3, 75, True),
        ({"limit": 9, "onExitCodes": [7, 75]}, 0, 3, 8, False),
    ],
)
@virtual
async def test_the_limit_counts_the_users_failures_and_the_exit_codes_restrict_it(
    retries: dict[str, object], lost: int, failed: int, code: int, again: bool
) -> None:
    async with scene(lost=lost, failed=failed, retries=retries) as here:
        here.look(RUNS)
        here.look(ended(code))
        await here.stored()
        found = here.look()
        assert (bool(found.retry), bool(found.ended)) == (again, not again)
        if not again:
            end = found.ended["build"]
            assert (end.status, end.reason, end.exit_code) == (Status.FAILED, Reason.EXIT_CODE, code)


@pytest.mark.parametrize(("lost", "again"), [(0, True), (1, True), (2, False)])
@virtual
async def test_what_the_machinery_loses_does_not_count_what_failed_before(lost: int, again: bool) -> None:
    async with scene(retries={"limit": 9}, lost=lost, failed=5) as here:
        found = here.look(EVICTED)
        assert (bool(found.retry), bool(found.ended)) == (again, not again)


@virtual
async def test_a_failure_before_a_stop_is_the_tasks_end() -> None:
    async with scene(retries=TWICE) as here:
        here.look(RUNS)
        found = here.look(ended(7), stop=True)
        assert (found.ended["build"].status, found.retry) == (Status.FAILED, {})


@virtual
async def test_a_pod_whose_image_never_comes_is_gone_before_the_next_attempt() -> None:
    async with scene(retries=TWICE) as here:
        first = here.look(NO_IMAGE, at=NOW + PENDING_MS)
        assert (first.remove, first.retry, first.ended) == ([here.attempt], {}, {})
        here.attempt.removed = True
        past = here.look({}, at=NOW + PENDING_MS + 1000).retry["build"]
        assert past.reason is Reason.IMAGE_PULL, "not that somebody deleted it: that was us"
        assert len(past.message) == MAX_PAST_MESSAGE


@pytest.mark.parametrize("message", ["x" * 4000, "\N{SNAIL}" * 2000, "🧨" * 2000], ids=["one byte", "three", "four"])
@virtual
async def test_the_record_of_a_task_with_as_many_attempts_as_there_may_be_stays_below_64_kib(message: str) -> None:
    async with scene(retries=TWICE) as here:
        past = here.look({**EVICTED, "status": {**EVICTED["status"], "message": message}}).retry["build"]
    assert past.message.startswith("Evicted: ")
    long = replace(past, number=100, pod="p" * 63, executor="e" * 63, exit_code=255, started=NOW, ended=NOW)
    task = a_task("n" * 63, Status.FAILED, attempts=(long,) * (100 + 2), message="x" * 4096)
    assert len(encode(task)) < 64 * 1024


@virtual
async def test_a_pod_that_goes_on_after_a_failure_may_end_by_itself_and_is_removed_if_it_does_not() -> None:
    async with scene(retries=TWICE) as here:
        here.look(RUNS)
        goes_on: dict[str, Any] = with_sidecar(ended(7))
        here.look(goes_on, at=NOW + 10_000)
        await here.stored()
        first = here.look(at=NOW + 11_000)
        assert (first.retry, first.remove) == ({}, [])
        late = here.look(at=NOW + 11_000 + CLEANUP_MS)
        assert (late.retry, late.remove) == ({}, [here.attempt])
        assert here.look(ended(7), at=NOW + 12_000 + CLEANUP_MS).retry["build"].exit_code == 7


@virtual
async def test_a_nodes_clock_that_is_ahead_makes_no_pause_longer() -> None:
    async with scene(retries=TWICE) as here:
        here.look(RUNS)
        here.look(ended(7), at=NOW + 5000)
        await here.stored()
        assert here.look(at=NOW + 5000).retry["build"].ended == NOW + 5000


@virtual
async def test_a_storage_that_is_away_holds_up_the_next_attempt_for_a_while_only() -> None:
    ost = MemoryObjectStore(fault=lambda *_call: UnavailableError("no route to the bucket"))
    async with scene(retries=TWICE, ost=ost) as here:
        here.look(ended(7))
        await here.work.until(lambda: here.work.collector.trouble(POD) is not None)
        assert here.look(at=NOW + LATE_MS - 1).retry == {}
        assert here.look(at=NOW + LATE_MS).retry["build"].exit_code == 7
