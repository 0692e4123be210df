"""Any history of commits, seals, checkpoints, collections, crashes and losses of etcd against two dicts."""

import asyncio
import copy
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import TypeVar

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lab.checkpoints import NEVER, SMALL, checkpointer, covered, manifest, seal
from lab.etcds import MemoryLab
from lab.stores import DOC, NOTE, Stores, View, view
from runabout.datamanager import (
    Action,
    Append,
    Case,
    CheckpointPolicy,
    Delete,
    IndexSource,
    Put,
    SealPolicy,
    Store,
    Transaction,
)
from runabout.etcd import EtcdError, UnknownOutcomeError
from runabout.etcd import UnavailableError as EtcdUnavailableError
from runabout.ost import MemoryObjectStore, OstError, UnavailableError

T = TypeVar("T")
KEYS = st.sampled_from(["", *"abcdefgh", "a/b", "é", "\U0010ffff"])
BODIES = st.binary(max_size=3)
ACTIONS: st.SearchStrategy[Action] = (
    st.builds(Put, st.just(DOC), KEYS, BODIES)
    | st.builds(Delete, st.just(DOC), KEYS)
    | st.builds(Append, st.just(NOTE), BODIES)
)
POLICIES = [
    replace(SMALL, group=1, small=0, orphan_seconds=-NEVER),  # each document is a file
    replace(SMALL, group=1, orphan_seconds=-NEVER),  # all files are small ones
    replace(SMALL, group=30, small=1_500, most_changes=1, keep=2, keep_seconds=NEVER, orphan_seconds=-NEVER),
    CheckpointPolicy(interval=NEVER),
]


@dataclass(frozen=True, slots=True)
class Backup:
    """What etcd had, in which of its lives, and what a store showed then."""

    etcd: dict[bytes, bytes]
    life: int
    sequence: int
    model: View


class Checkpoints(RuleBasedStateMachine):
    kinds: tuple[str, ...] = (DOC, NOTE)

    def __init__(self) -> None:
        super().__init__()
        self.runner = self.new_runner()
        self.runner.__enter__()
        self.losses: list[tuple[str, int]] = []
        self.model: View = {kind: {} for kind in self.kinds}
        self.sealed: tuple[int, View] = (0, copy.deepcopy(self.model))
        self.backup: Backup | None = None
        self.life = 0
        self.covered = 0

    def new_runner(self) -> asyncio.Runner:
        return asyncio.Runner(loop_factory=looptime.new_event_loop)

    def source(self) -> IndexSource | None:
        return None

    @initialize(policy=st.sampled_from(POLICIES))
    def begin(self, policy: CheckpointPolicy) -> None:
        self.stores = self.run(self._make(policy))
        self.store: Store = self.run(self.stores.open())
        self._all_is_sealed()

    async def _make(self, policy: CheckpointPolicy) -> Stores:
        seals = SealPolicy(interval=NEVER, keep=1)
        stores = Stores(MemoryLab(), 0, ost=MemoryObjectStore(), policy=seals, checkpoints=policy, index=self.source())
        assert stores.faulty_ost is not None
        stores.faulty.fault = stores.faulty_ost.fault = self._fault
        return stores

    async def _fault(self, call: str, when: str) -> None:
        """Let the calls in `losses` go wrong; a loss names how many calls go well before it."""
        if not self.losses or self.losses[0][0] != when:
            return
        kind, left = self.losses.pop(0)
        if left:
            self.losses.insert(0, (kind, left - 1))
        elif call.startswith("ost"):
            raise UnavailableError("lost")
        else:
            raise EtcdUnavailableError("lost") if when == "before" else UnknownOutcomeError("lost")

    def run(self, call: Coroutine[None, None, T]) -> T:
        return self.runner.run(call)

    def _all_is_sealed(self) -> None:
        self.sealed = (self.store.sequence, copy.deepcopy(self.model))

    @rule(actions=st.lists(ACTIONS, min_size=1, max_size=4))
    def commit(self, actions: list[Action]) -> None:
        self._commit(actions)

    def _commit(self, actions: list[Action]) -> None:
        self.run(self.store.commit(Transaction(tuple(actions))))
        for action in actions:
            if isinstance(action, Append):
                self.model[NOTE][f"{len(self.model[NOTE]) + 1:016x}"] = action.body
            elif isinstance(action, Put):
                self.model[action.type][action.key] = action.body
            else:
                self.model[action.type].pop(action.key, None)

    @rule()
    def seal(self) -> None:
        self.run(seal(self.store))
        self._all_is_sealed()

    @rule(losses=st.lists(st.tuples(st.sampled_from(["before", "after"]), st.integers(0, 9)), max_size=2))
    def cover(self, losses: list[tuple[str, int]]) -> None:
        self.losses = losses
        try:
            self.run(checkpointer(self.store).checkpoint())
        except (OstError, EtcdError):
            return
        finally:
            self.losses = []
        assert checkpointer(self.store).covers == self.sealed[0]
        assert {kind for kind, documents in self.sealed[1].items() if documents} == {
            each.type for each in manifest(self.store).files
        }
        assert sum(each.count for each in manifest(self.store).files) == sum(map(len, self.sealed[1].values()))

    @rule(losses=st.lists(st.tuples(st.sampled_from(["before", "after"]), st.integers(0, 9)), max_size=1))
    def collect(self, losses: list[tuple[str, int]]) -> None:
        # A checkpointer collects only after a checkpoint that etcd has confirmed.
        self.cover([])
        self.losses = losses
        try:
            self.run(checkpointer(self.store).collect())
        except (OstError, EtcdError):
            return
        finally:
            self.losses = []

    @rule(graceful=st.booleans())
    def open_again(self, graceful: bool) -> None:
        self.run(self.store.close() if graceful else self.stores.crash())
        self.store = self.run(self.stores.open())
        assert (self.store.damage, self.store.recovery) == ((), None)
        self._all_is_sealed()

    @rule()
    def back_up(self) -> None:
        etcd = self.run(self.stores.snapshot())
        self.backup = Backup(etcd, self.life, self.store.sequence, copy.deepcopy(self.model))

    @rule()
    def lose_etcd(self) -> None:
        self.run(self.stores.crash())
        self.run(self.stores.wipe())
        self._go_on(self.sealed[1], Case.WIPED)

    @precondition(lambda self: self.backup is not None)
    @rule()
    def set_etcd_back(self) -> None:
        assert self.backup is not None
        self.run(self.stores.crash())
        self.run(self.stores.set_back(self.backup.etcd))
        if self.backup.life == self.life and self.backup.sequence >= self.sealed[0]:
            self._go_on(self.backup.model, None)
        else:
            self._go_on(self.sealed[1], Case.SET_BACK)

    def _go_on(self, model: View, case: Case | None) -> None:
        self.store = self.run(self.stores.open())
        assert self.store.damage == ()
        assert (None if self.store.recovery is None else self.store.recovery.case) == case
        self.covered = 0  # an etcd that was set back says what it said then, until the next checkpoint
        self.life += 1  # what is committed now is another history, also where etcd itself goes on
        self.model = copy.deepcopy(model)
        self._all_is_sealed()

    @invariant()
    def what_is_seen_is_what_was_acknowledged(self) -> None:
        assert self.run(view(self.store, self.kinds)) == self.model

    @invariant()
    def what_is_covered_only_grows(self) -> None:
        now = self.run(covered(self.stores))
        assert now >= self.covered
        self.covered = now

    def teardown(self) -> None:
        self.run(self.stores.__aexit__())
        self.runner.__exit__(None, None, None)


TestCheckpoints = Checkpoints.TestCase
TestCheckpoints.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
