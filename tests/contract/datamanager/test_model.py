"""Any history of commits, losses, openings and fences against two dicts: a store is what its acknowledgements say."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lab.etcds import MemoryLab
from lab.stores import DOC, NOTE, Stores, View, view
from runabout.datamanager import (
    Action,
    Append,
    Committed,
    Conflict,
    Delete,
    Fenced,
    Put,
    Sequence,
    Store,
    StoreError,
    Transaction,
    Unavailable,
)
from runabout.etcd import PermanentEtcdError, UnavailableError, UnknownOutcomeError

T = TypeVar("T")
KEYS = st.sampled_from(["", "a", "a/b", "é", "\U0010ffff"])
BODIES = st.binary(max_size=3)
ACTIONS: st.SearchStrategy[Action] = (
    st.builds(Put, st.just(DOC), KEYS, BODIES)
    | st.builds(Delete, st.just(DOC), KEYS)
    | st.builds(Append, st.just(NOTE), BODIES)
)
GROUPS = st.frozensets(st.sampled_from("gh"), max_size=2)
AGES = st.none() | st.integers(0, 3)
"""How many batches ago a transaction read; None: it did not."""


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.losses: list[tuple[str, Exception]] = []
        self.runner = asyncio.Runner(loop_factory=looptime.new_event_loop)
        self.runner.__enter__()
        self.stores = self.run(self._make())
        self.store = self.run(self.stores.open())
        self.fenced: list[Store] = []
        self.model: View = {DOC: {}, NOTE: {}}
        self.written: dict[str, int] = {}
        """The last sequence of each group."""
        self.opened_at = 0

    async def _make(self) -> Stores:
        stores = Stores(MemoryLab(), 0)
        stores.faulty.fault = self._fault
        return stores

    async def _fault(self, call: str, when: str) -> None:
        if call == "txn" and self.losses and self.losses[0][0] == when:
            raise self.losses.pop(0)[1]

    def run(self, call: Coroutine[None, None, T]) -> T:
        return self.runner.run(call)

    @rule(losses=st.lists(st.sampled_from(["before", "after"]), max_size=3))
    def lose_the_next_replies(self, losses: list[str]) -> None:
        errors = {"before": UnavailableError("lost"), "after": UnknownOutcomeError("lost")}
        self.losses = [(when, errors[when]) for when in losses]

    @rule(
        asked=st.lists(st.tuples(st.lists(ACTIONS, max_size=4).map(tuple), GROUPS, AGES), min_size=1, max_size=4),
    )
    def commit(self, asked: list[tuple[tuple[Action, ...], frozenset[str], int | None]]) -> None:
        now = self.store.sequence
        transactions = [
            Transaction(actions, groups, None if age is None else Sequence(max(0, now - age)))
            for actions, groups, age in asked
        ]
        found = self.run(self._commit_all(transactions))
        touched: set[str] = set()
        for transaction, told in zip(transactions, found, strict=True):
            if self._conflicts(transaction, touched):
                assert isinstance(told, Conflict)
                continue
            assert isinstance(told, Committed)
            assert told.sequence == now + 1
            touched |= transaction.groups
            assert told.appended == self._apply(transaction)
        self.written |= dict.fromkeys(touched, now + 1)

    async def _commit_all(self, transactions: list[Transaction]) -> list[Committed | StoreError]:
        results = await asyncio.gather(*map(self.store.commit, transactions), return_exceptions=True)
        for item in results:
            assert isinstance(item, Committed | StoreError), item
        return [item for item in results if isinstance(item, Committed | StoreError)]

    def _conflicts(self, transaction: Transaction, touched: set[str]) -> bool:
        if transaction.read_at is None or not transaction.groups:
            return False
        if transaction.groups & touched or transaction.read_at < self.opened_at:
            # A group written since the opening is known not to be older; all others are not known.
            known = all(0 < self.written.get(group, 0) <= transaction.read_at for group in transaction.groups)
            return bool(transaction.groups & touched) or not known
        return any(self.written.get(group, 0) > transaction.read_at for group in transaction.groups)

    def _apply(self, transaction: Transaction) -> tuple[int, ...]:
        numbers = []
        for action in transaction.actions:
            if isinstance(action, Append):
                numbers.append(len(self.model[NOTE]) + 1)
                self.model[NOTE][f"{numbers[-1]:016x}"] = action.body
            elif isinstance(action, Put):
                self.model[DOC][action.key] = action.body
            else:
                self.model[DOC].pop(action.key, None)
        return tuple(numbers)

    @rule(action=ACTIONS)
    def be_refused(self, action: Action) -> None:
        self.losses = [("before", PermanentEtcdError("no space"))]
        (told,) = self.run(self._commit_all([Transaction((action,))]))
        assert isinstance(told, Unavailable)

    @rule(graceful=st.booleans())
    def open_again(self, graceful: bool) -> None:
        self.losses = []
        if graceful:
            self.run(self.store.close())
        else:
            self.fenced.append(self.store)
        self.store = self.run(self.stores.open())
        self.written, self.opened_at = {}, self.store.sequence

    @rule(action=ACTIONS, pick=st.integers(0, 5))
    def commit_as_one_who_was_replaced(self, action: Action, pick: int) -> None:
        if self.fenced:
            store = self.fenced[pick % len(self.fenced)]
            self.run(self._refused(store, Transaction((action,))))

    async def _refused(self, store: Store, transaction: Transaction) -> None:
        try:
            await store.commit(transaction)
        except Fenced:
            return
        raise AssertionError("a replaced writer wrote")

    @invariant()
    def what_is_seen_is_what_was_acknowledged(self) -> None:
        assert self.run(view(self.store)) == self.model
        assert self.run(self.store.scan(DOC)) == sorted(self.model[DOC].items())

    @invariant()
    def the_log_is_whole(self) -> None:
        assert len(self.run(self.stores.log())) == self.store.sequence

    def teardown(self) -> None:
        self.run(self.stores.__aexit__())
        self.runner.__exit__(None, None, None)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
