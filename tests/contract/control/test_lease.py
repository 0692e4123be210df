"""The Lease is taken, kept and let go whatever the API server answers, and two replicas never hold it at once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fixtures.fake_kube import FakeKube, Fault, Kind
from lab.kube_suite import QUICK, until
from runabout.control import lease
from runabout.control.lease import DURATION_SECONDS, RELEASE_SECONDS, Lease, LeaseLostError
from runabout.kube.connection import Connection
from runabout.kube.session import TRIES, Session

NAMESPACE, NAME = "runabout", "runabout-operator-0"
BEGIN_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z"""
LOOK_SECONDS = 0.01
WAIT = 60.0
FAULTS = {
    "409": Fault("", "", code=409, reason="Conflict"),
    "410": Fault("", "", code=410, reason="Gone"),
    "422": Fault("", "", code=422, reason="Invalid"),
    "429": Fault("", "", code=429, reason="TooManyRequests", retry_after=3600),
    "500": Fault("", ""),
    "a dropped connection": Fault("", "", Kind.RESET),
    "an answer that is lost": Fault("", "", Kind.RESET_AFTER),
    "done and answered with 500": Fault("", "", Kind.ANSWER_AFTER),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look and renew at once: what counts is what is done, not how often."""
    monkeypatch.setattr(lease, "LOOK_SECONDS", LOOK_SECONDS)
    monkeypatch.setattr(lease, "RENEW_SECONDS", LOOK_SECONDS)


@dataclass
class Scene:
    """An API server that has at most one Lease, and the time, in seconds."""

    fake: FakeKube
    session: Session
    time: float = 60.0

    def replica(self, holder: str) -> Lease:
        return Lease(
            self.session,
            namespace=NAMESPACE,
            name=NAME,
            holder=holder,
            now=lambda: BEGIN_MS + round(self.time * 1000),
            clock=lambda: self.time,
        )

    def refuse(self, verb: str, fault: Fault) -> None:
        self.fake.faults.extend([replace(fault, verb=verb, plural="leases")] * TRIES)

    def looks(self) -> int:
        return self.fake.requests["get", "leases"]

    async def held_by(self, holder: str) -> None:
        spec = {"holderIdentity": holder, "leaseDurationSeconds": DURATION_SECONDS}
        await self.fake.put("leases", {"metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": spec})

    def spec(self) -> dict[str, Any]:
        [found] = self.fake.items("leases")
        return dict(found["spec"])

    def holder(self) -> str:
        return str(self.spec()["holderIdentity"])


@pytest.fixture
async def here() -> AsyncIterator[Scene]:
    async with (
        FakeKube() as fake,
        Session(Connection(server=fake.url, ssl=False, authorize=dict), backoff=QUICK) as session,
    ):
        await fake.put("namespaces", {"metadata": {"name": NAMESPACE}})
        yield Scene(fake, session)


@pytest.fixture
def stop() -> Iterator[asyncio.Event]:
    event = asyncio.Event()
    yield event
    event.set()


@asynccontextmanager
async def keeping(replica: Lease) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(replica.keep())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize(
    ("verb", "there"), [("get", False), ("get", True), ("create", False), ("patch", True)], ids=str
)
async def test_a_free_lease_is_taken_in_the_end(
    here: Scene, stop: asyncio.Event, verb: str, there: bool, fault: Fault
) -> None:
    if there:
        await here.held_by("")
    here.refuse(verb, fault)
    assert await asyncio.wait_for(here.replica("a").acquire(stop), WAIT)
    assert here.holder() == "a"
    assert here.fake.created["leases", NAME] == (not there)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("verb", ["get", "patch"])
async def test_whoever_holds_the_lease_goes_on_while_it_cannot_be_renewed_and_renews_it_later(
    here: Scene, verb: str, fault: Fault
) -> None:
    await here.held_by("a")
    async with keeping(here.replica("a")) as task:
        here.time += 3
        here.refuse(verb, fault)
        await until(lambda: task.done() or not here.fake.faults)
        here.time += 2
        await until(lambda: task.done() or str(here.spec().get("renewTime", "")).startswith("2026-01-01T00:01:05"))
        assert not task.done()
        assert here.holder() == "a"


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("verb", ["get", "patch"])
async def test_whoever_has_lost_the_lease_ends_as_soon_as_it_can_be_told(here: Scene, verb: str, fault: Fault) -> None:
    await here.held_by("a")
    async with keeping(here.replica("a")) as task:
        here.refuse(verb, fault)
        await here.held_by("b")
        with pytest.raises(LeaseLostError, match="held by b"):
            await asyncio.wait_for(task, WAIT)
    assert here.holder() == "b"


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_time_in_which_a_lease_could_not_be_read_does_not_make_it_expire(
    here: Scene, stop: asyncio.Event, fault: Fault
) -> None:
    await here.held_by("a")
    standby = asyncio.create_task(here.replica("b").acquire(stop))
    await until(lambda: here.looks() > 1)
    here.refuse("get", fault)
    here.time += 10 * DURATION_SECONDS
    await here.held_by("a")  # it has been renewed
    await until(lambda: not here.fake.faults)
    looks = here.looks()
    await until(lambda: standby.done() or here.looks() > looks + 2)
    assert here.holder() == "a"
    here.time += DURATION_SECONDS + 1
    assert await asyncio.wait_for(standby, WAIT)
    assert here.holder() == "b"


@pytest.mark.parametrize("fault", [*FAULTS.values(), Fault("", "", Kind.HANG)], ids=[*FAULTS, "no answer"])
@pytest.mark.parametrize("verb", ["get", "patch"])
async def test_letting_go_fails_quietly_and_soon_and_a_standby_waits_for_the_leases_end(
    here: Scene, stop: asyncio.Event, verb: str, fault: Fault
) -> None:
    await here.held_by("a")
    here.refuse(verb, fault)
    await asyncio.wait_for(here.replica("a").release(), RELEASE_SECONDS + WAIT / 2)
    here.fake.faults.clear()
    standby = asyncio.create_task(here.replica("b").acquire(stop))
    if here.holder() == "a":
        looks = here.looks()
        await until(lambda: here.looks() > looks + 2)
        assert here.holder() == "a"
        here.time += DURATION_SECONDS + 1
    assert await asyncio.wait_for(standby, WAIT)
    assert here.holder() == "b"


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize(("verb", "there"), [("create", False), ("patch", True)])
async def test_of_replicas_that_want_a_free_lease_at_once_one_gets_it(
    here: Scene, stop: asyncio.Event, verb: str, there: bool, fault: Fault
) -> None:
    if there:
        await here.held_by("")
    here.refuse(verb, fault)
    replicas = {asyncio.create_task(here.replica(name).acquire(stop)): name for name in "abc"}
    done, rest = await asyncio.wait(replicas, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT)
    looks = here.looks()
    await until(lambda: here.looks() > looks + 4 * len(replicas))
    assert [replicas[task] for task in done] == [here.holder()]
    assert not any(task.done() for task in rest)
    stop.set()
    assert await asyncio.gather(*rest) == [False] * len(rest)
