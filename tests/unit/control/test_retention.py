"""What goes by the rules, what stays, and what a crash in between leaves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.states import NOW, created, finished, task_spec, with_task
from runabout.control.archivekeys import archive_place, manifest_key, part_name, results_key
from runabout.control.ledger import EVENT, RUN, TASK, Change, Ledger
from runabout.control.metrics import Metrics
from runabout.control.retention import DAY, STEP, Retention, Rule
from runabout.control.runrows import run_index
from runabout.datamanager import Delete, Gone, Put, Store, Transaction, open_store
from runabout.etcd.memory import MemoryEtcd
from runabout.ost import MemoryObjectStore, UnavailableError, iterate
from runabout.records import Event, Phase, Result, RunId

pytestmark = pytest.mark.looptime


def name(number: int) -> RunId:
    return RunId(f"1il7g1c{number:06}")


@dataclass
class Scene:
    store: Store
    ost: MemoryObjectStore = field(default_factory=MemoryObjectStore)
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.store)

    async def add(
        self, number: int, *, group: str = "/ci/a", days: float = 0, over: bool = True, stored: bool = True
    ) -> RunId:
        """Add a run that ended some days ago, with a log and an event."""
        state = finished(created(task_spec("a")), Result.SUCCESS) if over else created(task_spec("a"))
        if not stored:
            state = with_task(state, "a", stored=False)
        run, time = name(number), NOW - round(days * DAY)
        await self.ledger.commit(
            Change(
                replace(state.run, id=run, uid=f"u{number}", group=group, created=time, ended=time if over else None),
                [replace(task, run=run) for task in state.tasks.values()],
                [Event(run=run, phase=Phase.FINISHED, result=Result.SUCCESS, time=time)],
                replace(state.config, id=run, uid=f"u{number}"),
            )
        )
        await self.ost.write(f"logs/{run}/a/1/0", b"words", size=5)
        await self.ost.write(manifest_key(archive_place(run, "a", 1, 0)), b"files", size=5)
        return run

    def retention(self, *rules: Rule, keep_events: int = 1_000_000, event_days: int = 0) -> Retention:
        return Retention(
            ledger=self.ledger,
            ost=self.ost,
            metrics=self.metrics,
            rules=rules,
            keep_events=keep_events,
            event_days=event_days,
            now=lambda: NOW,
        )

    async def keep(self, *rules: Rule, keep_events: int = 1_000_000, event_days: int = 0) -> None:
        """Keep the rules until there is nothing left to do."""
        retention = self.retention(*rules, keep_events=keep_events, event_days=event_days)
        while not await retention.step():
            pass
        while not await retention.step():
            pass

    async def runs(self) -> set[str]:
        return {key for key, _ in await self.store.scan(RUN)}

    async def output(self, folder: str) -> set[str]:
        return {item.key.split("/")[1] async for item in iterate(self.ost, f"{folder}/")}

    async def documents(self) -> set[tuple[str, str]]:
        return {
            (kind, key)
            for kind in ("run", "runconfig", "task", "byuid", "trash", "nologs", "noarchives")
            for key, _ in await self.store.scan(kind)
        }


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    store = await open_store(MemoryEtcd(), index=run_index(Path()))
    try:
        yield Scene(store)
    finally:
        await store.close()


ALL = {0, 1, 2, 3, 4, 5}
CASES: list[tuple[str, list[Rule], set[int], set[int], set[int]]] = [
    ("no rule", [], ALL, ALL, ALL),
    ("for ever", [Rule()], ALL, ALL, ALL),
    ("by age", [Rule(days=10)], {3, 4, 5}, {3, 4, 5}, {3, 4, 5}),
    ("by number", [Rule(runs=2)], {4, 5}, {4, 5}, {4, 5}),
    ("logs alone", [Rule(logDays=10)], ALL, {3, 4, 5}, ALL),
    ("both", [Rule(days=35, logDays=10)], {1, 2, 3, 4, 5}, {3, 4, 5}, {1, 2, 3, 4, 5}),
    ("logs alone, by number", [Rule(logRuns=2)], ALL, {4, 5}, ALL),
    ("archives alone", [Rule(archiveDays=10)], ALL, ALL, {3, 4, 5}),
    ("archives alone, by number", [Rule(archiveRuns=1)], ALL, ALL, {5}),
    ("archives of one group", [Rule(group="/ci/a", archiveDays=10, archiveRuns=1)], ALL, ALL, {1, 3, 4, 5}),
    ("each by its own", [Rule(runs=5, logRuns=4, archiveRuns=2, archiveDays=2)], {1, 2, 3, 4, 5}, {2, 3, 4, 5}, {5}),
    ("of one group", [Rule(group="/ci/a", days=10)], {1, 3, 4, 5}, {1, 3, 4, 5}, {1, 3, 4, 5}),
    ("of one group, by number", [Rule(group="/ci/a", runs=1)], {1, 3, 4, 5}, {1, 3, 4, 5}, {1, 3, 4, 5}),
    ("the longest counts", [Rule(days=1), Rule(group="/ci/a", days=35)], {2, 4, 5}, {2, 4, 5}, {2, 4, 5}),
    ("whole elements", [Rule(group="/ci/ab", days=1)], {0, 2, 3, 4, 5}, {0, 2, 3, 4, 5}, {0, 2, 3, 4, 5}),
    ("a slash at its end", [Rule(group="/ci/a/", days=10)], {1, 3, 4, 5}, {1, 3, 4, 5}, {1, 3, 4, 5}),
]
GROUPS = ("/ci/a", "/ci/ab", "/ci/a/x", "/ci/b", "/ci/a", "/ci/c")
AGES = (40, 30, 20, 5, 3, 0.5)


@pytest.mark.parametrize(
    ("rules", "runs", "logs", "archives"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
async def test_what_goes_and_what_stays(rules: list[Rule], runs: set[int], logs: set[int], archives: set[int]) -> None:
    async with scene() as here:
        for number, (group, days) in enumerate(zip(GROUPS, AGES, strict=True)):
            await here.add(number, group=group, days=days)
        await here.keep(*rules)
        assert await here.runs() == {name(number) for number in runs}
        assert await here.output("logs") == {name(number) for number in logs}
        assert await here.output("archives") == {name(number) for number in archives}


LOG, ARCHIVE, RESULTS = "log", "archive", "results"


@pytest.mark.parametrize(
    ("rule", "old"),
    [
        (Rule(days=10, logDays=5, archiveDays=5), set()),
        (Rule(logDays=10), {ARCHIVE, RESULTS}),
        (Rule(archiveDays=10), {LOG, RESULTS}),
        (Rule(archiveRuns=1), {LOG, RESULTS}),
        (Rule(logDays=10, archiveDays=10), {RESULTS}),
    ],
    ids=["the run", "its logs", "its archives", "its archives, by number", "logs and archives"],
)
async def test_logs_and_archives_go_by_themselves_and_results_with_their_run(rule: Rule, old: set[str]) -> None:
    async with scene() as here:
        for number, days in enumerate((20, 1)):
            run = await here.add(number, days=days)
            place = archive_place(run, "a", 1, 0)
            await here.ost.write(f"{place}/parts/{part_name(0, 'a' * 64)}", b"files")
            await here.ost.write(results_key(run, "a", 1), b"{}")
        await here.keep(rule)
        left: dict[str, set[str]] = {name(0): set(), name(1): set()}
        async for item in iterate(here.ost, ""):
            kind = LOG if item.key.startswith("logs/") else RESULTS if item.key.endswith("/results") else ARCHIVE
            left[item.key.split("/")[1]].add(kind)
        assert left == {name(0): old, name(1): {LOG, ARCHIVE, RESULTS}}
        removed = here.metrics.registry.get_sample_value("runabout_removed_total", {"what": "archive"})
        assert removed == (1 if old and ARCHIVE not in old else None)


async def test_nothing_is_left_of_a_run_that_goes_and_all_of_one_that_stays() -> None:
    async with scene() as here:
        await here.add(0, days=20)
        await here.add(1, days=1)
        await here.keep(Rule(days=10, logDays=5, archiveDays=5))
        assert await here.documents() == {
            ("run", name(1)),
            ("runconfig", name(1)),
            ("task", f"{name(1)}/a"),
            ("byuid", "u1"),
        }
        await here.keep(Rule(days=10, logDays=5, archiveDays=5))
        samples = here.metrics.registry
        assert samples.get_sample_value("runabout_removed_total", {"what": "run"}) == 1


async def test_a_run_that_is_live_or_whose_logs_are_not_stored_or_that_cannot_be_read_stays() -> None:
    async with scene() as here:
        live = await here.add(0, days=400, over=False)
        late = await here.add(1, days=400, stored=False)
        damaged = await here.add(2, days=400)
        gone = await here.add(3, days=400)
        unreadable = await here.add(4, days=400)
        await here.store.commit(Transaction((Put(TASK, f"{damaged}/a", b"?"), Put(RUN, unreadable, b"?"))))
        await here.keep(Rule(days=1, logDays=1, archiveDays=1))
        for kept in (await here.runs(), await here.output("logs"), await here.output("archives")):
            assert kept == {live, late, damaged, unreadable}
        assert gone not in await here.runs()


async def test_more_runs_than_are_looked_at_at_once_are_counted_over_all_steps() -> None:
    async with scene() as here:
        for number in range(2 * STEP + 7):
            await here.add(number)
        await here.keep(Rule(runs=STEP + 3))
        assert await here.runs() == {name(number) for number in range(STEP + 4, 2 * STEP + 7)}


async def test_logs_are_deleted_by_whoever_works_next_if_the_storage_did_not_let_them_go() -> None:
    class Stubborn(MemoryObjectStore):
        async def delete(self, key: str) -> None:
            raise UnavailableError(f"{key}: not today")

    async with scene() as here:
        ordinary, here.ost = here.ost, Stubborn()
        await here.add(0, days=20)
        retention = here.retention(Rule(days=10))
        await retention.step()
        with pytest.raises(UnavailableError):
            await retention.step()
        assert await here.runs() == set()
        assert await here.output("logs") == {name(0)}
        ordinary_logs = {item.key async for item in iterate(here.ost, "logs/")}
        for key in ordinary_logs:
            await ordinary.write(key, b"words", size=5)
        here.ost = ordinary
        await here.keep()
        assert await here.output("logs") == set()
        assert await here.documents() == set()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(GROUPS), st.integers(0, 40), st.booleans()), max_size=20), st.integers(0, 4))
async def test_of_every_history_the_newest_and_the_young_stay(rows: list[tuple[str, int, bool]], most: int) -> None:
    async with scene() as here:
        for number, (group, days, over) in enumerate(rows):
            await here.add(number, group=group, days=days, over=over)
        await here.keep(Rule(group="/ci/a", runs=most), Rule(days=7))
        ruled = [number for number, (group, _, _) in enumerate(rows) if f"{group}/".startswith("/ci/a/")]
        kept = set(ruled[-most:] if most else ruled)
        expected = {
            name(number)
            for number, (_, days, over) in enumerate(rows)
            if not over or (number in kept if number in ruled else days <= 7)
        }
        assert await here.runs() == expected


# events


async def replay(store: Store, *, after: int | None, until: int) -> list[int]:
    found: list[int] = []
    async for number, _ in store.numbered(EVENT, after=after):
        found.append(number)
        if number == until:
            break
    return found


@pytest.mark.parametrize(
    ("keep", "days", "oldest"), [(3, 0, 4), (100, 4, 3), (2, 4, 5), (100, 0, 1)], ids=["number", "age", "both", "all"]
)
async def test_old_events_go_and_who_asks_for_them_hears_it(keep: int, days: int, oldest: int) -> None:
    async with scene() as here:
        for number in range(6):
            await here.add(number, days=6 - number - 0.5)
        await here.keep(keep_events=keep, event_days=days)
        assert await replay(here.store, after=None, until=6) == list(range(oldest, 7))
        assert await replay(here.store, after=oldest - 1, until=6) == list(range(oldest, 7))
        if oldest > 1:
            with pytest.raises(Gone, match=f"event {oldest - 1} is gone: go on with {oldest}, "):
                await replay(here.store, after=oldest - 2, until=6)


async def test_if_all_events_are_gone_the_next_ones_come_and_earlier_ones_are_said_to_be_gone() -> None:
    async with scene() as here:
        await here.add(0, days=40)
        await here.keep(event_days=30)
        with pytest.raises(Gone, match="event 1 to 1 are gone"):
            await replay(here.store, after=0, until=2)
        await here.add(1)
        assert await replay(here.store, after=1, until=2) == [2]


@pytest.mark.parametrize("after", [0, 1], ids=["there are some before it", "it is the next one"])
async def test_an_event_that_is_gone_from_the_middle_is_not_passed_over(after: int) -> None:
    async with scene() as here:
        for number in range(4):
            await here.add(number)
        await here.store.commit(Transaction((Delete(EVENT, f"{2:016x}"),)))
        with pytest.raises(Gone, match="event 2 is gone: go on with 3, the next one that is there"):
            await replay(here.store, after=after, until=4)
        assert await replay(here.store, after=2, until=4) == [3, 4]


@pytest.mark.parametrize("wrong", [{"group": "ci"}, {"days": -1}, {"runs": "many"}, {"weeks": 3}], ids=str)
def test_a_rule_that_means_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Rule.model_validate(wrong)


async def test_all_that_tasks_left_at_the_gateway_goes_with_their_run() -> None:
    async with scene() as here:
        runs = [await here.add(number, days=days) for number, days in ((0, 20), (1, 1))]
        for run in runs:
            place = archive_place(run, "a", 1, 0)
            for key in (manifest_key(place), f"{place}/parts/{part_name(0, 'a' * 64)}", results_key(run, "a", 1)):
                await here.ost.write(key, b"left")
        await here.keep(Rule(days=10))
        left = [item.key async for item in iterate(here.ost, "archives/")]
        assert [key for key in left if not key.startswith(f"archives/{runs[1]}/")] == []
        assert len(left) == 3
