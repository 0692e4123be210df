"""What a store promises: the same tests on the etcd in memory and on a real one."""

import asyncio
from contextlib import aclosing

import pytest

from lab.stores import DOC, NOTE, Stores, delete, note, outcome, put, view
from runabout.datamanager import (
    Append,
    BrokenLog,
    Committed,
    Conflict,
    Delete,
    Fenced,
    Put,
    Sequence,
    Store,
    TooLarge,
    Transaction,
    Unavailable,
)
from runabout.datamanager.batch import MAX_BATCH, NO_CHAIN, encode_batch
from runabout.etcd import PermanentEtcdError
from runabout.etcd import Put as EtcdPut

MIB = 1024 * 1024


# what a commit is


async def test_a_new_store_is_empty(stores: Stores) -> None:
    store = await stores.open()
    assert (store.sequence, store.epoch, store.failed) == (0, 1, None)
    assert await store.get(DOC, "a") is None
    assert await store.last_key(DOC) is None
    assert list(await store.scan(DOC)) == []


async def test_what_is_acknowledged_is_seen_here_at_once_and_in_etcd(stores: Stores) -> None:
    store = await stores.open()
    done = await store.commit(put("a", b"1"))
    assert done == Committed(Sequence(1))
    assert await store.get(DOC, "a") == b"1"
    assert store.sequence == 1 == (await stores.head()).sequence


async def test_the_actions_of_a_transaction_are_in_one_batch_in_their_order(stores: Stores) -> None:
    store = await stores.open()
    done = await store.commit(
        Transaction(
            (Put(DOC, "a", b"1"), Append(NOTE, b"x"), Put(DOC, "a", b"2"), Append(NOTE, b"y"), Delete(DOC, "b"))
        )
    )
    assert done.appended == (1, 2)
    assert await view(store) == {DOC: {"a": b"2"}, NOTE: {"0000000000000001": b"x", "0000000000000002": b"y"}}
    (batch,) = await stores.log()
    assert [entry.body for entry in batch.transactions[0]] == [b"1", b"x", b"2", b"y", b""]


async def test_a_transaction_without_actions_is_a_place_in_the_log(stores: Stores) -> None:
    store = await stores.open()
    assert (await store.commit(Transaction(()))).sequence == 1


async def test_nothing_of_a_transaction_is_seen_when_etcd_refuses_it(stores: Stores) -> None:
    store = await stores.open()
    await store.commit(note(b"1"))

    async def refuse(call: str, when: str) -> None:
        if (call, when) == ("txn", "before"):
            raise PermanentEtcdError("etcd: no space")

    stores.faulty.fault = refuse
    before = await view(store)
    with pytest.raises(Unavailable, match="no space"):
        await store.commit(Transaction((Put(DOC, "a", b"1"), Append(NOTE, b"2"))))
    assert await view(store) == before
    again = await stores.open(etcd=stores.lab.etcd)
    assert await view(again) == before
    # The number of the refused append is given to the next one: numbers have no gaps.
    assert (await again.commit(note(b"2"))).appended == (2,)


async def test_transactions_of_many_callers_share_batches_and_each_callers_order_is_kept(stores: Stores) -> None:
    store = await stores.open()
    calls = []
    for number in range(20):
        calls += [store.commit(Transaction((Append(NOTE, b"%d %d" % (caller, number)),))) for caller in range(10)]
    done = await asyncio.gather(*calls)
    assert [item.appended for item in done] == [(number,) for number in range(1, 201)]
    assert [body for _, body in await store.scan(NOTE)] == [b"%d %d" % (c, n) for n in range(20) for c in range(10)]
    sequences = [item.sequence for item in done]
    assert sequences == sorted(sequences)
    assert store.sequence < 20


async def test_a_batch_is_closed_before_it_is_too_large_for_etcd(stores: Stores) -> None:
    store = await stores.open()
    bodies = [bytes([number]) * size for number, size in enumerate([200_000, 1_000_000] * 3)] + [b"small"] * 10
    await asyncio.gather(*(store.commit(put(str(number), body)) for number, body in enumerate(bodies)))
    assert [await store.get(DOC, str(number)) for number in range(len(bodies))] == bodies
    for batch in await stores.log():
        assert sum(entry.size for entries in batch.transactions for entry in entries) <= MAX_BATCH


