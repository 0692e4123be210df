"""What callers asked of a store and what they were told, kept outside of it, to be compared with what it shows."""

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from lab.indexed import RUN
from lab.stores import DOC, NOTE, Stores, View
from runabout.datamanager import (
    Action,
    Append,
    BrokenLog,
    Committed,
    Delete,
    Follower,
    Put,
    Recovery,
    Store,
    StoreError,
    Transaction,
    Unknown,
)
from runabout.datamanager.observing import Nobody
from runabout.datamanager.snapshot import Snapshot, with_snapshot
from runabout.etcd import MemoryEtcd

KINDS = (DOC, NOTE, RUN)


async def shown(store: Store | Follower) -> View:
    """Return all that a store shows of what is written in these tests."""
    return {kind: dict(await store.scan(kind)) for kind in KINDS}


class Reports(Nobody):
    """What openings have said of lost etcds, by processes that may have died in the next moment."""

    def __init__(self) -> None:
        self.recoveries: list[Recovery] = []

    def recovers(self, recovery: Recovery) -> None:
        self.recoveries.append(recovery)


@dataclass(slots=True)
class Ledger:
    """Transactions by their name; of some nobody was told anything."""

    asked: dict[str, tuple[Action, ...]] = field(default_factory=dict)
    told: dict[str, Committed | StoreError] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)
    """Acknowledged, and perhaps lost with etcd, which an opening has to say."""

    async def commit(self, store: Store, name: str, *actions: Action) -> None:
        """Commit a transaction that can be recognized: its last action appends its name."""
        self.asked[name] = (*actions, Append(NOTE, name.encode()))
        try:
            self.told[name] = await store.commit(Transaction(self.asked[name]))
        except StoreError as error:
            self.told[name] = error

    def excuse(self, kept: set[str]) -> None:
        """Etcd is lost in this moment: what was asked for is lost, perhaps, but for what is kept elsewhere."""
        self.excused |= self.asked.keys() - kept

    def lost(self, seen: View) -> set[str]:
        """Return what was acknowledged and is not there."""
        happened = {body.decode() for body in seen[NOTE].values()}
        return {name for name, told in self.told.items() if isinstance(told, Committed)} - happened

    def check(self, seen: View) -> None:
        """Compare what was told with what a store shows.

        The names that were appended, which nobody removes, say what happened and in which order.
        """
        assert list(seen[NOTE]) == [f"{number:016x}" for number in range(1, len(seen[NOTE]) + 1)]
        happened = [body.decode() for body in seen[NOTE].values()]
        twice = [name for name, count in Counter(happened).items() if count > 1]
        assert twice == []
        for name, told in self.told.items():
            if isinstance(told, Committed):
                there = happened[told.appended[0] - 1 : told.appended[0]] == [name]
                assert there or (name in self.excused and name not in happened), f"{name} was acknowledged"
            elif not isinstance(told, Unknown):
                assert name not in happened, f"{name} was refused: {told!r}"
        folded: View = {kind: {} for kind in KINDS if kind != NOTE}
        for name in happened:
            for action in self.asked[name]:
                if isinstance(action, Put):
                    folded[action.type][action.key] = action.body
                elif isinstance(action, Delete):
                    folded[action.type].pop(action.key, None)
        assert {kind: seen[kind] for kind in folded} == folded


async def sealed_names(stores: Stores, scratch: Path) -> set[str]:
    """Return the transactions that are on the object storage: those that the loss of etcd must not touch."""

    async def use(snapshot: Snapshot) -> set[str]:
        return {body.decode() async for rows in snapshot.rows(NOTE) for _, body in rows}

    assert stores.ost is not None
    nothing = MemoryEtcd()
    try:
        return await with_snapshot(nothing, stores.ost, stores.keys, scratch=scratch, use=use)
    except BrokenLog:
        return set()  # never open
    finally:
        await nothing.close()


Process = Callable[[Stores, Ledger, str], Coroutine[None, None, None]]
"""What a process does with a store; its name is part of the names of its transactions."""
