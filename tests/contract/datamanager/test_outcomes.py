"""What a writer makes of answers that do not come and of callers that wait: on the etcd in memory and a real one."""

import asyncio
from collections import Counter

import pytest

from lab.stores import DOC, Stores, note, outcome, put, view
from runabout.datamanager import (
    BrokenLog,
    Committed,
    Fenced,
    Put,
    ReadOnly,
    Transaction,
    Unavailable,
    Unknown,
)
from runabout.datamanager.waiting import MAX_WAITING
from runabout.etcd import EtcdError, FullError, PermanentEtcdError, UnavailableError, UnknownOutcomeError
from runabout.etcd import Put as EtcdPut

MIB = 1024 * 1024


async def test_a_lost_reply_is_asked_for_again_and_the_transaction_happens_once(stores: Stores) -> None:
    store = await stores.open()
    lost = 0

    async def lose(call: str, when: str) -> None:
        nonlocal lost
        if (call, when) == ("txn", "after") and lost < 2:
            lost += 1
            raise UnknownOutcomeError("the connection broke")

    stores.faulty.fault = lose
    assert (await store.commit(note(b"x"))).appended == (1,)
    assert lost == 2
    assert [entry.body for batch in await stores.log() for entry in batch.transactions[0]] == [b"x"]


@pytest.mark.parametrize("written", [True, False], ids=["it was written", "it was not"])
async def test_a_lost_reply_is_resolved_when_another_writer_came_between(stores: Stores, *, written: bool) -> None:
    store = await stores.open()
    failed, go_on = asyncio.Event(), asyncio.Event()

    async def lose(call: str, when: str) -> None:
        if (call, when) == ("txn", "after" if written else "before") and not failed.is_set():
            failed.set()
            await go_on.wait()
            raise UnknownOutcomeError("the connection broke")

    stores.faulty.fault = lose
    call = asyncio.ensure_future(outcome(store.commit(put("a", b"1"))))
    await failed.wait()
    second = await stores.open(etcd=stores.lab.etcd)
    await second.commit(put("b", b"2"))
    go_on.set()
    found = await call
    assert isinstance(found, Committed if written else Fenced)
    assert (await view(second))[DOC] == ({"a": b"1", "b": b"2"} if written else {"b": b"2"})
    with pytest.raises(Fenced):
        await store.commit(put("c"))


async def test_after_the_deadline_a_commit_is_unknown_one_behind_it_unavailable_and_reads_settle_to_the_truth(
    stores: Stores,
) -> None:
    store = await stores.open(deadline=2.0)
    sent, back = asyncio.Event(), asyncio.Event()

    async def lose(call: str, when: str) -> None:
        if call == "txn" and not back.is_set():
            if when == "after":
                sent.set()
                raise UnknownOutcomeError("the connection broke")
            if sent.is_set():
                raise UnavailableError("nobody listens")

    stores.faulty.fault = lose
    first = asyncio.ensure_future(outcome(store.commit(put("a", b"1"))))
    await sent.wait()
    second = asyncio.ensure_future(outcome(store.commit(put("b", b"1"))))
    assert isinstance(await first, Unknown)
    assert isinstance(await second, Unavailable)
    assert store.stuck_seconds > 0
    assert store.failed is None
    assert (await view(store))[DOC] == {}
    back.set()
    await store.settled()
    assert store.stuck_seconds == 0
    assert (await view(store))[DOC] == {"a": b"1"}
    assert (await store.commit(put("c"))).sequence == 2


async def test_a_refusal_after_an_unclear_attempt_does_not_say_that_nothing_was_written(stores: Stores) -> None:
    store = await stores.open(deadline=1.0)
    tries = 0

    async def lose(call: str, when: str) -> None:
        nonlocal tries
        if (call, when) == ("txn", "before"):
            tries += 1
            if tries == 1:
                raise UnknownOutcomeError("the connection broke; the request is still under way")
            raise PermanentEtcdError("no")

    stores.faulty.fault = lose
    assert isinstance(await outcome(store.commit(put("a", b"1"))), Unknown)
    assert (await view(await stores.open(etcd=stores.lab.etcd)))[DOC] == {}


@pytest.mark.parametrize("refusal", [FullError("no space"), PermanentEtcdError("too large")], ids=["full", "refused"])
@pytest.mark.parametrize("unclear", [True, False], ids=["after an unclear attempt", "at once"])
@pytest.mark.parametrize("blind", [True, False], ids=["a read fails, too", "a read works"])
async def test_a_batch_that_was_written_is_acknowledged_although_etcd_calls_it_refused(
    stores: Stores, refusal: EtcdError, *, unclear: bool, blind: bool
) -> None:
    """The write that fills etcd up is carried out, and then answered with "database space exceeded"."""
    store = await stores.open()
    left: list[EtcdError] = [UnknownOutcomeError("the connection broke")] * unclear + [refusal]
    looks: list[EtcdError] = [UnavailableError("nobody listens")] * blind

    async def refuse(call: str, when: str) -> None:
        if (call, when) == ("txn", "after") and left:
            raise left.pop(0)
        if (call, when) == ("look", "before") and looks:
            raise looks.pop(0)

    stores.faulty.fault = refuse
    assert (await store.commit(note(b"1"))).sequence == 1
    assert left == looks == []
    assert (await store.commit(note(b"2"))).sequence == 2
    assert await view(await stores.open(etcd=stores.lab.etcd)) == await view(store)


