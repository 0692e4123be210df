"""What pods and logs say of a run, as facts and waits; with the log collector at work on the storage in memory."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from fixtures.states import NOW, RUN
from lab.observed import (
    CREATING,
    EVICTED,
    EVICTED_RUNNING,
    LATE_MS,
    PENDING_MS,
    PLACED,
    POD,
    RUNS,
    UNPLACED,
    WITH_SIDECAR,
    ended,
    pod,
    scene,
    time,
)
from models.container_log import NONCE
from runabout.control.attempts import Creation
from runabout.control.logchunks import chunk_key
from runabout.control.logs import log_key
from runabout.control.observer import (
    CLEANUP_MS,
    NOTICED_MS,
    REMOVED_MS,
    SLOW_START_MS,
    UNSEEN_MS,
    Observation,
)
from runabout.control.status import Wait
from runabout.engine.attempts import MACHINERY_ATTEMPTS
from runabout.engine.decide import TaskEnd
from runabout.executors.observe import LOST_SECONDS, MARGIN_SECONDS
from runabout.ost import MemoryObjectStore, OstError, UnavailableError
from runabout.records import Attempt as PastAttempt
from runabout.records import Reason, Status

virtual = pytest.mark.looptime


# before a pod runs


@pytest.mark.parametrize(
    ("shown", "reason", "after"),
    [(CREATING, Reason.CONTAINER_CREATING, SLOW_START_MS), (UNPLACED, Reason.UNSCHEDULABLE, NOTICED_MS)],
)
@virtual
async def test_a_pod_that_does_not_start_is_named_once_it_takes_longer_than_usual(
    shown: dict[str, Any], reason: Reason, after: int
) -> None:
    async with scene() as here:
        first = here.look(shown, at=NOW + after - 1)
        assert (first.waits, first.look_again) == ({}, NOW + after)
        second = here.look(at=NOW + after)
        assert second.waits["build"].reason is reason
        assert second.waits["build"].since == NOW
        assert not second.ended


@virtual
async def test_an_assignment_of_this_process_waits_for_its_pod_to_be_created() -> None:
    async with scene(creation=Creation.WANTED) as here:
        here.attempt.next_try = NOW + 500
        found = here.look()
        assert found == Observation(look_again=NOW + 500)


@virtual
async def test_an_assignment_of_another_process_whose_pod_is_not_there_is_a_lost_attempt() -> None:
    async with scene(creation=Creation.FOREIGN) as here:
        found = here.look()
        assert found.ended == {}
        assert found.retry["build"] == PastAttempt(
            1, POD, "linux", Reason.POD_LOST, f"pod {POD} is not there", ended=NOW
        )


@pytest.mark.parametrize("text", [b"one\n", b""])
@virtual
async def test_what_was_uploaded_of_a_lost_attempt_is_stored_while_the_next_one_runs(text: bytes) -> None:
    async with scene(creation=Creation.FOREIGN, vanished=True) as here:
        if text:
            await here.work.ost.write(chunk_key(RUN, "build", 1, 0, 0, sha256(text).hexdigest()), text)
        assert here.look().retry["build"].reason is Reason.POD_LOST
        here.observer.forget(here.attempt)  # its end is committed
        await here.work.until(lambda: not here.work.collector.holds(POD))
        why = f"PodLost: pod {POD} is not there: the pod is gone".encode()
        log = await here.work.ost.read(log_key(RUN, "build", 1, 0 if text else -1))
        end = b"step compile did not end" if text else b"the task has no log"
        assert log == text + b"[runabout: %s: %s]\n" % (end, why)


@virtual
async def test_an_assignment_of_another_process_whose_pod_is_there_goes_on() -> None:
    async with scene(creation=Creation.FOREIGN) as here:
        found = here.look(RUNS)
        assert (found.ended, found.retry) == ({}, {})
        assert here.attempt.creation is Creation.DONE
        assert here.attempt.uid == "pod-uid"


@virtual
async def test_a_created_pod_that_stays_unseen_is_asked_for() -> None:
    async with scene() as here:
        assert here.look(at=NOW + UNSEEN_MS - 1) == Observation(look_again=NOW + UNSEEN_MS)
        assert here.look(at=NOW + UNSEEN_MS).check == [here.attempt]


@virtual
async def test_a_refusal_is_a_wait_in_the_servers_words_until_the_limit() -> None:
    async with scene(creation=Creation.WANTED) as here:
        here.attempt.refused, here.attempt.refused_since, here.attempt.next_try = "exceeded quota", NOW, NOW + 5000
        found = here.look(at=NOW + 4000)
        assert found.waits == {"build": Wait(Reason.CREATION_REFUSED, "exceeded quota", NOW)}
        assert (found.ended, found.look_again) == ({}, NOW + 5000)
        late = here.look(at=NOW + PENDING_MS)
        assert late.ended["build"] == TaskEnd(
            Status.FAILED, reason=Reason.CREATION_REFUSED, message="exceeded quota", ended=NOW + PENDING_MS
        )


@virtual
async def test_a_pod_that_can_never_be_accepted_fails_its_task() -> None:
    async with scene(creation=Creation.WANTED) as here:
        here.attempt.invalid = "spec.volumes[0]: Invalid value"
        assert here.look().ended["build"] == TaskEnd(
            Status.FAILED, reason=Reason.INVALID_POD, message="spec.volumes[0]: Invalid value", ended=NOW
        )


@pytest.mark.parametrize("creation", [Creation.WANTED, Creation.FOREIGN])
@virtual
async def test_a_stop_ends_what_has_no_pod(creation: Creation) -> None:
    async with scene(creation=creation) as here:
        found = here.look(stop=True)
        assert found.ended["build"] == TaskEnd(Status.STOPPED, reason=Reason.STOPPED, ended=NOW)
        assert found.retry == {}
        assert found.look_again == NOW  # nothing else wakes the run for its log


@virtual
async def test_a_stop_ends_what_was_created_never_seen_and_is_gone_when_it_is_told_to_stop() -> None:
    async with scene() as here:
        assert here.look(stop=True).ended == {}
        here.attempt.gone = True
        assert here.look(stop=True).ended["build"].status is Status.STOPPED


@virtual
async def test_a_stop_does_not_end_a_pod_whose_creation_is_under_way() -> None:
    async with scene(creation=Creation.SENT) as here:
        assert here.look(stop=True).ended == {}


# while it runs and when it ends


@virtual
async def test_a_running_pod_has_its_log_followed_and_waits_for_nothing() -> None:
    async with scene() as here:
        found = here.look(RUNS)
        assert (found.ended, found.waits) == ({}, {})
        assert here.work.collector.knows(POD)


@virtual
async def test_an_end_counts_at_once_and_its_log_is_stored_afterwards() -> None:
    async with scene() as here:
        first = here.look(ended())
        end = first.ended["build"]
        assert (end.status, end.exit_code, end.ended) == (Status.SUCCESS, 0, NOW + 9000)
        assert [step.name for step in end.steps] == ["compile", "test"]
        assert first.stored == {}
        here.task_ended()
        await here.stored()
        second = here.look(at=NOW + 10_000)
        assert [step.log_size for step in second.stored["build"]] == [4, 3]
        assert second.ended == {}


@virtual
async def test_a_failure_is_the_tasks_own() -> None:
    async with scene() as here:
        end = here.look(ended(3)).ended["build"]
        assert (end.status, end.reason, end.exit_code) == (Status.FAILED, Reason.EXIT_CODE, 3)


@pytest.mark.parametrize(
    ("nonce", "reason"), [(NONCE, Reason.TIMEOUT), (NONCE[::-1], Reason.EXIT_CODE)], ids=["the log's", "a step's own"]
)
@virtual
async def test_a_termination_message_is_believed_with_the_nonce_of_the_log_only(nonce: str, reason: Reason) -> None:
    summary = {"runabout": 1, "nonce": nonce, "toolbox": "1", "start": NOW, "exit": 124, "reason": "Timeout"}
    rows = [["failed", 124, 4, 0, 5], ["notstarted", 0, 0, 0, 0]]
    over = ended(124)
    over["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = json.dumps(
        {**summary, "message": "the task's 900 s are over", "setup": 0, "steps": rows}
    )
    async with scene() as here:
        here.look(RUNS)
        here.work.collector.ended(POD, None, None)
        await here.stored()
        end = here.look(over, at=NOW + 10_000).ended["build"]
        assert (end.status, end.reason, end.exit_code) == (Status.FAILED, reason, 124)


@virtual
async def test_an_attempt_without_any_log_is_stored_at_once() -> None:
    async with scene() as here:
        found = here.look(EVICTED)
        assert found.stored == {"build": ()}
        assert found.retry["build"].reason is Reason.EVICTED
        assert not here.work.collector.knows(POD)


@virtual
async def test_a_lost_attempt_is_replaced_only_once_its_log_is_stored() -> None:
    async with scene() as here:
        here.look(RUNS)
        first = here.look(EVICTED_RUNNING, at=NOW + 10_000)
        assert (first.retry, first.ended) == ({}, {})
        assert first.waits["build"].reason is Reason.EVICTED
        await here.stored()
        second = here.look(at=NOW + 11_000)
        assert second.retry["build"].reason is Reason.EVICTED
        assert second.retry["build"].exit_code == 137
        assert second.stored["build"]


@pytest.mark.parametrize("lost", range(MACHINERY_ATTEMPTS))
@virtual
async def test_the_machinery_may_lose_so_many_attempts_and_then_the_task_fails_with_its_reason(lost: int) -> None:
    async with scene(lost=lost) as here:
        found = here.look(EVICTED)
        if lost + 1 < MACHINERY_ATTEMPTS:
            assert found.retry["build"].number == lost + 1
            assert found.ended == {}
        else:
            assert found.retry == {}
            end = found.ended["build"]
            assert (end.status, end.reason) == (Status.FAILED, Reason.EVICTED)
            assert end.message == "lost 3 attempts; the last one: Evicted: disk pressure"


@virtual
async def test_what_the_machinery_loses_while_a_run_is_stopped_is_stopped() -> None:
    async with scene() as here:
        found = here.look(EVICTED, stop=True)
        assert (found.ended["build"].status, found.ended["build"].reason) == (Status.STOPPED, Reason.STOPPED)
        assert found.retry == {}


@virtual
async def test_a_pod_that_vanished_is_lost_and_remembered_as_it_was_last_seen() -> None:
    async with scene(log=b"") as here:
        here.look(RUNS)
        here.look({}, at=NOW + 1000)
        assert here.attempt.gone
        await here.stored()
        found = here.look(at=NOW + 2000)
        assert found.retry["build"].reason is Reason.POD_DELETED


@virtual
async def test_the_log_of_a_task_that_had_ended_is_collected_after_a_restart() -> None:
    async with scene(creation=Creation.FOREIGN) as here:
        here.task_ended()
        assert here.look(ended()).stored == {}
        await here.stored()
        assert [step.log_size for step in here.look().stored["build"]] == [4, 3]


# pods that have to go


@virtual
async def test_a_pod_that_goes_on_after_its_task_is_removed_a_while_later() -> None:
    async with scene() as here:
        assert here.look(WITH_SIDECAR).ended["build"].status is Status.SUCCESS
        here.task_ended()
        await here.stored()
        first = here.look(at=NOW + 1000)
        assert (bool(first.stored), first.remove) == (True, [])
        assert first.look_again == here.attempt.cleanup_due == NOW + 1000 + CLEANUP_MS
        due = NOW + 1000 + CLEANUP_MS
        for at in (due, due + REMOVED_MS):  # the first try may have failed
            again = here.look(at=at)
            assert (again.remove, again.look_again) == ([here.attempt], at + REMOVED_MS)
        here.attempt.removed = True
        assert here.look(at=due + 2 * REMOVED_MS).remove == []
        assert here.attempt.cleanup_due is None


@virtual
async def test_a_pod_that_ended_by_itself_meanwhile_is_left_alone() -> None:
    async with scene() as here:
        here.look(WITH_SIDECAR)
        here.task_ended()
        await here.stored()
        here.look(at=NOW + 1000)
        assert here.look(ended(), at=NOW + 1000 + CLEANUP_MS).remove == []
        assert here.attempt.cleanup_due is None


@virtual
async def test_a_pod_that_never_started_is_removed_at_once() -> None:
    waiting = {"waiting": {"reason": "InvalidImageName", "message": "invalid reference format"}}
    async with scene() as here:
        found = here.look(pod("Pending", waiting, **PLACED), at=NOW + PENDING_MS)
        assert found.ended["build"].status is Status.FAILED
        assert found.remove == [here.attempt]
        assert not here.attempt.force


@virtual
async def test_a_node_that_does_not_answer_may_still_execute_the_attempt_so_there_is_no_other() -> None:
    lost = replace_metadata(RUNS, deletionTimestamp=time(NOW))
    given_up = NOW + (MARGIN_SECONDS + LOST_SECONDS) * 1000
    async with scene() as here:
        here.look(RUNS)
        first = here.look(lost, at=given_up - 1)
        assert (first.waits["build"].reason, first.look_again) == (Reason.NODE_LOST, given_up)
        assert (first.remove, first.retry, first.ended) == ([], {}, {})
        end = here.look(at=given_up).ended["build"]
        assert (end.status, end.reason) == (Status.FAILED, Reason.NODE_LOST)
        here.task_ended(Status.FAILED)
        await here.stored()
        found = here.look(at=given_up)
        assert (found.remove, here.attempt.force, found.retry) == ([here.attempt], True, {})


BROKEN_TOOLBOX = pod(
    "Pending",
    None,
    initContainerStatuses=[
        {"name": "runabout-toolbox", "state": {"waiting": {"reason": "InvalidImageName", "message": "no image"}}}
    ],
    **PLACED,
)


@virtual
async def test_the_next_attempt_opens_only_when_nothing_of_the_lost_one_can_begin_any_more() -> None:
    async with scene() as here:
        first = here.look(BROKEN_TOOLBOX)
        assert (first.remove, first.retry, first.ended) == ([here.attempt], {}, {})
        assert first.waits["build"].reason is Reason.MACHINERY_ERROR
        assert first.look_again == NOW + REMOVED_MS
        here.attempt.removed = True
        ending = replace_metadata(BROKEN_TOOLBOX, deletionTimestamp=time(NOW))
        assert here.look(ending, at=NOW + 500).retry == {}
        past = here.look({}, at=NOW + 1000).retry["build"]
        assert past.reason is Reason.MACHINERY_ERROR, "not that somebody deleted it: that was us"


@virtual
async def test_the_pod_of_a_lost_attempt_that_its_node_never_ends_leaves_no_room_for_another() -> None:
    ending = replace_metadata(BROKEN_TOOLBOX, deletionTimestamp=time(NOW))
    given_up = NOW + (MARGIN_SECONDS + LOST_SECONDS) * 1000
    async with scene() as here:
        here.look(BROKEN_TOOLBOX)
        here.attempt.removed = True
        last = here.look(ending, at=given_up - 1)
        assert (last.retry, last.ended) == ({}, {})
        assert last.waits["build"].reason is Reason.MACHINERY_ERROR
        found = here.look(at=given_up)
        assert (found.retry, found.ended["build"].reason) == ({}, Reason.NODE_LOST)
        assert (found.remove, here.attempt.force) == ([here.attempt], True)


@virtual
async def test_a_lost_pod_that_has_ended_after_all_needs_no_removal() -> None:
    async with scene() as here:
        here.look(BROKEN_TOOLBOX)
        found = here.look(EVICTED, at=NOW + 1000)
        assert (found.remove, here.attempt.cleanup_due) == ([], None)
        assert found.retry["build"].reason is Reason.MACHINERY_ERROR


@virtual
async def test_a_stop_ends_a_lost_attempt_at_once_and_its_pod_is_still_removed() -> None:
    async with scene() as here:
        here.look(BROKEN_TOOLBOX)
        found = here.look(at=NOW + REMOVED_MS, stop=True)
        assert found.ended["build"].status is Status.STOPPED
        assert found.remove == [here.attempt]
        here.task_ended(Status.STOPPED)
        assert here.look(at=NOW + 2 * REMOVED_MS).remove == [here.attempt]
        assert here.look({}, at=NOW + 2 * REMOVED_MS).remove == []
        assert here.attempt.cleanup_due is None


@virtual
async def test_a_pod_that_never_started_is_asked_to_go_until_it_is_removed() -> None:
    waiting = {"waiting": {"reason": "InvalidImageName", "message": "invalid reference format"}}
    async with scene() as here:
        here.look(pod("Pending", waiting, **PLACED))
        here.task_ended(Status.FAILED)
        assert here.look(at=NOW + REMOVED_MS).remove == [here.attempt]
        here.attempt.removed = True
        assert here.look(at=NOW + 2 * REMOVED_MS).remove == []
        assert here.attempt.cleanup_due is None


def replace_metadata(body: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - a pod's JSON
    return {**body, "metadata": {**body["metadata"], **more}}


@virtual
async def test_a_pod_that_appears_when_its_task_is_over_is_removed_at_once() -> None:
    """Its creation was given up because of a stop, and carried out all the same."""
    async with scene(creation=Creation.WANTED) as here:
        assert here.look(stop=True).ended["build"].status is Status.STOPPED
        here.task_ended(Status.STOPPED)
        assert here.look().remove == []
        assert here.look(RUNS).remove == [here.attempt]
        here.attempt.removed = True
        assert here.look(at=NOW + REMOVED_MS).remove == []


# the object storage is away


@virtual
async def test_a_storage_that_is_away_is_a_wait_and_after_a_while_the_run_goes_on_without_it() -> None:
    away: list[OstError] = [UnavailableError("no route to the bucket")]
    ost = MemoryObjectStore(fault=lambda *_call: away[0] if away else None)
    async with scene(ost=ost) as here:
        here.look(ended())
        here.task_ended()
        await here.work.until(lambda: here.work.collector.trouble(POD) is not None)
        found = here.look(at=NOW + 1000)
        assert found.waits == {"build": Wait(Reason.STORAGE_UNAVAILABLE, "no route to the bucket", NOW)}
        assert (found.storage_late, found.look_again) == (False, NOW + LATE_MS)
        assert here.look(at=NOW + LATE_MS).storage_late
        away.clear()
        await here.stored()
        late = here.look(at=NOW + LATE_MS)
        assert (late.storage_late, late.waits) == (False, {})
        assert late.stored["build"]


@virtual
async def test_a_lost_attempt_does_not_wait_for_the_storage_for_ever() -> None:
    ost = MemoryObjectStore(fault=lambda *_call: UnavailableError("no route to the bucket"))
    async with scene(ost=ost) as here:
        here.look(EVICTED_RUNNING)
        await here.work.until(lambda: here.work.collector.trouble(POD) is not None)
        assert here.look(at=NOW + LATE_MS - 1).retry == {}
        assert here.look(at=NOW + LATE_MS).retry["build"].reason is Reason.EVICTED


@virtual
async def test_what_is_forgotten_is_not_collected_any_more() -> None:
    async with scene() as here:
        here.look(RUNS)
        here.observer.forget(here.attempt)
        assert not here.work.collector.knows(POD)


@virtual
async def test_looking_again_finds_the_same() -> None:
    async with scene() as here:
        first = here.look(ended())
        second = here.look()
        assert replace(first) == second
