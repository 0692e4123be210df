"""A run played without a cluster: tasks end as they are told to, at ticks instead of times.

Only `decide` says what happens; here are the stubs around it. At each tick, in this order: tasks that end; stop and
approvals; the decision; starts, in level order then by name, while slots are free. A running task that is told to stop
ends one tick later, unless it ends by itself by then. Ticks at which nothing can happen are passed over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runabout.engine.create import create_run
from runabout.engine.decide import decide, start_run
from runabout.engine.facts import Assignment, Decision, Facts, TaskEnd
from runabout.engine.graph import Graph
from runabout.engine.state import State
from runabout.records import Approval, Event, Phase, Result, RunConfig, RunId, Status, TaskConfig


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ends by itself, so many ticks (at least 1) after it started."""

    status: Status = Status.SUCCESS
    ticks: int = 1


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What happens around a run.

    `slots` tasks run at once (None: any number); a task without an outcome succeeds after one tick; the run is stopped,
    and tasks are approved, at the ticks given.
    """

    slots: int | None = None
    tasks: Mapping[str, Outcome] = field(default_factory=dict)
    stop_at: int | None = None
    approve: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SimulatedTask:
    """A task at the end; `start` and `end` are ticks, None for a task that never started."""

    status: Status
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class SimulatedEvent:
    """A change of phase or result at a tick; sequences begin with 1."""

    sequence: int
    phase: Phase
    result: Result
    tick: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """What became of a run; its phase is running if it waits for something that never comes."""

    phase: Phase
    result: Result
    setup_errors: tuple[str, ...]
    tasks: Mapping[str, SimulatedTask]
    events: tuple[SimulatedEvent, ...]


_RUN = RunId("0" * 13)
_APPROVER = "simulation"
_EXECUTOR = "simulation"


def simulate(
    tasks: Sequence[TaskConfig], setup_errors: Sequence[str] = (), outcomes: Outcomes | None = None
) -> Simulation:
    """Play a run of `tasks` (expanded) to its end, or until nothing more can happen."""
    return _Player(tasks, setup_errors, outcomes or Outcomes()).play()


class _Player:
    """The run, what is running, and the clock."""

    def __init__(self, tasks: Sequence[TaskConfig], setup_errors: Sequence[str], outcomes: Outcomes) -> None:
        config = RunConfig(
            id=_RUN,
            namespace="simulation",
            name="simulation",
            uid="",
            group="/simulation/run/simulation",
            cache_group="/simulation/run/simulation",
            created=0,
            tasks=tuple(tasks),
            setup_errors=tuple(setup_errors),
        )
        self._graph = Graph(config.tasks)
        self._outcomes = outcomes
        self._events: list[Event] = []
        self._ends: dict[str, int] = {}
        """when each running task ends, as things are"""
        self._told: set[str] = set()
        """running tasks that end because they were told to stop"""
        self._starts: dict[str, int] = {}
        self._state = self._take(create_run(config, counter=1, now=0))

    def play(self) -> Simulation:
        """Play all ticks; the run is running from tick 0."""
        self._take(start_run(self._state, now=0))
        tick: int | None = 0
        while tick is not None and self._state.run.phase is Phase.RUNNING:
            self._play(tick)
            tick = self._next(tick)
        return self._outcome()

    def _play(self, tick: int) -> None:
        ended = {name: self._end(name, tick) for name, end in self._ends.items() if end == tick}
        for name in ended:
            del self._ends[name]
        facts = Facts(
            now=tick,
            stop=self._outcomes.stop_at is not None and tick >= self._outcomes.stop_at,
            ended=ended,
            stored=dict.fromkeys(ended, ()),
            approvals=tuple(
                Approval(name, _APPROVER) for name, since in self._outcomes.approve.items() if tick >= since
            ),
        )
        decision = decide(self._graph, self._state, facts)
        self._take(decision)
        self._stop(decision.stop, tick)
        self._start(decision.ready, tick)

    def _end(self, name: str, tick: int) -> TaskEnd:
        if name in self._told:
            return TaskEnd(Status.STOPPED, ended=tick)
        return TaskEnd(self._outcome_of(name).status, ended=tick)

    def _outcome_of(self, name: str) -> Outcome:
        return self._outcomes.tasks.get(name, Outcome())

    def _stop(self, names: Sequence[str], tick: int) -> None:
        for name in names:
            if self._ends[name] > tick + 1:
                self._ends[name] = tick + 1
                self._told.add(name)

    def _start(self, ready: Sequence[str], tick: int) -> None:
        slots = self._outcomes.slots
        free = len(ready) if slots is None else max(0, slots - len(self._ends))
        started = ready[:free]
        if not started:
            return
        for name in started:
            self._starts[name] = tick
            self._ends[name] = tick + self._outcome_of(name).ticks
        assigned = {name: Assignment(_EXECUTOR, name) for name in started}
        self._take(decide(self._graph, self._state, Facts(now=tick, assigned=assigned)))

    def _take(self, decision: Decision) -> State:
        self._events.extend(decision.events)
        self._state = decision.state
        return decision.state

    def _next(self, tick: int) -> int | None:
        """Return the next tick at which something can happen, None if there is none."""
        times = [*self._ends.values(), *self._outcomes.approve.values()]
        if self._outcomes.stop_at is not None:
            times.append(self._outcomes.stop_at)
        return min((time for time in times if time > tick), default=None)

    def _outcome(self) -> Simulation:
        run = self._state.run
        return Simulation(
            phase=run.phase,
            result=run.result,
            setup_errors=self._state.config.setup_errors,
            tasks={
                name: SimulatedTask(task.status, self._starts.get(name), task.ended if name in self._starts else None)
                for name, task in self._state.tasks.items()
            },
            events=tuple(
                SimulatedEvent(number, event.phase, event.result, event.time)
                for number, event in enumerate(self._events, start=1)
            ),
        )
