"""What goes wrong at an API server: nothing is lost, nothing is done twice, and requests stay bounded."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from fixtures.fake_kube import FakeKube, Fault, Kind
from lab.kube_suite import QUICK, config_map, running, until
from runabout.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    GoneError,
    KubeError,
    RetryableError,
    TooManyRequestsError,
    UnavailableError,
)
from runabout.kube.informer import Informer
from runabout.kube.objects import CONFIG_MAPS, JsonObject, metadata, text
from runabout.kube.session import TRIES, Session

PLURAL = "configmaps"


def faults(fake: FakeKube, verb: str, *kinds: Fault | int | Kind) -> None:
    for kind in kinds:
        if isinstance(kind, Fault):
            fake.faults.append(kind)
        elif isinstance(kind, Kind):
            fake.faults.append(Fault(verb, PLURAL, kind))
        else:
            fake.faults.append(Fault(verb, PLURAL, code=kind))


@pytest.mark.parametrize(
    "trouble",
    [(500,), (503, 500), (Kind.RESET,), (Kind.RESET, 500, Kind.RESET_AFTER), (502, 504)],
    ids=str,
)
@pytest.mark.parametrize("verb", ["get", "list", "patch", "apply", "delete"])
async def test_what_may_be_repeated_is_repeated_until_it_works(
    fake: FakeKube, session: Session, verb: str, trouble: Sequence[int | Kind]
) -> None:
    await session.create(CONFIG_MAPS, config_map("a", {"x": "1"}), namespace="test")
    faults(fake, verb, *trouble)
    match verb:
        case "get":
            assert text(metadata(await session.get(CONFIG_MAPS, "a", namespace="test")), "name") == "a"
        case "list":
            items, _, _ = await session.list(CONFIG_MAPS, namespace="test")
            assert len(items) == 1
        case "patch":
            await session.patch(CONFIG_MAPS, "a", {"data": {"x": "2"}}, namespace="test")
        case "apply":
            await session.apply(CONFIG_MAPS, "a", {"data": {"x": "2"}}, manager="m", namespace="test")
        case "delete" if Kind.RESET_AFTER in trouble:
            with pytest.raises(KubeError):  # it is gone, and the repetition says so
                await session.delete(CONFIG_MAPS, "a", namespace="test")
        case "delete":
            await session.delete(CONFIG_MAPS, "a", namespace="test")
    assert not fake.faults
    assert fake.requests[verb, PLURAL] == len(trouble) + 1
    [value] = [item["data"]["x"] for item in fake.items(PLURAL)] or ["gone"]
    assert value == {"get": "1", "list": "1", "patch": "2", "apply": "2", "delete": "gone"}[verb]


async def test_a_server_that_stays_broken_is_asked_a_few_times_and_named(fake: FakeKube, session: Session) -> None:
    faults(fake, "get", *[500] * 50)
    with pytest.raises(UnavailableError, match="a fault that was asked for"):
        await session.get(CONFIG_MAPS, "a", namespace="test")
    assert fake.requests["get", PLURAL] == TRIES


async def test_patience_is_given_where_it_is_asked_for(fake: FakeKube, session: Session) -> None:
    await session.create(CONFIG_MAPS, config_map("a"), namespace="test")
    faults(fake, "get", Fault("get", PLURAL, code=429, reason="TooManyRequests", retry_after=1))
    begin = time.monotonic()
    await session.get(CONFIG_MAPS, "a", namespace="test")
    assert time.monotonic() - begin >= 1
    assert fake.requests["get", PLURAL] == 2


async def test_more_patience_than_a_request_has_is_left_to_the_caller(fake: FakeKube, session: Session) -> None:
    faults(fake, "get", Fault("get", PLURAL, code=429, reason="TooManyRequests", retry_after=3600))
    with pytest.raises(TooManyRequestsError) as caught:
        await session.get(CONFIG_MAPS, "a", namespace="test")
    assert caught.value.retry_after == 3600
    assert fake.requests["get", PLURAL] == 1


@pytest.mark.parametrize(
    ("trouble", "there"),
    [(500, False), (429, False), (Kind.RESET, False), (Kind.RESET_AFTER, True), (Kind.ANSWER_AFTER, True)],
    ids=str,
)
async def test_a_creation_is_never_repeated_by_itself(
    fake: FakeKube, session: Session, trouble: int | Kind, there: bool
) -> None:
    """The caller finds out by creating once more: the name says whether the first one worked."""
    faults(fake, "create", trouble)
    with pytest.raises(RetryableError):
        await session.create(CONFIG_MAPS, config_map("a"), namespace="test")
    assert fake.requests["create", PLURAL] == 1
    if there:
        with pytest.raises(AlreadyExistsError):
            await session.create(CONFIG_MAPS, config_map("a"), namespace="test")
    else:
        await session.create(CONFIG_MAPS, config_map("a"), namespace="test")
    assert len(fake.items(PLURAL)) == 1


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [(409, "Conflict", ConflictError), (409, "AlreadyExists", AlreadyExistsError), (410, "Expired", GoneError)],
)
async def test_an_answer_that_repeating_cannot_change_is_given_to_the_caller_at_once(
    fake: FakeKube, session: Session, code: int, reason: str, error: type[KubeError]
) -> None:
    faults(fake, "create", Fault("create", PLURAL, code=code, reason=reason))
    with pytest.raises(error, match="a fault that was asked for"):
        await session.create(CONFIG_MAPS, config_map("a"), namespace="test")
    assert fake.requests["create", PLURAL] == 1


WATCHES: dict[str, Sequence[Fault | int | Kind]] = {
    "none": (),
    "500": (500,),
    "500 five times": (500,) * 5,
    "429 with Retry-After": (Fault("watch", PLURAL, code=429, retry_after=1),),
    "410 instead of a watch": (Fault("watch", PLURAL, code=410, reason="Expired"),),
    "410 inside a watch": (Fault("watch", PLURAL, Kind.ERROR_EVENT, code=410, reason="Expired"),),
    "500 inside a watch": (Fault("watch", PLURAL, Kind.ERROR_EVENT, code=500),),
    "reset": (Kind.RESET, Kind.RESET),
    "half a line": (Kind.HALF_LINE,),
    "garbage": (Kind.GARBAGE,),
    "repeated and reordered events": (Kind.REPEAT,),
    "lost events": (Kind.LOSE, Kind.LOSE),
    "everything": (
        Kind.LOSE,
        500,
        Kind.GARBAGE,
        Fault("watch", PLURAL, Kind.ERROR_EVENT, code=410),
        Kind.HALF_LINE,
        Kind.RESET,
        Kind.REPEAT,
    ),
}


@pytest.mark.parametrize("trouble", WATCHES.values(), ids=WATCHES)
@pytest.mark.parametrize("listing", [(), (500,), (Kind.RESET, 503)], ids=["", "lists fail", "lists break"])
async def test_an_informer_ends_with_what_is_there_whatever_happens_to_its_watch(
    fake: FakeKube,
    session: Session,
    trouble: Sequence[Fault | int | Kind],
    listing: Sequence[int | Kind],
) -> None:
    for number in range(3):
        await session.create(CONFIG_MAPS, config_map(f"old-{number}", {"x": "0"}), namespace="test")
    faults(fake, "watch", *trouble)
    changes: list[tuple[str, JsonObject | None, JsonObject | None]] = []

    def note(before: JsonObject | None, after: JsonObject | None) -> None:
        changes.append((text(metadata(after or before or {}), "name"), before, after))

    informer = Informer(session, CONFIG_MAPS, on_change=note, backoff=QUICK)
    async with running(informer):
        faults(fake, "list", *listing)
        for number in range(10):
            await fake.put(PLURAL, {**config_map(f"new-{number}", {"x": "1"}), "metadata": named(f"new-{number}")})
            await asyncio.sleep(0)
            if number % 3 == 0:
                await session.patch(CONFIG_MAPS, f"new-{number}", {"data": {"x": "2"}}, namespace="test")
        await session.delete(CONFIG_MAPS, "old-0", namespace="test")
        await session.delete(CONFIG_MAPS, "new-5", namespace="test")
        await until(lambda: views(informer) == views_of(fake) and not left(fake, "watch"))
    last: dict[str, JsonObject | None] = {}
    for name, before, after in changes:
        assert last.get(name) == before, "every change begins where the one before it ended"
        assert before != after, "what is repeated is no change"
        last[name] = after
    assert fake.requests["watch", PLURAL] <= 2 * len(trouble) + 3
    assert fake.requests["list", PLURAL] <= len(trouble) + 2 * len(listing) + 2


async def test_a_missed_deletion_is_found_by_the_next_listing(fake: FakeKube, session: Session) -> None:
    await session.create(CONFIG_MAPS, config_map("a"), namespace="test")
    faults(fake, "watch", Kind.LOSE)
    gone: list[str] = []

    def note(before: JsonObject | None, after: JsonObject | None) -> None:
        if after is None and before is not None:
            gone.append(text(metadata(before), "name"))

    async with running(Informer(session, CONFIG_MAPS, on_change=note, backoff=QUICK)):
        await until(lambda: fake.requests["watch", PLURAL] == 1)
        await session.delete(CONFIG_MAPS, "a", namespace="test")
        await until(lambda: gone == ["a"])


def left(fake: FakeKube, verb: str) -> list[Fault]:
    return [fault for fault in fake.faults if fault.verb == verb]


def named(name: str) -> dict[str, object]:
    return {"name": name, "namespace": "test"}


def views(informer: Informer) -> dict[str, object]:
    return {text(metadata(item), "name"): metadata(item)["resourceVersion"] for item in informer.items()}


def views_of(fake: FakeKube) -> dict[str, object]:
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in fake.items(PLURAL)}
