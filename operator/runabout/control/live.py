"""A run that is being worked on: its state as committed, its graph, and its attempts."""

from dataclasses import dataclass, field

from runabout.control.attempts import Attempt, Creation
from runabout.control.objects import Uid
from runabout.control.status import JsonDict, Wait
from runabout.datamanager import Sequence
from runabout.engine.graph import Graph
from runabout.engine.state import State
from runabout.records import TERMINAL_PHASES, Event, RunId


@dataclass(slots=True)
class LiveRun:
    """One run in memory; everything here but `state` can be made again from the store, the pods and the Run.

    `state` is what the store has acknowledged, except for a run that is being created (`new`).
    """

    uid: Uid
    state: State
    graph: Graph
    new: bool = False
    first_events: tuple[Event, ...] = ()
    attempts: dict[str, Attempt] = field(default_factory=dict)
    """by task; only tasks on an executor, and finished ones whose log is not stored yet"""
    waits: dict[str, Wait] = field(default_factory=dict)
    run_wait: Wait | None = None
    reported: JsonDict | None = None
    reported_at: float = 0.0
    turn: float | None = None
    """when it may show its progress, if it waits for that; seconds of the monotonic clock"""
    storing_since: float | None = None
    """when it was first seen that all tasks have ended; seconds of the monotonic clock"""
    changed_at: float | None = None
    """when the news came that led to the pass under way; seconds of the monotonic clock"""
    released: bool = False
    """whether our finalizer was taken off, or never needed"""
    read_at: Sequence | None = None
    """what the store had when a new restart read its old run"""
    unwritten: set[str] = field(default_factory=set)
    """tasks without a record, of a run that was created in portions of which not all were committed; the next commit
    has them"""

    @property
    def id(self) -> RunId:
        """The run's id."""
        return self.state.run.id

    @property
    def over(self) -> bool:
        """Whether the run will not change any more."""
        return self.state.run.phase in TERMINAL_PHASES

    def adopt(self, *, since: int) -> None:
        """Take the attempts that the store knows; none of them may be created here."""
        for task in self.state.tasks.values():
            if task.pod is not None and (task.executor is not None or not task.stored):
                self.attempts[task.name] = Attempt(task.pod, task.name, task.attempt, Creation.FOREIGN, since)
