"""Any history of commits, seals, checkpoints, collections, crashes and losses of etcd against two dicts.

Most of the time hardly anything that was read is kept, so that every read goes to the object storage.
"""

import asyncio
import copy
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import TypeVar

import looptime
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lab.checkpoints import NEVER, SMALL, checkpointer, covered, manifest, seal
from lab.etcds import MemoryLab
from lab.pointers import check_pointers
from lab.stores import DOC, NOTE, Stores, View, view
from runabout.datamanager import (
    Action,
    Append,
    Case,
    CheckpointPolicy,
    Damaged,
    Delete,
    Durability,
    IndexSource,
    Put,
    ReadPolicy,
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
READS = [ReadPolicy(groups=1, footers=1), ReadPolicy(groups=200, footers=4_000), ReadPolicy()]
TEXTS = st.none() | KEYS
LIMITS = st.none() | st.integers(0, 5)


@dataclass(frozen=True, slots=True)
class Backup:
    """What etcd had, in which of its lives, and what a store showed then."""

    etcd: dict[bytes, bytes]
    life: int
    sequence: int
    model: View


class Checkpoints(RuleBasedStateMachine):
    kinds: tuple[str, ...] = (DOC, NOTE)
    durability = Durability.ETCD

    def __init__(self) -> None:
        super().__init__()
        self.runner = self.new_runner()
        self.runner.__enter__()
        self.losses: list[tuple[str, int]] = []
        self.turns: list[int] = []
        self.model: View = {kind: {} for kind in self.kinds}
        self.sealed: tuple[int, View] = (0, copy.deepcopy(self.model))
        self.backup: Backup | None = None
        self.life = 0
        self.covered = 0

    def new_runner(self) -> asyncio.Runner:
        return asyncio.Runner(loop_factory=looptime.new_event_loop)

    def source(self) -> IndexSource | None:
        return None

    @initialize(policy=st.sampled_from(POLICIES), reads=st.sampled_from(READS))
    def begin(self, policy: CheckpointPolicy, reads: ReadPolicy = READS[0]) -> None:
        self.stores = self.run(self._make(policy, reads))
        self.store: Store = self.run(self.stores.open())
        self._all_is_sealed()

    async def _make(self, policy: CheckpointPolicy, reads: ReadPolicy) -> Stores:
        seals = SealPolicy(interval=NEVER, keep=1)
        ost = MemoryObjectStore()
        stores = Stores(
            MemoryLab(),
            0,
            ost=ost,
            policy=seals,
            checkpoints=policy,
            index=self.source(),
            reads=reads,
            durability=self.durability,
        )
        assert stores.faulty_ost is not None
        stores.faulty.fault = stores.faulty_ost.fault = self._fault
        return stores

    async def _fault(self, call: str, when: str) -> None:
        """Let the calls in `losses` go wrong; a loss names how many calls go well before it. Or let others go first."""
        if self.turns and when == "before":
            for _ in range(self.turns.pop()):
                await asyncio.sleep(0)
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
        self._take(actions)
        if self.durability is Durability.OBJECT:
            self._all_is_sealed()

    def _take(self, actions: list[Action]) -> None:
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

    @rule(prefix=KEYS, after=TEXTS, before=TEXTS, limit=LIMITS)
    def read(self, prefix: str, after: str | None, before: str | None, limit: int | None) -> None:
        rows = sorted(self.model[DOC].items())
        for key in (prefix, after or "", before or ""):
            assert self.run(self.store.get(DOC, key)) == self.model[DOC].get(key)
        found = self.run(self.store.scan(DOC, prefix=prefix, after=after, limit=limit))
        wanted = [row for row in rows if row[0].startswith(prefix) and (after is None or row[0] > after)]
        assert found == wanted[:limit]
        back = [row for row in reversed(rows) if before is None or row[0] < before]
        assert self.run(self.store.scan_back(DOC, before=before, limit=limit)) == back[:limit]
        assert self.run(self.store.last_key(DOC)) == (rows[-1][0] if rows else None)

    @rule(
        key=KEYS,
        actions=st.lists(st.lists(ACTIONS, min_size=1, max_size=3), min_size=1, max_size=3),
        turns=st.lists(st.integers(0, 40), max_size=12),
    )
    def read_while_others_work(self, key: str, actions: list[list[Action]], turns: list[int]) -> None:
        """Each answer is true of one moment between question and answer."""
        self.turns = turns
        self.run(self._read_while_others_work(key, actions))
        self.turns = []

    async def _read_while_others_work(self, key: str, actions: list[list[Action]]) -> None:
        states = [copy.deepcopy(self.model)]
        reads: list[asyncio.Task[tuple[bytes | None, list[tuple[str, bytes]]]]] = []

        async def read() -> tuple[bytes | None, list[tuple[str, bytes]]]:
            return await self.store.get(DOC, key), await self.store.scan(DOC, limit=6)

        for each in actions:
            reads.append(asyncio.create_task(read()))
            await asyncio.sleep(0)
            await self.store.commit(Transaction(tuple(each)))
            self._take(each)
            states.append(copy.deepcopy(self.model))
            reads.append(asyncio.create_task(read()))
            await seal(self.store)
            self._all_is_sealed()
            await checkpointer(self.store).checkpoint()
            await checkpointer(self.store).collect()
        for place, task in enumerate(reads):
            since = states[(place + 1) // 2 :]
            one, some = await task
            assert one in [state[DOC].get(key) for state in since]
            assert some in [sorted(state[DOC].items())[:6] for state in since]

    @rule(place=st.integers(0, 100), at=st.integers(0, 10_000), gone=st.booleans(), opened=st.booleans())
    def damage_a_data_file(self, place: int, at: int, gone: bool, opened: bool) -> None:
        """The log or an older file says the same, or the object is named: never is there another answer."""
        found = checkpointer(self.store).manifest
        if found is None or not found.files:
            return
        key = found.files[place % len(found.files)].object
        data = self.run(self._damage_data(key, at, gone=gone))
        if opened:
            self.run(self.store.close())
            self.store = self.run(self.stores.open())
            self._all_is_sealed()
        named = key
        try:
            assert self.run(view(self.store, self.kinds)) == self.model
        except Damaged as error:
            named = error.object
        assert named == key
        self.run(self._put_back(key, data))
        assert self.run(view(self.store, self.kinds)) == self.model
        self.run(self.store.close())  # what is damaged, as this writer knows, it does not read again for a checkpoint
        self.store = self.run(self.stores.open())
        self._all_is_sealed()

    async def _damage_data(self, key: str, at: int, *, gone: bool) -> bytes:
        assert self.stores.ost is not None
        data = await self.stores.ost.read(key)
        await self.stores.ost.delete(key)
        if not gone:
            at %= len(data)
            await self.stores.ost.write(key, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        return data

    async def _put_back(self, key: str, data: bytes) -> None:
        assert self.stores.ost is not None
        await self.stores.ost.write(key, data)

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
    def every_pointer_resolves_and_what_it_names_holds(self) -> None:
        self.run(check_pointers(self.stores))

    @invariant()
    def what_is_covered_only_grows(self) -> None:
        now = self.run(covered(self.stores))
        assert now >= self.covered
        self.covered = now

    def teardown(self) -> None:
        self.run(self.stores.__aexit__())
        self.runner.__exit__(None, None, None)


# Some twenty seconds of work, on a machine that may have others.
TestCheckpoints = pytest.mark.timeout(300)(Checkpoints.TestCase)
TestCheckpoints.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
