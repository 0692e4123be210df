"""Placement: which executor gets which task.

A task goes to the least loaded executor that is ready, not paused, serves its arch, allows privilege if it needs it,
takes its namespace, matches its selector, and has a free slot. Between runs: fair by group (the group with the fewest
tasks on executors first), then priority, then age. A task that fits nowhere waits and blocks nobody.

Tasks that ask for the same thing form one class; a class without a free executor is passed over as a whole, so that
thousands of waiting tasks cost nothing while no slot is free.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from runabout.records import Reason, RunId
from runabout.records.json import JsonObject
from runabout.scheduling.selectors import selects


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
    """What one task needs; `order` breaks ties: level, then name."""

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
    def key(self) -> tuple[RunId, str]:
        """The task, in the whole store."""
        return (self.run, self.task)


class Placement:
    """Who is where, who waits, and for what."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._load: Counter[str] = Counter()
        self._by_run: Counter[RunId] = Counter()
        self._by_group: Counter[str] = Counter()
        self._placed: dict[tuple[RunId, str], tuple[str, str]] = {}
        self._waiting: dict[tuple[RunId, str], Ask] = {}

    # who offers what

    def set_place(self, place: Place) -> None:
        """Take an executor, or its new settings."""
        self._places[place.name] = place

    def remove_place(self, name: str) -> None:
        """Forget an executor; what is on it stays counted until it is released."""
        self._places.pop(name, None)

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """Take a namespace's labels, None when it is gone."""
        if labels is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = labels

    def active(self, executor: str) -> int:
        """Return how many tasks are on an executor."""
        return self._load[executor]

    def waiting(self, executor: str) -> int:
        """Return how many waiting tasks this executor serves once it has a slot."""
        place = self._places.get(executor)
        if place is None:
            return 0
        return sum(1 for ask in self._waiting.values() if self._misfit(place, ask) is None)

    def __len__(self) -> int:
        return len(self._waiting)

    # who is where

    def occupy(self, ask: Ask, executor: str) -> None:
        """Count a task as being on an executor; again has no effect."""
        self._waiting.pop(ask.key, None)
        if ask.key in self._placed:
            return
        self._placed[ask.key] = (executor, ask.group)
        self._load[executor] += 1
        self._by_run[ask.run] += 1
        self._by_group[ask.group] += 1

    def release(self, run: RunId, task: str) -> None:
        """Free a task's slot; a task that is nowhere has none."""
        placed = self._placed.pop((run, task), None)
        if placed is None:
            return
        executor, group = placed
        for counter, key in ((self._load, executor), (self._by_run, run), (self._by_group, group)):
            counter[key] -= 1  # type: ignore[index] # three counters with a key type each
            if not counter[key]:  # type: ignore[index] # as above
                del counter[key]

    # who waits

    def ask(self, asks: Iterable[Ask]) -> None:
        """Have tasks wait for an executor; a task that is on one is not taken."""
        for item in asks:
            if item.key not in self._placed:
                self._waiting[item.key] = item

    def withdraw(self, run: RunId, keep: Iterable[str] = ()) -> None:
        """Let no task of a run wait but those named."""
        kept = set(keep)
        for key in [key for key in self._waiting if key[0] == run and key[1] not in kept]:
            del self._waiting[key]

    def place(self) -> Iterator[tuple[Ask, str]]:
        """Give waiting tasks to executors while there are free slots; each is occupied when it is returned."""
        if not any(place.ready and not place.paused and self._free(place) for place in self._places.values()):
            return
        full: set[tuple[object, ...]] = set()
        for ask in self._fair_order():
            kind = (ask.arch, ask.privileged, repr(ask.selector), ask.namespace)
            if kind in full or (ask.run_limit and self._by_run[ask.run] >= ask.run_limit):
                continue
            fitting = [
                place for place in self._places.values() if self._misfit(place, ask) is None and self._free(place)
            ]
            if not fitting:
                full.add(kind)
                continue
            best = min(fitting, key=lambda place: (self._share(place), place.name))
            self.occupy(ask, best.name)
            yield ask, best.name

    def _fair_order(self) -> Iterator[Ask]:
        """Return waiting tasks, the group with the fewest tasks on executors first, counted as they are placed."""
        by_group: dict[str, list[Ask]] = {}
        for ask in self._waiting.values():
            by_group.setdefault(ask.group, []).append(ask)
        for asks in by_group.values():
            asks.sort(key=lambda ask: (-ask.priority, ask.run, ask.order), reverse=True)
        while by_group:
            group = min(
                by_group, key=lambda name: (self._by_group[name], -by_group[name][-1].priority, by_group[name][-1].run)
            )
            asks = by_group[group]
            placed = self._by_group[group]
            while asks:
                yield asks.pop()
                if self._by_group[group] > placed and len(by_group) > 1:
                    break
            if not asks:
                del by_group[group]

    def _free(self, place: Place) -> bool:
        return place.max_active == 0 or self._load[place.name] < place.max_active

    def _share(self, place: Place) -> float:
        load = self._load[place.name]
        return load / place.max_active if place.max_active else load / 1_000_000

    def why(self, ask: Ask) -> tuple[Reason, str]:
        """Return why a waiting task is on no executor."""
        if ask.run_limit and self._by_run[ask.run] >= ask.run_limit:
            return (Reason.NO_FREE_SLOT, f"the run's maxActiveTasks of {ask.run_limit} is reached")
        if not self._places:
            return (Reason.NO_EXECUTOR, "there is no Executor; create one")
        full = [place for place in self._places.values() if self._misfit(place, ask) is None]
        if full:
            names = ", ".join(f"{place.name} ({self._load[place.name]} of {place.max_active})" for place in full[:5])
            return (Reason.NO_FREE_SLOT, f"no free slot on executor {names}")
        if ask.arch is not None and not any(place.ready and ask.arch in place.archs for place in self._places.values()):
            return (Reason.NO_EXECUTOR, f"no ready executor serves arch {ask.arch}")
        reasons = (f"{place.name}: {self._misfit(place, ask)}" for place in list(self._places.values())[:5])
        return (Reason.NO_EXECUTOR, f"no executor fits: {'; '.join(reasons)}")

    def _misfit(self, place: Place, ask: Ask) -> str | None:
        """Return why a task can never be on this executor as things are, slots apart; None if it can."""
        if not place.ready:
            return f"not ready ({place.why_not_ready})" if place.why_not_ready else "not ready"
        if place.paused:
            return "paused"
        if ask.arch is not None and ask.arch not in place.archs:
            return f"does not serve arch {ask.arch}"
        if ask.privileged and not place.allow_privileged:
            return "does not allow privileged containers"
        if not selects(place.namespace_selector, self._namespaces.get(ask.namespace, {})):
            return f"does not take namespace {ask.namespace}"
        if not selects(ask.selector, place.labels):
            return "does not match the task's executorSelector"
        return None