async def test_what_a_full_etcd_did_not_write_is_refused_in_its_words_and_reads_go_on(stores: Stores) -> None:
    store = await stores.open()
    await store.commit(put("a", b"1"))
    full = True

    async def refuse(call: str, when: str) -> None:
        if full and (call, when) == ("txn", "before"):
            raise FullError("etcd: mvcc: database space exceeded")

    stores.faulty.fault = refuse
    found = await asyncio.gather(*(outcome(store.commit(put(str(number)))) for number in range(3)))
    assert {type(item) for item in found} == {ReadOnly}
    assert "database space exceeded" in str(found[0])
    assert await store.sync() == 1
    await store.settled()
    full = False
    assert (await store.commit(put("b"))).sequence == 2


async def test_while_nothing_was_sent_the_deadline_ends_in_unavailable_and_nothing_is_written_later(
    stores: Stores,
) -> None:
    store = await stores.open(deadline=1.0)
    away = True

    async def refuse(call: str, when: str) -> None:
        if away and when == "before" and call in {"txn", "look"}:
            raise UnavailableError("nobody listens")

    stores.faulty.fault = refuse
    found = await asyncio.gather(*(outcome(store.commit(put(str(number)))) for number in range(3)))
    assert {type(item) for item in found} == {Unavailable}
    away = False
    assert (await store.commit(put("later"))).sequence == 1
    assert (await view(store))[DOC] == {"later": b""}


async def test_an_etcd_that_was_set_back_stops_its_writer_in_these_words(stores: Stores) -> None:
    store = await stores.open()
    await store.commit(put("a"))
    before = await stores.head()
    await store.commit(put("b"))
    await stores.lab.etcd.txn((), [EtcdPut(stores.keys.head, before.encode())])
    with pytest.raises(Fenced, match="head says sequence 1 after 2: etcd was set back"):
        await store.commit(put("c"))


async def test_a_body_that_is_no_bytes_ends_the_writer_and_leaves_nobody_waiting(stores: Stores) -> None:
    store = await stores.open()
    wrong = Transaction((Put(DOC, "a", "text"),))  # type: ignore[arg-type]  # what a caller without types can do
    async with asyncio.timeout(60):
        found = await asyncio.gather(outcome(store.commit(wrong)), outcome(store.commit(put("b"))))
        assert not any(isinstance(item, Committed) for item in found)
        assert isinstance(await store.broken(), BrokenLog)


async def test_closing_ends_what_is_under_way_as_unknown_and_what_waits_as_not_written(stores: Stores) -> None:
    store = await stores.open()
    begun = asyncio.Event()

    async def hang(call: str, _when: str) -> None:
        if call == "txn":
            begun.set()
            await asyncio.Event().wait()

    stores.faulty.fault = hang
    first = asyncio.ensure_future(outcome(store.commit(put("a"))))
    await begun.wait()
    second = asyncio.ensure_future(outcome(store.commit(put("b"))))
    await asyncio.sleep(0)
    await store.close()
    async with asyncio.timeout(60):
        assert isinstance(await first, Unknown)
        assert isinstance(await second, Unavailable)
    with pytest.raises(Unavailable):
        await store.commit(put("c"))


async def test_closing_writes_what_waits(stores: Stores) -> None:
    store = await stores.open()
    calls = [asyncio.ensure_future(store.commit(put(str(number)))) for number in range(5)]
    await asyncio.sleep(0)
    await store.close()
    assert {item.sequence for item in await asyncio.gather(*calls)} == {1}


async def test_when_too_much_waits_for_etcd_more_is_refused_until_it_answers_again(stores: Stores) -> None:
    store = await stores.open()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hang(call: str, when: str) -> None:
        if (call, when) == ("txn", "before"):
            begun.set()
            await go_on.wait()

    stores.faulty.fault = hang
    body = bytes(MIB - 1000)
    calls = [asyncio.ensure_future(outcome(store.commit(put("first"))))]
    await begun.wait()
    calls += [asyncio.ensure_future(outcome(store.commit(put(str(n), body)))) for n in range(MAX_WAITING // MIB + 3)]
    await asyncio.sleep(0)
    refused = [call.result() for call in calls if call.done()]
    assert [type(item) for item in refused] == [Unavailable] * 3
    assert "wait for etcd already" in str(refused[0])
    go_on.set()
    found = await asyncio.gather(*calls)
    assert Counter(type(item) for item in found) == {Committed: len(calls) - 3, Unavailable: 3}
    assert isinstance(await outcome(store.commit(put("z", body))), Committed)


async def test_when_too_many_wait_for_etcd_more_are_refused_however_small_they_are(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runabout.datamanager.waiting.MAX_QUEUE", 10)
    store = await stores.open()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hang(call: str, when: str) -> None:
        if (call, when) == ("txn", "before"):
            begun.set()
            await go_on.wait()

    stores.faulty.fault = hang
    calls = [asyncio.ensure_future(outcome(store.commit(Transaction(()))))]
    await begun.wait()
    calls += [asyncio.ensure_future(outcome(store.commit(Transaction(())))) for _ in range(12)]
    await asyncio.sleep(0)
    go_on.set()
    found = await asyncio.gather(*calls)
    assert Counter(type(item) for item in found) == {Committed: 11, Unavailable: 2}
