"""A run while it is being decided: changes are gathered here, the state it starts from is never touched."""

from runabout.engine.facts import Decision, Facts
from runabout.engine.graph import Graph
from runabout.engine.state import State
from runabout.records import Event, Run, Task


class Draft:
    """The run and its tasks so far; `ready`, `blocked` and `pauses` are what the last look at the tasks found."""

    def __init__(self, graph: Graph, state: State, facts: Facts) -> None:
        self.graph = graph
        self.facts = facts
        self.config = state.config
        self.run = state.run
        self.tasks = dict(state.tasks)
        self.ready: list[str] = []
        self.blocked: list[str] = []
        self.pauses: list[int] = []
        self._before = state
        self._changed: set[str] = set()
        self._events: list[Event] = []

    def put(self, task: Task) -> None:
        """Take the next state of a task."""
        self.tasks[task.name] = task
        self._changed.add(task.name)

    def emit(self, run: Run) -> None:
        """Take a run with another phase or result; that is an event."""
        self.run = run
        self._events.append(Event(run.id, run.phase, run.result, self.facts.now))

    def decision(
        self,
        *,
        ready: tuple[str, ...] = (),
        stop: tuple[str, ...] = (),
        blocked: tuple[str, ...] = (),
        wake: int | None = None,
    ) -> Decision:
        """Return what was decided; the same state as before if nothing changed."""
        changed = bool(self._changed) or self.run is not self._before.run
        return Decision(
            state=State(self.config, self.run, self.tasks) if changed else self._before,
            changed=tuple(self.tasks[name] for name in sorted(self._changed, key=self.graph.rank)),
            events=tuple(self._events),
            ready=ready,
            stop=stop,
            blocked=blocked,
            wake=wake,
        )
