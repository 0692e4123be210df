"""What every etcd promises: the same tests on the one in memory and on a real server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from lab.etcds import Space
from runabout.etcd import (
    CompactedError,
    Compare,
    KeyRange,
    PermanentEtcdError,
    Put,
    TxnResult,
    WatchEvent,
)

WAIT = 60.0
"""Seconds after which something that should happen has not."""


async def _put(space: Space, **values: bytes) -> int:
    """Write keys together; return the revision."""
    puts = [Put(space.key(name.encode()), value) for name, value in values.items()]
    assert (await space.lab.etcd.txn((), puts)).succeeded
    return (await space.lab.etcd.range(space.prefix, space.end)).revision


async def _take(events: AsyncGenerator[WatchEvent, None], count: int) -> list[WatchEvent]:
    found: list[WatchEvent] = []
    async with asyncio.timeout(WAIT):
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


# reads


async def test_a_key_that_was_never_written_has_no_value(space: Space) -> None:
    assert await space.lab.etcd.get(space.key(b"none")) is None


@pytest.mark.parametrize(
    "value", [b"", b"\x00", bytes(range(256)), b"x" * 1_000_000], ids=["empty", "nul", "all", "1M"]
)
async def test_a_value_comes_back_byte_for_byte(space: Space, value: bytes) -> None:
    await _put(space, a=value)
    assert await space.lab.etcd.get(space.key(b"a")) == value


async def test_an_empty_value_is_not_a_missing_key(space: Space) -> None:
    await _put(space, a=b"")
    etcd = space.lab.etcd
    assert not (await etcd.txn([Compare(space.key(b"a"), None)], [])).succeeded
    assert (await etcd.txn([Compare(space.key(b"a"), b"")], [])).succeeded
    assert not (await etcd.txn([Compare(space.key(b"b"), b"")], [])).succeeded


async def test_a_range_is_ordered_by_the_bytes_of_its_keys_and_leaves_its_end_out(space: Space) -> None:
    names = [b"a", b"a\x00", b"aa", b"b", b"\x00", b"\xff", b"\x7f", b"Z"]
    await space.lab.etcd.txn((), [Put(space.key(name), name) for name in names])
    page = await space.lab.etcd.range(space.prefix, space.end)
    assert [item.value for item in page.items] == sorted(names)
    assert not page.more
    part = await space.lab.etcd.range(space.key(b"a"), space.key(b"b"))
    assert [item.value for item in part.items] == [b"a", b"a\x00", b"aa"]


async def test_a_range_that_ends_before_it_starts_is_empty(space: Space) -> None:
    await _put(space, a=b"1", b=b"2")
    page = await space.lab.etcd.range(space.key(b"b"), space.key(b"a"))
    assert (page.items, page.more) == ((), False)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 8, 100])
async def test_pages_put_together_are_the_range(space: Space, limit: int) -> None:
    names = [b"%02d" % number for number in range(8)]
    await space.lab.etcd.txn((), [Put(space.key(name), name) for name in names])
    found: list[bytes] = []
    start, more = space.prefix, True
    while more:
        page = await space.lab.etcd.range(start, space.end, limit=limit)
        assert 0 < len(page.items) <= limit
        found += [item.value for item in page.items]
        start, more = page.items[-1].key + b"\x00", page.more
    assert found == names


async def test_the_keys_of_one_transaction_have_one_revision_and_later_ones_a_higher(space: Space) -> None:
    first = await _put(space, a=b"1", b=b"1")
    second = await _put(space, b=b"2", c=b"2")
    page = await space.lab.etcd.range(space.prefix, space.end)
    assert [item.revision for item in page.items] == [first, second, second]
    assert first < second == page.revision


# transactions


@pytest.mark.parametrize(
    ("compares", "holds"),
    [
        ([], True),
        ([(b"a", b"1")], True),
        ([(b"a", b"2")], False),
        ([(b"a", None)], False),
        ([(b"none", None)], True),
        ([(b"none", b"1")], False),
        ([(b"a", b"1"), (b"b", b"2"), (b"none", None)], True),
        ([(b"a", b"1"), (b"b", b"1")], False),
        ([(b"a", b"1"), (b"a", b"2")], False),
    ],
)
async def test_a_transaction_writes_all_if_all_compares_hold_and_else_nothing(
    space: Space, compares: list[tuple[bytes, bytes | None]], *, holds: bool
) -> None:
    await _put(space, a=b"1", b=b"2")
    etcd = space.lab.etcd
    result = await etcd.txn(
        [Compare(space.key(name), value) for name, value in compares],
        [Put(space.key(b"a"), b"new"), Put(space.key(b"x"), b"new")],
        otherwise=[space.key(b"b"), space.key(b"none"), space.key(b"a")],
    )
    assert result == (TxnResult(succeeded=True) if holds else TxnResult(succeeded=False, values=(b"2", None, b"1")))
    assert await etcd.get(space.key(b"a")) == (b"new" if holds else b"1")
    assert await etcd.get(space.key(b"x")) == (b"new" if holds else None)


async def test_of_many_that_compare_the_same_value_exactly_one_writes(space: Space) -> None:
    await _put(space, head=b"0")
    head = space.key(b"head")
    results = await asyncio.gather(
        *(space.lab.etcd.txn([Compare(head, b"0")], [Put(head, b"%d" % n)], otherwise=[head]) for n in range(1, 21))
    )
    value = await space.lab.etcd.get(head)
    assert [b"%d" % n for n, result in enumerate(results, 1) if result.succeeded] == [value]
    assert {result.values for result in results if not result.succeeded} == {(value,)}


async def test_a_key_that_was_deleted_compares_as_missing(space: Space) -> None:
    await _put(space, a=b"1")
    await space.lab.etcd.delete(space.key(b"a"))
    assert (await space.lab.etcd.txn([Compare(space.key(b"a"), None)], [Put(space.key(b"a"), b"2")])).succeeded


@pytest.mark.parametrize(
    "puts",
    [
        [(b"a", b"x" * 2_000_000)],
        [(b"a", b"x" * 800_000), (b"b", b"x" * 800_000)],
        [(b"a", b"1"), (b"a", b"2")],
        [(b"%d" % number, b"") for number in range(129)],
    ],
    ids=["value", "sum", "twice", "operations"],
)
async def test_a_transaction_over_the_servers_limits_is_refused_for_good_and_writes_nothing(
    space: Space, puts: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(PermanentEtcdError):
        await space.lab.etcd.txn((), [Put(space.key(name), value) for name, value in puts])
    assert (await space.lab.etcd.range(space.prefix, space.end)).items == ()


async def test_a_transaction_of_128_keys_is_taken(space: Space) -> None:
    await space.lab.etcd.txn((), [Put(space.key(b"%d" % number), b"") for number in range(128)])
    assert len((await space.lab.etcd.range(space.prefix, space.end)).items) == 128


@pytest.mark.parametrize("holds", [True, False])
async def test_a_transaction_deletes_ranges_with_what_it_writes(space: Space, *, holds: bool) -> None:
    await _put(space, a=b"1", b=b"1", c=b"1", d=b"1")
    etcd = space.lab.etcd
    await etcd.txn(
        [Compare(space.key(b"a"), b"1" if holds else b"2")],
        [Put(space.key(b"a"), b"2")],
        deletes=[KeyRange(space.key(b"b"), space.key(b"d")), KeyRange(space.key(b"x"), space.key(b"y"))],
    )
    found = {item.key: item.value for item in (await etcd.range(space.prefix, space.end)).items}
    kept = {b"a": b"2", b"d": b"1"} if holds else {b"a": b"1", b"b": b"1", b"c": b"1", b"d": b"1"}
    assert found == {space.key(name): value for name, value in kept.items()}


async def test_a_transaction_cannot_write_what_it_deletes(space: Space) -> None:
    await _put(space, a=b"1")
    with pytest.raises(PermanentEtcdError):
        await space.lab.etcd.txn((), [Put(space.key(b"a"), b"2")], deletes=[KeyRange(space.key(b"a"), space.key(b"b"))])
    assert await space.lab.etcd.get(space.key(b"a")) == b"1"


# deletion


async def test_deletion_counts_what_was_there(space: Space) -> None:
    await _put(space, a=b"1", b=b"1", c=b"1", d=b"1")
    etcd = space.lab.etcd
    assert await etcd.delete(space.key(b"none")) == 0
    assert await etcd.delete(space.key(b"a")) == 1
    assert await etcd.delete(space.key(b"a")) == 0
    assert await etcd.delete(space.key(b"b"), space.key(b"d")) == 2
    assert [item.key for item in (await etcd.range(space.prefix, space.end)).items] == [space.key(b"d")]


async def test_a_deletion_of_nothing_changes_no_revision(space: Space) -> None:
    before = await _put(space, a=b"1")
    await space.lab.etcd.delete(space.key(b"none"), space.key(b"nonf"))
    assert (await space.lab.etcd.range(space.prefix, space.end)).revision == before


# watches


async def test_a_watch_replays_from_its_revision_and_goes_on_with_what_comes(space: Space) -> None:
    await _put(space, a=b"0")
    revision = await _put(space, a=b"1")
    async with aclosing(space.lab.etcd.watch(space.prefix, space.end, revision=revision)) as events:
        assert await _take(events, 1) == [WatchEvent(space.key(b"a"), b"1", revision)]
        later = await _put(space, a=b"2", b=b"3")
        found = await _take(events, 2)
        assert sorted(found, key=lambda event: event.key) == [
            WatchEvent(space.key(b"a"), b"2", later),
            WatchEvent(space.key(b"b"), b"3", later),
        ]


async def test_a_watch_shows_only_its_range(space: Space) -> None:
    revision = await _put(space, a=b"1", b=b"1", c=b"1")
    async with aclosing(space.lab.etcd.watch(space.key(b"b"), space.key(b"c"), revision=revision)) as events:
        await _put(space, a=b"2", c=b"2")
        last = await _put(space, b=b"2")
        assert [(event.value, event.revision) for event in await _take(events, 2)] == [(b"1", revision), (b"2", last)]


async def test_a_watch_shows_deletions(space: Space) -> None:
    revision = await _put(space, a=b"1", b=b"1")
    await space.lab.etcd.delete(space.prefix, space.end)
    async with aclosing(space.lab.etcd.watch(space.prefix, space.end, revision=revision + 1)) as events:
        found = await _take(events, 2)
    assert {(event.key, event.value) for event in found} == {(space.key(b"a"), None), (space.key(b"b"), None)}
    assert {event.revision for event in found} == {revision + 1}


async def test_a_watch_misses_nothing_and_keeps_the_order_of_many_writers(space: Space) -> None:
    revision = await _put(space, a=b"")

    async def write(writer: int) -> None:
        for number in range(25):
            await space.lab.etcd.txn((), [Put(space.key(b"w%d" % writer), b"%d" % number)])

    async with aclosing(space.lab.etcd.watch(space.prefix, space.end, revision=revision + 1)) as events:
        async with asyncio.TaskGroup() as group:
            for writer in range(4):
                group.create_task(write(writer))
        found = await _take(events, 100)
    assert [event.revision for event in found] == sorted(event.revision for event in found)
    for writer in range(4):
        mine = [event.value for event in found if event.key == space.key(b"w%d" % writer)]
        assert mine == [b"%d" % number for number in range(25)]


async def test_a_watch_of_history_that_is_compacted_says_so(space: Space) -> None:
    first = await _put(space, a=b"1")
    last = await _put(space, a=b"2")
    await space.lab.etcd.compact(last)
    events = space.lab.etcd.watch(space.prefix, space.end, revision=first)
    with pytest.raises(CompactedError):
        await _take(events, 1)


async def test_a_compaction_that_was_made_or_is_in_the_future_is_refused_as_such(space: Space) -> None:
    last = await _put(space, a=b"1")
    await space.lab.etcd.compact(last)
    for revision in (last, last - 1, last + 1_000_000):
        with pytest.raises(CompactedError):
            await space.lab.etcd.compact(revision)
    assert await space.lab.etcd.get(space.key(b"a")) == b"1"


async def test_compaction_takes_no_current_value_and_no_watch_from_its_revision_on(space: Space) -> None:
    await _put(space, a=b"1", b=b"1")
    last = await _put(space, a=b"2")
    await space.lab.etcd.compact(last)
    page = await space.lab.etcd.range(space.prefix, space.end)
    assert [item.value for item in page.items] == [b"2", b"1"]
    async with aclosing(space.lab.etcd.watch(space.prefix, space.end, revision=last)) as events:
        assert [event.value for event in await _take(events, 1)] == [b"2"]


async def test_a_call_that_is_cancelled_leaves_the_client_usable(space: Space) -> None:
    await _put(space, a=b"1")
    call = asyncio.ensure_future(space.lab.etcd.get(space.key(b"a")))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await space.lab.etcd.get(space.key(b"a")) == b"1"
