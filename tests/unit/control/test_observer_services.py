"""Services of a task as the observer sees them: their faults end the attempt, their logs are stored, nothing waits."""

from typing import Any

import pytest

from fixtures.states import NOW
from lab.observed import PLACED, POD, ended, pod, scene, time, with_sidecar
from runabout.control.servicelogs import DEADLINE_SECONDS, READ_SECONDS
from runabout.executors.faults import MARGIN_SECONDS
from runabout.records import Reason, Status

virtual = pytest.mark.looptime
READY = {"tcpSocket": {"port": "80"}, "failureThreshold": 3}
UP = {"name": "db", "started": True, "state": {"running": {"startedAt": time(NOW)}}}
STARTING = UP | {"started": False}


def died(code: int, message: str = "", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - a container's JSON
    terminated = {"exitCode": code, "startedAt": time(NOW), "finishedAt": time(NOW + 2000), "message": message}
    return {"name": "db", "restartCount": 1, "state": UP["state"], "lastState": {"terminated": terminated}, **more}


def waiting(*services: dict[str, Any]) -> dict[str, Any]:
    return pod("Pending", {"waiting": {"reason": "PodInitializing"}}, initContainerStatuses=list(services), **PLACED)


def running(*services: dict[str, Any]) -> dict[str, Any]:
    return pod("Running", {"running": {"startedAt": time(NOW)}}, initContainerStatuses=list(services))


def ended_for_it(*services: dict[str, Any], code: int = 143) -> dict[str, Any]:
    return ended(code, reason="DeadlineExceeded", initContainerStatuses=list(services))


TERMINATED = {"exitCode": 143, "startedAt": time(NOW + 3000), "finishedAt": time(NOW + 9000)}


@virtual
async def test_a_service_that_dies_has_the_attempt_ended_and_the_task_fails_with_its_last_lines() -> None:
    async with scene(services={"db": [b"", b"a\npanic\n"]}) as here:
        assert here.look(running(UP)).end == []
        first = here.look(running(died(3, "a\npanic\n")))
        assert (first.end, first.ended) == (["build"], {})
        assert first.waits["build"].reason is Reason.SERVICE_FAILED
        here.attempt.stop_sent = NOW + 2000
        assert here.look().end == ["build"], "until it has ended, in the end by force"
        found = here.look(ended_for_it(died(3, "a\npanic\n", state={"terminated": TERMINATED})), at=NOW + 10_000)
        end = found.ended["build"]
        assert (end.status, end.reason) == (Status.FAILED, Reason.SERVICE_FAILED)
        assert end.message == ("service db ended with exit code 3 while steps were running; its last lines: a | panic")
        assert found.retry == {}


@virtual
async def test_last_lines_that_the_kubelet_does_not_tell_come_from_the_log() -> None:
    async with scene(services={"db": [b"again\n", b"good\nbye\n"]}) as here:
        here.look(running(died(0)))
        here.attempt.stop_sent = NOW + 2000
        over = ended_for_it(died(0, state={"terminated": TERMINATED}))
        waits = here.look(over, at=NOW + 10_000)
        assert (waits.ended, waits.waits["build"].reason) == ({}, Reason.SERVICE_FAILED)
        await here.services_read()
        assert here.look().ended["build"].message.endswith("its last lines: good | bye")


@virtual
async def test_a_service_that_never_gets_ready_has_the_attempt_ended_and_its_log_is_stored() -> None:
    containers = [{"image": "a"}, {"name": "db", "image": "b", "readiness": READY}]
    late = NOW + (3 + MARGIN_SECONDS) * 1000
    async with scene(services={"db": [b"still starting\n"]}, containers=containers) as here:
        first = here.look(waiting(STARTING))
        assert (first.end, first.ended) == ([], {})
        assert here.look(at=late - 1).waits["build"].reason is Reason.SERVICE_NOT_READY
        assert here.look(at=late).end == ["build"]
        here.attempt.stop_sent = late
        assert here.look({}, at=late + 2000).ended == {}
        await here.services_read()
        found = here.look(at=late + 2000)
        end = found.ended["build"]
        assert (end.status, end.reason) == (Status.FAILED, Reason.SERVICE_NOT_READY)
        assert end.message == "service db was not ready within 3 seconds; its last lines: still starting"
        assert found.stored == {"build": ()}
        assert await here.work.objects() == {f"logs/{POD[:13]}/build/1/service-db": b"still starting\n"}


@virtual
async def test_a_run_that_is_being_stopped_is_stopped_whatever_its_services_do() -> None:
    async with scene(services={"db": [b"", b""]}) as here:
        assert here.look(running(died(3)), stop=True).end == []
        here.attempt.stop_sent = NOW
        found = here.look(ended_for_it(died(3)), at=NOW + 10_000, stop=True)
        assert found.ended["build"].status is Status.STOPPED


@virtual
async def test_a_stop_while_services_start_stores_what_they_wrote() -> None:
    async with scene(services={"db": [b"starting\n"]}) as here:
        here.look(waiting(STARTING))
        here.attempt.stop_sent = NOW
        here.look(stop=True)
        await here.services_read()
        found = here.look({}, at=NOW + 2000, stop=True)
        assert found.ended["build"].status is Status.STOPPED
        assert found.stored == {"build": ()}
        assert list(await here.work.objects()) == [f"logs/{POD[:13]}/build/1/service-db"]


@virtual
async def test_a_task_whose_steps_never_began_waits_for_the_logs_of_its_services_and_for_no_other() -> None:
    async with scene(services={"db": [b"starting\n"]}) as here:
        here.look(waiting(STARTING))
        here.attempt.stop_sent = NOW
        service = {"name": "db", "state": {"terminated": TERMINATED}}
        main = {"waiting": {"reason": "PodInitializing"}}
        over = pod("Failed", main, initContainerStatuses=[service], reason="DeadlineExceeded", **PLACED)
        first = here.look(over, at=NOW + 5000, stop=True)
        assert (first.ended["build"].status, first.stored) == (Status.STOPPED, {})
        here.task_ended()
        assert here.look(at=NOW + 5000, stop=True).stored == {}
        await here.services_read()
        assert here.look(at=NOW + 5000, stop=True).stored == {"build": ()}


@virtual
async def test_a_task_ends_with_its_steps_and_is_stored_when_its_services_logs_are_or_their_time_is_over() -> None:
    async with scene(services={"db": [None]}) as here:
        over = ended(initContainerStatuses=[UP])
        first = here.look(over)
        assert first.ended["build"].status is Status.SUCCESS
        assert first.stored == {}
        here.task_ended()
        await here.stored()
        assert here.look().stored == {}
        await here.services_read()
        assert [step.log_size for step in here.look().stored["build"]] == [4, 3]
        assert f"logs/{POD[:13]}/build/1/service-db" in await here.work.objects()
    assert READ_SECONDS < DEADLINE_SECONDS


@virtual
async def test_a_service_that_never_began_has_no_log() -> None:
    async with scene(services={"db": [b"x"]}) as here:
        here.look(waiting({"name": "db", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}))
        here.attempt.stop_sent = NOW
        found = here.look({}, at=NOW + 1000, stop=True)
        assert found.stored == {"build": ()}


@virtual
async def test_a_task_that_its_toolbox_does_not_end_in_time_is_ended_and_has_failed() -> None:
    async with scene(timeoutSeconds=10) as here:
        first = here.look(running())
        assert (first.end, first.look_again) == ([], NOW + (10 + 30 + 15 + 60) * 1000)
        late = first.look_again or 0
        assert here.look(at=late).end == ["build"]
        here.attempt.stop_sent = late
        over = ended_for_it(code=137)
        end = here.look(over, at=late + 9000).ended["build"]
        assert (end.status, end.reason, end.exit_code) == (Status.FAILED, Reason.TIMEOUT, 137)


@virtual
async def test_the_last_lines_of_a_service_are_told_once_also_of_an_attempt_that_has_to_go_before_the_next_one() -> (
    None
):
    async with scene(services={"db": [b"", b"bye\n"]}, retries={"limit": 1}) as here:
        here.look(running(died(0)))
        goes_on = with_sidecar(ended(1, initContainerStatuses=[died(0)]))
        here.look(goes_on, at=NOW + 10_000)
        await here.services_read()
        await here.stored()
        assert here.look(at=NOW + 11_000).retry == {}
        past = here.look({}, at=NOW + 12_000).retry["build"]
        assert (past.reason, past.exit_code) == (Reason.SERVICE_FAILED, 1)
        assert past.message.count("bye") == 1, past.message


@virtual
async def test_the_next_attempt_begins_when_the_services_of_the_last_one_have_ended() -> None:
    async with scene(retries={"limit": 2}, services={"db": [b"bye\n"]}) as here:
        here.look(running(UP))
        goes_on = ended(7, initContainerStatuses=[UP])
        goes_on["status"]["phase"] = "Running"
        here.look(goes_on, at=NOW + 10_000)
        await here.stored()
        await here.services_read()
        waits = here.look(at=NOW + 11_000)
        assert (waits.retry, waits.remove) == ({}, []), "its kubelet ends it"
        assert waits.waits["build"].reason is Reason.EXIT_CODE
        assert waits.look_again is not None
        gone = UP | {"state": {"terminated": TERMINATED}}
        over = ended(7, initContainerStatuses=[gone])
        assert here.look(over, at=NOW + 12_000).retry["build"].exit_code == 7
        assert here.look(goes_on, at=waits.look_again).retry["build"].exit_code == 7, "its node is lost, perhaps"
