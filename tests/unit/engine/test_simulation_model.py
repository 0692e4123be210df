"""Simulations against a second, naive player that is written straight from the rules, tick by tick."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runabout.engine.simulation import Outcome, Outcomes, simulate
from runabout.records import Condition, Dependency, Status, TaskConfig

Event = tuple[str, str, int]
NEVER = 10_000
WANTED = {"success": "on_success", "failed": "on_failure", "skipped": "on_skipped"}
OVER = {"success", "failed", "stopped", "cancelled", "skipped"}


@dataclass
class Naive:
    """One run; everything is looked at again and again until nothing changes."""

    tasks: tuple[TaskConfig, ...]
    outcomes: Outcomes
    status: dict[str, str] = field(default_factory=dict)
    start: dict[str, int] = field(default_factory=dict)
    end: dict[str, int] = field(default_factory=dict)
    due: dict[str, tuple[int, str]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    phase: str = "running"
    result: str = "unknown"

    def play(self) -> None:
        self.status = {task.name: "skipped" if task.skip else "notstarted" for task in self.tasks}
        self.events = [("queued", "unknown", 0), ("running", "unknown", 0)]
        times = [*self.outcomes.approve.values(), self.outcomes.stop_at or 0, 0]
        ticks = max(times) + sum(self.outcome(task.name).ticks + 2 for task in self.tasks) + 2
        for tick in range(ticks):
            if self.phase == "running":
                self.tick(tick)

    def outcome(self, name: str) -> Outcome:
        return self.outcomes.tasks.get(name, Outcome())

    def level(self, task: TaskConfig) -> int:
        above = [self.level(parent) for parent in self.tasks if any(d.task == parent.name for d in task.depends)]
        return 1 + max(above) if above else 0

    def tick(self, tick: int) -> None:
        for name, (due, how) in list(self.due.items()):
            if due == tick:
                self.status[name], self.end[name] = how, tick
                del self.due[name]
        stop = self.outcomes.stop_at is not None and tick >= self.outcomes.stop_at
        ready: list[TaskConfig] = []
        before: object = None
        while before != (now := (self.result, dict(self.status))):
            before = now
            self.decide_result(tick, stop=stop)
            ready = self.decide_tasks(tick, stop=stop)
        if stop:
            for name, (due, _) in self.due.items():
                if due > tick + 1:
                    self.due[name] = (tick + 1, "stopped")
        if self.result != "unknown" and set(self.status.values()) <= OVER:
            self.phase = "finished"
            self.events.append((self.phase, self.result, tick))
        for task in sorted(ready, key=lambda task: (self.level(task), task.name)):
            if self.outcomes.slots is None or len(self.due) < self.outcomes.slots:
                self.status[task.name], self.start[task.name] = "running", tick
                self.due[task.name] = (tick + self.outcome(task.name).ticks, self.outcome(task.name).status.value)

    def decide_result(self, tick: int, *, stop: bool) -> None:
        if self.result != "unknown":
            return
        if any(self.status[task.name] == "failed" and not task.ignore_failure for task in self.tasks):
            self.result = "failed"
        elif set(self.status.values()) <= OVER:
            self.result = "success"
        elif stop:
            self.result = "stopped"
        if self.result != "unknown":
            self.events.append(("running", self.result, tick))

    def decide_tasks(self, tick: int, *, stop: bool) -> list[TaskConfig]:
        ready = []
        for task in sorted(self.tasks, key=lambda task: (self.level(task), task.name)):
            if self.status[task.name] != "notstarted":
                continue
            parents = [self.status[parent.task] for parent in task.depends]
            if stop:
                self.status[task.name] = "skipped"
            elif self.result != "unknown" and not parents:
                self.status[task.name] = "cancelled"
            elif not set(parents) <= OVER:
                continue
            elif any(
                WANTED.get(status) not in ({c.value for c in parent.conditions} or {"on_success"})
                for status, parent in zip(parents, task.depends, strict=True)
            ):
                self.status[task.name] = "skipped"
            elif not task.needs_approval or self.outcomes.approve.get(task.name, NEVER) <= tick:
                ready.append(task)
        return ready


@st.composite
def graphs(draw: st.DrawFn) -> tuple[TaskConfig, ...]:
    """Tasks whose names stand in no relation to their places in the graph."""
    names = draw(st.permutations("abcdefgh"))[: draw(st.integers(0, 8))]
    tasks: list[TaskConfig] = []
    for index, name in enumerate(names):
        parents = draw(st.sets(st.sampled_from(names[:index]), max_size=3)) if index else set()
        flags = draw(st.sets(st.sampled_from(["skip", "ignore_failure", "needs_approval"]), max_size=2))
        depends = tuple(
            Dependency(parent, draw(st.frozensets(st.sampled_from(list(Condition))))) for parent in sorted(parents)
        )
        tasks.append(TaskConfig(name, depends, **dict.fromkeys(flags, True)))  # type: ignore[arg-type] # flags
    return tuple(draw(st.permutations(tasks)))


def outcomes(tasks: tuple[TaskConfig, ...]) -> st.SearchStrategy[Outcomes]:
    names = st.sampled_from([task.name for task in tasks]) if tasks else st.nothing()
    one = st.builds(Outcome, st.sampled_from([Status.SUCCESS, Status.FAILED]), st.integers(1, 4))
    return st.builds(
        Outcomes,
        slots=st.none() | st.integers(1, 3),
        tasks=st.dictionaries(names, one),
        stop_at=st.none() | st.integers(0, 9),
        approve=st.dictionaries(names, st.integers(0, 9)),
    )


PAIRS = graphs().flatmap(lambda tasks: st.tuples(st.just(tasks), outcomes(tasks)))


@settings(max_examples=500, deadline=None)
@given(PAIRS)
@example(((), Outcomes(stop_at=0)))
def test_a_simulation_is_what_a_naive_player_of_the_rules_finds(case: tuple[tuple[TaskConfig, ...], Outcomes]) -> None:
    tasks, chosen = case
    naive = Naive(tasks, chosen)
    naive.play()
    found = simulate(tasks, outcomes=chosen)
    events = [(event.phase.value, event.result.value, event.tick) for event in found.events]
    assert (found.phase.value, found.result.value, events) == (naive.phase, naive.result, naive.events)
    ours: Mapping[str, object] = {name: (task.status.value, task.start, task.end) for name, task in found.tasks.items()}
    assert ours == {name: (naive.status[name], naive.start.get(name), naive.end.get(name)) for name in naive.status}
