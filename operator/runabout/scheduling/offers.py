"""What executors offer and what tasks need, and whether they fit; slots apart."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from runabout.records import Reason, RunId
from runabout.records.json import JsonObject
from runabout.scheduling.selectors import selects

Key = tuple[RunId, str]
Age = tuple[int, RunId, int, str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """What an executor offers; `max_active` 0 is no limit."""

    name: str
    archs: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    max_active: int = 0
    ready: bool = True
    paused: bool = False
    allow_privileged: bool = False
    namespace_selector: JsonObject | None = None
    why_not_ready: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one task needs; `order` breaks ties: level, then name. `run_limit` is the run's maxActiveTasks, 0: none."""

    run: RunId
    task: str
    group: str
    namespace: str
    arch: str | None = None
    privileged: bool = False
    selector: JsonObject | None = None
    priority: int = 0
    run_limit: int = 0
    order: tuple[int, str] = (0, "")

    @property
    def key(self) -> Key:
        """The task, in the whole store."""
        return (self.run, self.task)

    @property
    def age(self) -> Age:
        """Its place among the tasks of its group: a higher priority first, then the older run, then level and name."""
        return (-self.priority, self.run, *self.order, self.task)


MAX_NAMES = 5
"""Executors that a message names."""

_Stage = tuple[Callable[[Place], bool], str]
"""What a place has to be, and what to say when none of those left is."""


def fitting(
    places: Iterable[Place], ask: Ask, namespace_labels: Mapping[str, str]
) -> tuple[tuple[Place, ...], tuple[Reason, str] | None]:
    """Return the places that may take a task once they have a slot; if there are none, why."""
    left = list(places)
    if not left:
        return (), (Reason.NO_EXECUTOR, "there is no Executor; create one")
    for fits, why in _stages(ask, namespace_labels):
        rest = [place for place in left if fits(place)]
        if not rest:
            return (), (Reason.NO_EXECUTOR, f"{why} ({names(_described(place) for place in left)})")
        left = rest
    return tuple(left), None


def _stages(ask: Ask, labels: Mapping[str, str]) -> tuple[_Stage, ...]:
    serving = f"executor for arch {ask.arch}" if ask.arch is not None else "executor"
    return (
        (
            lambda place: place.ready and (ask.arch is None or ask.arch in place.archs),
            f"no ready executor serves arch {ask.arch}" if ask.arch is not None else "no executor is ready",
        ),
        (lambda place: not place.paused, f"every ready {serving} is paused"),
        (
            lambda place: place.allow_privileged or not ask.privileged,
            f"no ready {serving} allows privileged containers and hostPath volumes",
        ),
        (
            lambda place: selects(place.namespace_selector, labels),
            f"no such {serving} takes tasks of namespace {ask.namespace}",
        ),
        (lambda place: selects(ask.selector, place.labels), f"no such {serving} matches the task's executorSelector"),
    )


def _described(place: Place) -> str:
    """Return what an executor is like, for somebody who wonders why it is not taken."""
    if not place.ready:
        return (
            f"{place.name} is not ready: {place.why_not_ready}" if place.why_not_ready else f"{place.name}: not ready"
        )
    return f"{place.name}: {' '.join(place.archs)}"


def names(texts: Iterable[str]) -> str:
    """Return texts as a list for people, the first few of them."""
    every = list(texts)
    more = f" and {len(every) - MAX_NAMES} more" if len(every) > MAX_NAMES else ""
    return ", ".join(every[:MAX_NAMES]) + more