async def test_incompressible_bytes_up_to_the_limit_are_taken(stores: Stores) -> None:
    store = await stores.open()
    body = b"".join(hash((number, "x")).to_bytes(8, "big", signed=True) for number in range((MIB - 100) // 8))
    await store.commit(put("a", body))
    again = await stores.open()
    assert await again.get(DOC, "a") == body


async def test_a_transaction_over_the_limit_is_refused_at_once_and_disturbs_nobody(stores: Stores) -> None:
    store = await stores.open()
    with pytest.raises(TooLarge, match="split it"):
        await store.commit(put("a", b"x" * (MIB + 1)))
    assert (await store.commit(put("a", b"1"))).sequence == 1


@pytest.mark.parametrize(
    "action",
    [
        Put(DOC, "k" * 65_536, b""),
        Put("t" * 256, "k", b""),
        Delete("", "k"),
        Append("é" * 128, b""),
        Put(DOC, "\ud800", b""),
    ],
    ids=["long key", "long type", "no type", "long type in bytes", "no text"],
)
async def test_a_name_that_no_batch_can_hold_is_refused_and_the_store_goes_on(
    stores: Stores, action: Put | Delete | Append
) -> None:
    store = await stores.open()
    with pytest.raises(ValueError, match=r"key|type|surrogates"):
        await store.commit(Transaction((action,)))
    await store.commit(Transaction((Put("t" * 255, "k" * 65_535, b"1"), Put("é", "", b"2"))))
    again = await stores.open()
    assert (await again.get("t" * 255, "k" * 65_535), await again.get("é", "")) == (b"1", b"2")


async def test_a_caller_that_goes_away_before_its_turn_leaves_no_trace(stores: Stores) -> None:
    store = await stores.open()
    first = asyncio.ensure_future(store.commit(put("a", b"1")))
    second = asyncio.ensure_future(store.commit(put("b", b"1")))
    await asyncio.sleep(0)
    second.cancel()
    await first
    with pytest.raises(asyncio.CancelledError):
        await second
    assert (await view(await stores.open()))[DOC] == {"a": b"1"}


# conflicts


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
async def test_of_two_writers_of_a_group_who_read_the_same_the_first_one_wins(
    stores: Stores, *, together: bool
) -> None:
    store = await stores.open()
    read_at = (await store.commit(put("a", b"0"))).sequence
    calls = [store.commit(put("a", b"%d" % number, group="g", read_at=read_at)) for number in (1, 2)]
    found = await asyncio.gather(*map(outcome, calls)) if together else [await outcome(call) for call in calls]
    assert isinstance(found[0], Committed)
    assert isinstance(found[1], Conflict)
    assert "group g" in str(found[1])
    assert await store.get(DOC, "a") == b"1"


@pytest.mark.parametrize(
    "second",
    [put("a", b"2", group="h", read_at=Sequence(1)), put("a", b"2", group="g"), put("a", b"2", read_at=Sequence(1))],
    ids=["another group", "without a read", "without a group"],
)
async def test_what_does_not_share_a_group_or_did_not_read_conflicts_with_nobody(
    stores: Stores, second: Transaction
) -> None:
    store = await stores.open()
    await store.commit(put("x"))
    done = await asyncio.gather(store.commit(put("a", b"1", group="g", read_at=Sequence(1))), store.commit(second))
    assert [item.sequence for item in done] == [2, 2]
    assert await store.get(DOC, "a") == b"2"


async def test_reading_again_after_a_conflict_is_enough(stores: Stores) -> None:
    store = await stores.open()
    await store.commit(put("count", b"0"))
    conflicts = 0

    async def add() -> None:
        nonlocal conflicts
        while True:
            read_at, value = store.sequence, await store.get(DOC, "count")
            assert value is not None
            try:
                await store.commit(put("count", b"%d" % (int(value) + 1), group="count", read_at=read_at))
            except Conflict:
                conflicts += 1
                continue
            return

    await asyncio.gather(*(add() for _ in range(20)))
    assert await store.get(DOC, "count") == b"20"
    assert conflicts > 0


async def test_a_read_from_before_the_store_was_opened_conflicts_since_nobody_knows(stores: Stores) -> None:
    store = await stores.open()
    await store.commit(put("a", b"1", group="g"))
    await store.commit(put("b", b"1"))
    await store.close()
    again = await stores.open()
    with pytest.raises(Conflict):
        await again.commit(put("a", b"2", group="g", read_at=Sequence(1)))
    await again.commit(put("a", b"2", group="g", read_at=again.sequence))


# one writer


async def test_a_second_opener_wins_and_the_first_ones_next_commit_is_fenced_without_a_trace(stores: Stores) -> None:
    first = await stores.open()
    await first.commit(put("a", b"1"))
    second = await stores.open()
    assert second.epoch == first.epoch + 1
    with pytest.raises(Fenced, match="epoch 2, ours is 1"):
        await first.commit(put("a", b"lost"))
    assert await second.get(DOC, "a") == b"1"
    await second.commit(put("b", b"2"))
    assert isinstance(await first.broken(), Fenced)
    with pytest.raises(Fenced):
        await first.commit(put("a", b"lost"))
    assert (await view(await stores.open()))[DOC] == {"a": b"1", "b": b"2"}


async def test_all_that_waits_is_fenced_together(stores: Stores) -> None:
    first = await stores.open()
    await stores.open()
    found = await asyncio.gather(*(outcome(first.commit(put(str(n), b"x" * 100_000))) for n in range(20)))
    assert {type(item) for item in found} == {Fenced}
    assert (await stores.log()) == []


async def test_a_fenced_writer_knows_when_it_asks(stores: Stores) -> None:
    first = await stores.open()
    assert await first.sync() == 0
    await stores.open()
    with pytest.raises(Fenced):
        await first.sync()


async def test_of_many_that_open_at_the_same_moment_each_has_an_epoch_of_its_own_and_only_the_last_can_write(
    stores: Stores,
) -> None:
    opened = await asyncio.gather(*(stores.open() for _ in range(6)))
    epochs = [store.epoch for store in opened]
    assert sorted(epochs) == [1, 2, 3, 4, 5, 6]
    found = await asyncio.gather(*(outcome(store.commit(put(str(store.epoch)))) for store in opened))
    by_epoch = {store.epoch: item for store, item in zip(opened, found, strict=True)}
    assert isinstance(by_epoch.pop(6), Committed)
    assert {type(item) for item in by_epoch.values()} == {Fenced}
    assert (await view(await stores.open()))[DOC] == {"6": b""}


async def test_a_paused_writers_late_commit_is_fenced_however_late_it_arrives(stores: Stores) -> None:
    first = await stores.open()
    paused, go_on = asyncio.Event(), asyncio.Event()

    async def pause(call: str, when: str) -> None:
        if (call, when) == ("txn", "before"):
            paused.set()
            await go_on.wait()

    stores.faulty.fault = pause
    late = asyncio.ensure_future(first.commit(put("a", b"late")))
    await paused.wait()
    second = await stores.open(etcd=stores.lab.etcd)
    await second.commit(put("a", b"new"))
    go_on.set()
    with pytest.raises(Fenced):
        await late
    assert (await view(await stores.open(etcd=stores.lab.etcd)))[DOC] == {"a": b"new"}


# the log


async def test_every_batch_continues_the_one_before_it_across_openings(stores: Stores) -> None:
    for opening in range(3):
        store = await stores.open()
        for number in range(3):
            await store.commit(put(f"{opening} {number}"))
        await store.close()
    log = await stores.log()
    assert [batch.sequence for batch in log] == list(range(1, 10))
    assert log[0].previous == NO_CHAIN
    assert [batch.previous for batch in log[1:]] == [batch.chain for batch in log[:-1]]
    assert (await stores.head()).chain == log[-1].chain
    assert len({batch.id for batch in log}) == 9


async def test_opening_again_shows_the_same(stores: Stores) -> None:
    store = await stores.open()
    for number in range(40):
        await store.commit(Transaction((Put(DOC, f"{number:02d}", b"%d" % number), Append(NOTE, b"%d" % number))))
    for number in range(0, 40, 3):
        await store.commit(delete(f"{number:02d}"))
    again = await stores.open()
    assert await view(again) == await view(store)
    assert (again.sequence, await again.last_key(DOC)) == (store.sequence, await store.last_key(DOC))
    assert (await again.commit(note(b"next"))).appended == (41,)


async def _break(stores: Stores, what: str) -> None:
    etcd, keys = stores.lab.etcd, stores.keys
    head, second = await etcd.get(keys.head), await etcd.get(keys.wal(2))
    assert head is not None
    assert second is not None
    changes: dict[str, tuple[bytes, bytes | None]] = {
        "missing": (keys.wal(2), None),
        "last missing": (keys.wal(3), None),
        "flipped": (keys.wal(2), second[:70] + bytes([second[70] ^ 1]) + second[71:]),
        "cut": (keys.wal(2), second[:-1]),
        "another one's": (keys.wal(3), second),
        "another history's": (keys.wal(2), encode_batch(sequence=2, previous=b"x" * 16, batch_id=b"", transactions=())),
        "set back": (keys.head, head[:24] + (2).to_bytes(8, "big") + b"\x01" * 16),
        "short head": (keys.head, head[:-1]),
        "no head": (keys.head, None),
        "no meta": (keys.meta, None),
    }
    key, value = changes[what]
    if value is None:
        await etcd.delete(key)
    else:
        await etcd.txn((), [EtcdPut(key, value)])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", r"wal/0000000000000002 is missing: the next one is .*wal/0000000000000003"),
        ("last missing", r"wal/0000000000000003 is missing: the head says 3"),
        ("flipped", r"wal/0000000000000002 is damaged"),
        ("cut", r"wal/0000000000000002 is damaged"),
        ("another one's", r"wal/0000000000000003 does not continue the log"),
        ("another history's", r"wal/0000000000000002 does not continue the log"),
        ("set back", r"head does not fit the log: another chain at sequence 2"),
        ("short head", r"head has 47 bytes, a head has 48"),
        ("no head", r"head is missing, the other half of the store is there"),
        ("no meta", r"meta is missing, the other half of the store is there"),
    ],
)
async def test_a_log_that_cannot_be_continued_is_not_opened(stores: Stores, what: str, message: str) -> None:
    store = await stores.open()
    for number in range(3):
        await store.commit(put(str(number), b"some bytes"))
    await store.close()
    await _break(stores, what)
    with pytest.raises(BrokenLog, match=message):
        await stores.open()


