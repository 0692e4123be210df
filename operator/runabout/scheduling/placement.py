"""Placing tasks: which executor gets which task, now.

A task goes to the least loaded executor (fewest tasks on it) that fits and has a free slot. Between runs: the namespace
with the fewest tasks on executors first, then the root group, then the group, then priority, then age. A task that fits
nowhere, or whose run has as many tasks as it may, waits and blocks nobody. There are never more than `max_active` tasks
on an executor.

Waiting tasks stand in lines by the executors that fit them (see `line`): what has no free slot is passed over as a
whole, so placing costs something for each task that is placed, and next to nothing for those that wait. Only a change
of an executor looks at all that wait. Everything here is made again from records with `occupy` and `ask`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from runabout.records import Reason, RunId
from runabout.scheduling.held import Held
from runabout.scheduling.line import Line, Rank
from runabout.scheduling.offers import Ask, Key, Place, fitting, names
from runabout.scheduling.shares import Path, Shares, path_of

MAX_KINDS = 10_000
"""Kinds of tasks of which is remembered what fits them."""

__all__ = ["Ask", "Place", "Placement"]


class Placement:
    """Who is where, who waits, and for what."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._load: Counter[str] = Counter()
        self._by_run: Counter[RunId] = Counter()
        self._shares = Shares()
        self._placed: dict[Key, tuple[str, Path]] = {}
        self._waiting: dict[Key, Ask] = {}
        self._of_run: dict[RunId, set[str]] = {}
        """names of each run's waiting tasks"""
        self._lines: dict[tuple[str, ...], Line] = {}
        """by the names of the executors that fit"""
        self._line_of: dict[Key, tuple[str, ...]] = {}
        self._held = Held()
        """waiting tasks that stand in no line, because their run has as many tasks as it may"""
        self._fits: dict[tuple[object, ...], tuple[tuple[str, ...], tuple[Reason, str] | None]] = {}
        """what fits each kind of task, as long as executors and namespaces stay as they are"""

    # who offers what

    def set_place(self, place: Place) -> None:
        """Take an executor, or its new settings."""
        before = self._places.get(place.name)
        self._places[place.name] = place
        if before != place:
            self._fit_again()

    def remove_place(self, name: str) -> None:
        """Forget an executor; what is on it stays counted until it is released."""
        if self._places.pop(name, None) is not None:
            self._fit_again()

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """Take a namespace's labels, None when it is gone."""
        before = self._namespaces.get(name)
        if labels is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = labels
        if before != labels and any(place.namespace_selector for place in self._places.values()):
            self._fit_again()

    def active(self, executor: str) -> int:
        """Return how many tasks are on an executor."""
        return self._load[executor]

    def waiting(self, executor: str) -> int:
        """Return how many waiting tasks this executor could take if it had slots.

        Of a run with a limit these are at least as many as it may have more on executors, and not all that wait.
        """
        return sum(len(line) for places, line in self._lines.items() if executor in places)

    def __len__(self) -> int:
        return len(self._waiting)

    # who is where

    def occupy(self, ask: Ask, executor: str) -> None:
        """Count a task as being on an executor; again has no effect."""
        self._withdraw(ask.key)
        if ask.key in self._placed:
            return
        path = path_of(ask.namespace, ask.group)
        self._placed[ask.key] = (executor, path)
        self._load[executor] += 1
        self._by_run[ask.run] += 1
        self._shares.add(path)

    def release(self, run: RunId, task: str) -> None:
        """Free a task's slot; a task that is nowhere has none."""
        placed = self._placed.pop((run, task), None)
        if placed is None:
            return
        executor, path = placed
        _less(self._load, executor)
        _less(self._by_run, run)
        self._shares.remove(path)
        for line in self._lines.values():
            line.moved(path)
        self._let_go(run)

    # who waits

    def ask(self, asks: Iterable[Ask]) -> None:
        """Have tasks wait for an executor; a task that is on one is not taken. Asking anew replaces what was asked."""
        for item in asks:
            if item.key in self._placed or self._waiting.get(item.key) == item:
                continue
            self._withdraw(item.key)
            self._waiting[item.key] = item
            self._of_run.setdefault(item.run, set()).add(item.task)
            self._stand_in_line(item)

    def withdraw(self, run: RunId, keep: Iterable[str] = ()) -> None:
        """Let no task of a run wait but those named."""
        for name in self._of_run.get(run, set()).difference(keep):
            self._withdraw((run, name))

    def place(self) -> tuple[tuple[Ask, str], ...]:
        """Give waiting tasks to executors while there are free slots, and return who went where; all are occupied."""
        placed = []
        while (chosen := self._choose()) is not None:
            ask, executor = chosen
            self.occupy(ask, executor)
            placed.append(chosen)
        return tuple(placed)

    def why(self, ask: Ask) -> tuple[Reason, str]:
        """Return why a waiting task is on no executor."""
        places, reason = self._fit(ask)
        if reason is not None:
            return reason
        if self._is_held(ask):
            return (
                Reason.NO_FREE_SLOT,
                f"the run has {self._by_run[ask.run]} of at most {ask.run_limit} tasks on executors",
            )
        if any(self._is_free(name) for name in places):
            return (Reason.NO_FREE_SLOT, f"waits its turn for executor {names(places)}")
        used = [f"{self._load[name]} of {self._places[name].max_active}" for name in places]
        if len(places) == 1:
            return (Reason.NO_FREE_SLOT, f"executor {places[0]} has no free slot ({used[0]})")
        rows = (f"{name} ({slots})" for name, slots in zip(places, used, strict=True))
        return (Reason.NO_FREE_SLOT, f"no executor has a free slot: {names(rows)}")

    # inside

    def _choose(self) -> tuple[Ask, str] | None:
        """Return the task whose turn it is among all that fit a free slot, and the least loaded executor for it."""
        best: tuple[Rank, Ask, tuple[str, ...]] | None = None
        for places, line in tuple(self._lines.items()):  # holding a task back may end its line
            if not any(self._is_free(name) for name in places):
                continue
            first = self._first(line)
            if first is not None and (best is None or first[0] < best[0]):
                best = (*first, places)
        if best is None:
            return None
        _, ask, places = best
        free = (name for name in places if self._is_free(name))
        return ask, min(free, key=lambda name: (self._load[name], name))

    def _first(self, line: Line) -> tuple[Rank, Ask] | None:
        """Return the first in a line whose run may have another task; those before it are held until it may."""
        while (first := line.first()) is not None:
            ask = first[1]
            if not self._is_held(ask):
                return first
            self._held.add(ask, self._line_of[ask.key])
            self._leave_line(ask.key)
        return None

    def _let_go(self, run: RunId) -> None:
        """Have as many held tasks of a run stand in line again as it may have more on executors."""
        names_waiting = self._of_run.get(run)
        if names_waiting is None:
            self._held.forget(run)
            return
        limit = self._waiting[run, next(iter(names_waiting))].run_limit
        for ask in self._held.let_go(run, limit - self._by_run[run], is_waiting=self._is_in_no_line):
            self._stand_in_line(ask)

    def _is_in_no_line(self, ask: Ask) -> bool:
        return self._waiting.get(ask.key) == ask and ask.key not in self._line_of

    def _is_free(self, name: str) -> bool:
        limit = self._places[name].max_active
        return limit == 0 or self._load[name] < limit

    def _is_held(self, ask: Ask) -> bool:
        return ask.run_limit > 0 and self._by_run[ask.run] >= ask.run_limit

    def _fit(self, ask: Ask) -> tuple[tuple[str, ...], tuple[Reason, str] | None]:
        kind = (ask.arch, ask.privileged, ask.namespace, repr(ask.selector) if ask.selector else None)
        found = self._fits.get(kind)
        if found is None:
            if len(self._fits) >= MAX_KINDS:
                self._fits.clear()  # namespaces and selectors come and go, executors may stay for months
            places, reason = fitting(self._places.values(), ask, self._namespaces.get(ask.namespace, {}))
            found = self._fits[kind] = (tuple(sorted(place.name for place in places)), reason)
        return found

    def _fit_again(self) -> None:
        """Have everybody stand in line anew: another executor, or another namespace, may fit now."""
        self._fits.clear()
        self._lines.clear()
        self._line_of.clear()
        self._held.clear()
        for ask in self._waiting.values():
            self._stand_in_line(ask)

    def _stand_in_line(self, ask: Ask) -> None:
        places, _ = self._fit(ask)
        if not places:
            return
        line = self._lines.get(places)
        if line is None:
            line = self._lines[places] = Line(self._shares)
        line.add(ask)
        self._line_of[ask.key] = places

    def _leave_line(self, key: Key) -> None:
        places = self._line_of.pop(key, None)
        if places is None:
            return
        line = self._lines[places]
        line.remove(key)
        if not line:
            del self._lines[places]

    def _withdraw(self, key: Key) -> None:
        if self._waiting.pop(key, None) is None:
            return
        run, name = key
        self._of_run[run].discard(name)
        if not self._of_run[run]:
            del self._of_run[run]
        self._leave_line(key)
        self._let_go(run)


def _less(counter: Counter[RunId] | Counter[str], key: str) -> None:
    """Count one less; what is at 0 is forgotten."""
    counter[key] -= 1  # type: ignore[index] # a RunId is a str
    if counter[key] <= 0:  # type: ignore[index] # as above
        del counter[key]
