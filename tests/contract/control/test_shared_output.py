"""Logs and archives that restarts share stay as long as any record needs them, and no longer, whatever crashes."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fixtures.states import NOW, created, finished, task_spec
from lab.faulty_etcd import FaultyEtcd
from lab.faulty_ost import FaultyOst
from runabout import etcd
from runabout.control.archivekeys import results_key
from runabout.control.ledger import NO_ARCHIVES, NO_LOGS, SHARED_BY, SHARING, TRASH, Change, Ledger
from runabout.control.metrics import Metrics
from runabout.control.retention import Retention
from runabout.control.runrows import run_index
from runabout.datamanager import Store, Unknown, open_store
from runabout.etcd.memory import MemoryEtcd
from runabout.ost import MemoryObjectStore, OstError, UnavailableError, iterate
from runabout.records import Result, RunId, Status, Task

pytestmark = pytest.mark.looptime
OUTPUT = ("logs", "archives", "results")
"""Results are kept below `archives/`, and as long as a record."""


def name(number: int) -> RunId:
    return RunId(f"1il7g1c{number:06}")


@dataclass
class Model:
    """What was done: of each run with a record, the tasks it has and the runs that executed them."""

    tasks: dict[RunId, dict[str, RunId]] = field(default_factory=dict)
    without: dict[str, set[RunId]] = field(default_factory=lambda: {what: set() for what in OUTPUT})
    """runs that have lost their logs, or their archives"""
    gone: dict[str, set[tuple[RunId, RunId]]] = field(default_factory=lambda: {what: set() for what in OUTPUT})
    """of whose output there was nothing left when a run took a task over: the run, and who executed the task"""

    def needed(self, what: str) -> set[str]:
        return {
            f"{executed_by}/{task}"
            for run, tasks in self.tasks.items()
            for task, executed_by in tasks.items()
            if run not in self.without[what] and (run, executed_by) not in self.gone[what]
        }

    def wanted(self, what: str) -> set[str]:
        """Return the same, and what nobody found there when it was taken over."""
        return Model(self.tasks, self.without).needed(what)


class Place:
    """A store that is opened again after each crash, with an object storage, and the call that fails next."""

    def __init__(self) -> None:
        self.etcd, self.ost = FaultyEtcd(MemoryEtcd()), FaultyOst(MemoryObjectStore())
        self.fails_in = 0
        self.after = False
        self.count = 0
        self.store: Store | None = None

    async def open(self) -> Ledger:
        if self.store is None:
            self.store = await open_store(self.etcd, deadline=1.0, index=run_index(Path()))
            await asyncio.sleep(0)  # its own work has begun before anything fails
        return Ledger(self.store)

    async def close(self) -> None:
        if self.store is not None:
            await self.store.close()

    async def fault(self, call: str, when: str) -> None:
        if when != ("after" if self.after else "before") or call in ("look", "get", "range", "watch", "event"):
            return
        self.fails_in -= 1
        if self.fails_in == 0:
            raise UnavailableError("crash") if call.startswith("ost") else etcd.UnknownOutcomeError("crash")

    async def crashing(self, work: Coroutine[None, None, None], *, at: int, after: bool) -> bool:
        """Do something whose call number `at` fails, and go on with another process; return whether it was done."""
        await self.open()
        self.fails_in, self.after = at, after
        self.etcd.fault = self.ost.fault = self.fault
        try:
            await work
        except (Unknown, OstError):
            assert self.store is not None
            await self.store.halt()
            self.store = None
            return False
        finally:
            self.fails_in = 0
        return True

    async def add(self, number: int, model: Model, parent: RunId | None) -> None:
        """Add a run of one task, with its output, and with all tasks of the one that it restarts."""
        ledger, run = await self.open(), name(number)
        kept = model.tasks[parent] if parent is not None else {}
        own = f"t{number}"
        state = finished(created(*map(task_spec, [*kept, own]), run=run, uid=f"u{number}"), Result.FAILED)
        done = Task(run=run, name=own, status=Status.SUCCESS, attempt=1)
        tasks = [replace(done, name=task, executed_by=other) for task, other in kept.items()]
        config = replace(state.config, restarted_from=parent)
        read_at = ledger.sequence if parent is not None else None
        shares = frozenset(kept.values())
        await ledger.commit(Change(state.run, [*tasks, done], (), config, read_at=read_at, shares=shares))
        for key in (f"logs/{run}/{own}/1/0", f"archives/{run}/{own}/1/0/manifest", results_key(run, own, 1)):
            await self.ost.write(key, b"words", size=5)
        model.tasks[run] = {**kept, own: run}
        for what in OUTPUT if parent is not None else ():
            lost = parent in model.without[what]
            known = {other for other in kept.values() if lost or (parent, other) in model.gone[what]}
            model.gone[what] |= {(run, other) for other in known}

    async def remove(self, run: RunId) -> None:
        ledger = await self.open()
        record = await ledger.run(run)
        if record is not None:
            await ledger.remove(record)

    async def has(self, what: str, run: RunId) -> bool:
        ledger = await self.open()
        return await (ledger.has_logs(run) if what == "logs" else ledger.has_archives(run))

    async def remove_output(self, what: str, run: RunId) -> None:
        ledger = await self.open()
        if await self.has(what, run):
            await (ledger.remove_logs(run) if what == "logs" else ledger.remove_archives(run))

    async def empty(self) -> None:
        """Do what is left to do: delete what nobody needs."""
        retention = Retention(
            ledger=await self.open(),
            ost=self.ost,
            metrics=Metrics(),
            rules=(),
            keep_events=100,
            event_days=0,
            now=lambda: NOW,
        )
        while not await retention.step():
            pass

    async def do(self, model: Model, number: int, move: str, run: RunId | None, *, at: int, after: bool) -> None:
        """Do one thing, whose call number `at` fails; adding a run does not fail."""
        if move == "add" or run is None:
            await self.add(number, model, None)
        elif move == "restart":
            await self.add(number, model, run)
        elif move == "empty":
            await self.crashing(self.empty(), at=at, after=after)
        elif move == "remove":
            done = await self.crashing(self.remove(run), at=at, after=after)
            if done or await (await self.open()).run(run) is None:
                del model.tasks[run]
        else:
            done = await self.crashing(self.remove_output(move, run), at=at, after=after)
            if done or not await self.has(move, run):
                model.without[move].add(run)

    async def there(self, what: str) -> set[str]:
        folder = "logs/" if what == "logs" else "archives/"
        keys = [item.key async for item in iterate(self.ost, folder)]
        return {"/".join(key.split("/")[1:3]) for key in keys if key.endswith("/results") == (what == "results")}


MARKED = ("logs", "archives")
MOVES = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "restart", "restart", "restart", "remove", "remove", *MARKED, "empty"]),
        st.integers(0, 20),
        st.integers(1, 8),
        st.booleans(),
    ),
    max_size=25,
)


def moves(*names: str) -> list[tuple[str, int, int, bool]]:
    """Return moves that do not fail; each is `<move> <number of the run>`."""
    return [(move, int(run), 99, False) for move, _, run in (name.partition(" ") for name in names)]


@settings(max_examples=150, deadline=None)
@given(MOVES)
@example(moves("add 0", "restart 0", "archives 0", "empty 0", "archives 1"))
@example(moves("add 0", "restart 0", "archives 0", "empty 0", "remove 1"))
@example(moves("add 0", "restart 0", "archives 0", "archives 1", "empty 0", "remove 0", "empty 0"))
@example(moves("add 0", "restart 0", "remove 0", "archives 0", "logs 0", "empty 0"))
async def test_output_is_there_as_long_as_a_record_needs_it_and_no_longer_whatever_crashes(
    history: list[tuple[str, int, int, bool]],
) -> None:
    place, model = Place(), Model()
    try:
        for number, (move, choice, at, after) in enumerate(history):
            runs = sorted(model.tasks)
            run = runs[choice % len(runs)] if runs else None
            await place.do(model, number, move, run, at=at, after=after)
            for what in OUTPUT:
                assert model.needed(what) <= await place.there(what), (number, move, what)
        await place.empty()
        for what in OUTPUT:
            assert model.needed(what) <= await place.there(what) <= model.wanted(what)
        assert place.store is not None
        assert await place.store.scan(TRASH) == []
        for run in sorted(model.tasks):
            await place.remove(run)
        await place.empty()
        assert [await place.there(what) for what in OUTPUT] == [set(), set(), set()]
        kinds = (SHARING, SHARED_BY, NO_LOGS, NO_ARCHIVES, TRASH)
        assert [row for kind in kinds for row in await place.store.scan(kind)] == []
    finally:
        await place.close()