async def test_a_store_that_is_wiped_under_its_writer_stops_it(stores: Stores) -> None:
    store = await stores.open()
    await store.commit(put("a"))
    await stores.lab.etcd.delete(b"store/%d/" % stores.keys.store, b"store/%d0" % stores.keys.store)
    with pytest.raises(Fenced, match="is gone from etcd"):
        await store.sync()
    with pytest.raises(Fenced, match="is gone from etcd"):
        await store.commit(put("a"))


# reads


async def test_a_scan_is_by_key_from_a_place_on_within_a_prefix_up_to_a_limit(stores: Stores) -> None:
    store = await stores.open()
    keys = ["", "a", "a/1", "a/2", "a/\U0010ffff", "a/\U0010ffff/x", "a0", "b"]
    await store.commit(Transaction(tuple(Put(DOC, key, b"") for key in keys)))

    async def found(**options: str | int) -> list[str]:
        return [key for key, _ in await store.scan(DOC, **options)]  # type: ignore[arg-type]  # a table of options

    assert await found() == keys
    assert await found(prefix="a/") == keys[2:6]
    assert await found(prefix="a/", after="a/1") == keys[3:6]
    assert await found(prefix="a/", after="") == keys[2:6]
    assert await found(prefix="a/", after="b") == []
    assert await found(prefix="c") == []
    assert await found(after="a0") == ["b"]
    assert await found(limit=2) == keys[:2]
    assert await found(prefix="a/", limit=0) == []
    assert await store.last_key(DOC) == "b"


async def test_numbered_documents_are_replayed_from_a_number_and_followed(stores: Stores) -> None:
    store = await stores.open()
    await asyncio.gather(*(store.commit(note(b"%d" % number)) for number in (1, 2, 3)))
    found: list[tuple[int, bytes]] = []

    async def follow(source: Store) -> None:
        async for item in source.numbered(NOTE, after=1):
            found.append(item)
            if item[0] == 3:
                await store.commit(note(b"4"))

    async with asyncio.timeout(10):
        reader = asyncio.ensure_future(follow(store))
        async with aclosing(store.numbered(NOTE, after=3)) as fourth:
            assert await anext(fourth) == (4, b"4")
        await store.close()
        await reader
    assert found == [(2, b"2"), (3, b"3"), (4, b"4")]
