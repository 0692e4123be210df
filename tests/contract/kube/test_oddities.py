"""Answers that no API server should give: the view stays right, nothing is made up, and requests stay bounded."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import orjson
import pytest

from fixtures.scripted_kube import Reply, ScriptedKube, event, item, listing
from lab.kube_suite import running, until
from runabout.control.logs import LogUnavailableError
from runabout.control.logsource import PodLogs
from runabout.kube.connection import Connection
from runabout.kube.errors import InvalidError, NotFoundError, UnavailableError
from runabout.kube.informer import Informer
from runabout.kube.logs import container_log
from runabout.kube.objects import CONFIG_MAPS, JsonObject, metadata, text
from runabout.kube.reviews import Identity, review_token
from runabout.kube.session import BACKOFF, TRIES, Session

A = item("a", 5, x="1")
OPEN = Reply(hang=True)
GONE = event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})


@asynccontextmanager
async def to(
    server: ScriptedKube, *, request_seconds: float = 5, backoff: Sequence[float] = BACKOFF
) -> AsyncIterator[Session]:
    connection = Connection(server=server.url, ssl=False, authorize=dict)
    async with Session(connection, request_seconds=request_seconds, backoff=backoff) as session:
        yield session


def names(informer: Informer) -> list[str]:
    return sorted(text(metadata(found), "name") for found in informer.items())


HOPELESS: dict[str, tuple[Reply, Reply]] = {
    "watches end at once": (listing(9, A), Reply()),
    "watches end after an event": (listing(9, A), Reply(event("BOOKMARK", {"metadata": {"resourceVersion": "10"}}))),
    "watches are answered 410": (listing(9, A), Reply(b"{}", 410)),
    "watches send 410": (listing(9, A), Reply(GONE)),
    "watches are answered 429, without patience": (listing(9, A), Reply(b"{}", 429, {"Retry-After": "0"})),
    "watches are answered 500": (listing(9, A), Reply(b"{}", 500)),
    "watches are no JSON": (listing(9, A), Reply(b"<html>\n")),
    "lists are answered 410": (Reply(b"{}", 410), OPEN),
    "lists are answered 429, without patience": (Reply(b"{}", 429, {"Retry-After": "0"}), OPEN),
    "lists are answered 403": (Reply(b"{}", 403), OPEN),
    "lists are no listings": (Reply(b"{}"), OPEN),
}


@pytest.mark.parametrize(("lists", "watches"), HOPELESS.values(), ids=HOPELESS)
async def test_a_server_that_does_not_get_better_is_not_asked_all_the_time(lists: Reply, watches: Reply) -> None:
    """Within a second: at once, once more at once, after 0.1 s and after 0.5 s; a list is tried four times."""
    loop = asyncio.get_running_loop()
    async with ScriptedKube(list=[lists], watch=[watches]) as server, to(server) as session:
        informer = asyncio.create_task(Informer(session, CONFIG_MAPS).run())
        end = loop.time() + 1
        await until(lambda: loop.time() > end and len(server.asked) >= 2)
        informer.cancel()
        await asyncio.gather(informer, return_exceptions=True)
    assert 2 <= len(server.asked) <= 2 * 4, server.asked


@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_an_informer_is_as_patient_as_the_server_asks(verb: str) -> None:
    patience = Reply(b"{}", 429, {"Retry-After": "1"})
    script = {"list": [listing(9, A)], "watch": [OPEN]}
    script[verb] = [patience, *script[verb]]
    async with ScriptedKube(**script) as server, to(server) as session, running(Informer(session, CONFIG_MAPS)):
        await until(lambda: len(server.times([verb])) == 2)
    first, second = server.times([verb])
    assert second - first >= 1


@pytest.mark.parametrize("patience", ["soon", "²", "-1", "", "Wed, 21 Oct 2026 07:28:00 GMT", "1e9"])
async def test_patience_that_is_no_number_is_ours_to_choose(patience: str) -> None:
    wait = Reply(b"{}", 429, {"Retry-After": patience})
    async with ScriptedKube(list=[wait, listing(9, A)]) as server, to(server) as session:
        async with asyncio.timeout(10):
            items, _, _ = await session.list(CONFIG_MAPS)
    assert items == [A]


NO_LISTINGS = {
    "an empty object": b"{}",
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a page for people": b"<html>you are not logged in</html>",
    "a Status": b'{"kind": "Status", "status": "Success", "metadata": {}}',
    "items without a version": b'{"metadata": {}, "items": []}',
    "items that are a text": b'{"metadata": {"resourceVersion": "9"}, "items": "x"}',
    "items that are numbers": b'{"metadata": {"resourceVersion": "9"}, "items": [1]}',
    "half of a listing": listing(9, A).body[:-20],
}


@pytest.mark.parametrize("body", NO_LISTINGS.values(), ids=NO_LISTINGS)
async def test_what_is_no_listing_is_never_taken_for_an_empty_one(body: bytes) -> None:
    changes: list[tuple[JsonObject | None, JsonObject | None]] = []
    script = {"list": [listing(9, A), Reply(body), listing(12, A)], "watch": [Reply(b"{}", 410), OPEN]}
    async with ScriptedKube(**script) as server, to(server) as session:
        informer = Informer(session, CONFIG_MAPS, on_change=lambda before, after: changes.append((before, after)))
        async with running(informer):
            await until(lambda: len(server.times(["watch"])) == 2)
            assert names(informer) == ["a"]
    assert changes == [(None, A)]


async def test_a_listing_without_anything_is_a_listing() -> None:
    """Go writes an empty slice as null."""
    async with (
        ScriptedKube(list=[Reply(b'{"metadata": {"resourceVersion": "9"}, "items": null}')]) as server,
        to(server) as session,
    ):
        assert await session.list(CONFIG_MAPS) == ([], "9", "")


NO_EVENTS = {
    "no JSON": b"x\n",
    "no object": b"[]\n",
    "a number": b"1\n",
    "no UTF-8": b'{"type": "ADDED", "object": "\xff"}\n',
    "nothing in it": event("ADDED", None),
    "a list in it": event("ADDED", []),
    "no type": b'{"object": {}}\n',
    "no name": event("MODIFIED", {"metadata": {"resourceVersion": "10"}}),
    "no metadata": event("DELETED", {"spec": {}}),
    "an error without a code": event("ERROR", {}),
    "an error in words": event("ERROR", {"code": "bad", "message": 1}),
    "half an event": event("ADDED", item("ghost", 10))[:-9],
}


@pytest.mark.parametrize("line", NO_EVENTS.values(), ids=NO_EVENTS)
async def test_what_is_no_event_ends_the_watch_and_changes_nothing_else(line: bytes) -> None:
    b = item("b", 11)
    script = {"list": [listing(9, A), listing(12, A, b)], "watch": [Reply(line), OPEN]}
    async with ScriptedKube(**script) as server, to(server) as session:
        informer = Informer(session, CONFIG_MAPS)
        async with running(informer):
            await until(lambda: len(server.times(["watch"])) == 2)
            assert names(informer) in (["a"], ["a", "b"])  # half an event at the end of a watch says nothing


LINES: dict[str, tuple[Sequence[bytes], list[str]]] = {
    "an old addition after the deletion": (
        [event("ADDED", item("b", 10)), event("DELETED", item("b", 11)), event("ADDED", item("b", 10))],
        ["a"],
    ),
    "an old change after the deletion": ([event("DELETED", item("a", 10)), event("MODIFIED", A)], []),
    "an old deletion after the next of that name": (
        [event("DELETED", item("a", 10)), event("ADDED", item("a", 11)), event("DELETED", item("a", 10))],
        ["a"],
    ),
    "everything twice": ([event("ADDED", item("b", 10)), event("DELETED", item("b", 11))] * 2, ["a"]),
}


@pytest.mark.parametrize(("lines", "left"), LINES.values(), ids=LINES)
async def test_an_event_that_comes_again_brings_nothing_back(lines: Sequence[bytes], left: list[str]) -> None:
    last = event("ADDED", item("last", 20))
    async with (
        ScriptedKube(list=[listing(9, A)], watch=[Reply(b"".join([*lines, last]), hang=True)]) as server,
        to(server) as session,
    ):
        informer = Informer(session, CONFIG_MAPS)
        async with running(informer):
            await until(lambda: informer.get("test", "last") is not None)
            assert names(informer) == sorted([*left, "last"])


async def test_a_listing_counts_also_when_the_server_has_gone_back_in_time() -> None:
    """Its etcd was restored from a copy: versions are lower than those that were seen."""
    old = item("a", 3, x="0")
    script = {"list": [listing(9, A), listing(4, old)], "watch": [Reply(b"{}", 504), OPEN]}
    async with ScriptedKube(**script) as server, to(server) as session:
        informer = Informer(session, CONFIG_MAPS)
        async with running(informer):
            await until(lambda: informer.get("test", "a") == old)
            await until(lambda: server.versions == ["9", "4"])


async def test_a_watch_goes_on_where_the_one_before_it_ended() -> None:
    marks = Reply(event("BOOKMARK", {"metadata": {"resourceVersion": "17"}}))
    async with (
        ScriptedKube(list=[listing(9, A)], watch=[marks, OPEN]) as server,
        to(server) as session,
        running(Informer(session, CONFIG_MAPS)),
    ):
        await until(lambda: len(server.versions) == 2)
    assert server.versions == ["9", "17"]
    assert len(server.times(["list"])) == 1


async def test_watches_that_end_with_news_are_begun_again_at_once() -> None:
    """A busy API server ends the watches that it cannot serve fast enough; to wait then is to be blind."""
    news = [Reply(event("MODIFIED", item("a", version))) for version in range(10, 30)]
    async with (
        ScriptedKube(list=[listing(9, A)], watch=[*news, OPEN]) as server,
        to(server) as session,
        running(Informer(session, CONFIG_MAPS)),
    ):
        await until(lambda: len(server.versions) == len(news) + 1)
    first, *_, last = server.times(["watch"])
    assert last - first < sum(BACKOFF)
    assert len(server.times(["list"])) == 1


async def test_an_event_that_was_lost_in_silence_is_made_up_for_by_a_later_list() -> None:
    """The watches look all right and never say that something was deleted."""
    script = {"list": [listing(9, A), listing(12)], "watch": [Reply(), OPEN]}
    async with ScriptedKube(**script) as server, to(server) as session:
        informer = Informer(session, CONFIG_MAPS, relist_seconds=0)
        async with running(informer):
            await until(lambda: names(informer) == [])


async def test_a_watch_that_says_nothing_for_too_long_is_begun_anew() -> None:
    b = item("b", 11)
    script = {"list": [listing(9, A), listing(12, A, b)], "watch": [OPEN]}
    async with ScriptedKube(**script) as server, to(server) as session:
        informer = Informer(session, CONFIG_MAPS, quiet_seconds=0.2)
        async with running(informer):
            await until(lambda: names(informer) == ["a", "b"])


@pytest.mark.parametrize(
    "reply", [OPEN, Reply(b'{"metadata": ', hang=True)], ids=["before its answer", "in its answer"]
)
async def test_a_server_that_hangs_is_given_up(reply: Reply) -> None:
    async with (
        ScriptedKube(GET=[reply], POST=[reply]) as server,
        to(server, request_seconds=0.5, backoff=[0.01]) as session,
    ):
        with pytest.raises(UnavailableError, match="TimeoutError"):
            await session.get(CONFIG_MAPS, "a", namespace="test")
        with pytest.raises(UnavailableError, match="TimeoutError"):
            await session.create(CONFIG_MAPS, A, namespace="test")
    assert [verb for verb, _ in server.asked] == ["GET"] * TRIES + ["POST"], "a creation is never repeated by itself"


@pytest.mark.parametrize("body", [b"[]", b"null", b"<html>", b'{"a":', b"\xff"], ids=repr)
async def test_an_answer_that_is_no_object_is_no_answer(body: bytes) -> None:
    async with ScriptedKube(GET=[Reply(body), Reply(b'{"a": 1}')]) as server, to(server) as session:
        assert await session.get(CONFIG_MAPS, "a", namespace="test") == {"a": 1}
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(b'{"message": "no such pod"}', 404), NotFoundError),
        (Reply(b'{"message": "the container is waiting to start"}', 400), InvalidError),
        (Reply(b"not JSON", 502), UnavailableError),
        (Reply(b'{"message": "x"}', 401), Exception),
    ],
    ids=["404", "400", "502", "401"],
)
async def test_a_log_that_cannot_be_had_says_why(reply: Reply, error: type[Exception]) -> None:
    async with ScriptedKube(GET=[reply]) as server, to(server) as session:
        with pytest.raises(error):
            async with container_log(session, "test", "p", "main", follow=True):
                raise AssertionError("there is no log")


async def test_a_log_that_breaks_off_is_no_log_that_ended() -> None:
    got: list[bytes] = []

    async def read(session: Session) -> None:
        async with container_log(session, "test", "p", "main", follow=True) as pieces:
            async for piece in pieces:
                got.append(piece)  # noqa: PERF401 - what came before it broke off is kept

    async with ScriptedKube(GET=[Reply(b"first", cut=True)]) as server, to(server) as session:
        with pytest.raises(UnavailableError):
            await read(session)
    assert b"".join(got) in (b"first", b"")


async def test_a_log_ends_when_the_server_ends_it() -> None:
    async with (
        ScriptedKube(GET=[Reply(b"all of it")]) as server,
        to(server) as session,
        container_log(session, "test", "p", "main", follow=True) as pieces,
    ):
        assert b"".join([piece async for piece in pieces]) == b"all of it"


@pytest.mark.parametrize(
    ("follow", "previous", "asked"),
    [(True, False, {"follow": "true"}), (False, True, {"previous": "true"}), (False, False, {})],
)
async def test_a_log_is_asked_for_as_it_is_wanted(follow: bool, previous: bool, asked: dict[str, str]) -> None:
    async with (
        ScriptedKube(GET=[Reply(b"")]) as server,
        to(server) as session,
        PodLogs(session).read("test", "p", "db", follow=follow, previous=previous) as pieces,
    ):
        assert [piece async for piece in pieces] == []
    assert server.queries == [{"container": "db", **asked}]


@pytest.mark.parametrize("there", [True, False])
async def test_a_log_that_does_not_come_is_told_from_a_server_that_is_not_there(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runabout.kube.logs.QUIET_SECONDS", 0.1)
    async with AsyncExitStack() as life, to(await life.enter_async_context(ScriptedKube(GET=[OPEN]))) as session:
        if not there:
            await life.aclose()
        with pytest.raises(LogUnavailableError) as caught:
            async with PodLogs(session).read("test", "p", "main", follow=False) as pieces:
                assert [piece async for piece in pieces] == []
    assert (caught.value.answered, caught.value.silent) == (False, there)


@pytest.mark.parametrize("status", [{}, {"audiences": []}, {"audiences": ["another"]}, {"audiences": "runabout"}])
async def test_a_token_is_nobodys_where_the_server_does_not_say_that_it_is_for_the_audience(
    status: dict[str, object],
) -> None:
    """A server that knows no audiences says that any token of the cluster is good."""
    answer = {"status": {"authenticated": True, "user": {"username": "ann"}, **status}}
    async with ScriptedKube(POST=[Reply(orjson.dumps(answer), 201)]) as server, to(server) as session:
        assert await review_token(session, "token", audiences=["runabout"]) is None
        assert await review_token(session, "token") == Identity("ann")
