"""From a Run to its record: reading the one that exists or creating it, setup errors and all."""

from collections.abc import Callable

from runabout.control.config import checked_config, refused_config
from runabout.control.ledger import Ledger
from runabout.control.live import LiveRun
from runabout.control.objects import RunObject, Uid
from runabout.engine.create import create_run
from runabout.engine.graph import Graph
from runabout.engine.groups import root_group
from runabout.records import Counter, IdGenerator, RunId


class Opener:
    """Opens runs; ids and counters are given here, in the order of the calls."""

    def __init__(self, *, ledger: Ledger, store: int, now: Callable[[], int]) -> None:
        self._ledger = ledger
        self._ids = IdGenerator(store=store, last=ledger.last_id())
        self._counters: dict[str, int] = {}
        """by root group; only of groups whose last number is not in the store yet"""
        self._now = now

    def recorded(self, uid: Uid) -> LiveRun | None:
        """Return the run of a Run from the store, None if it has no record."""
        run = self._ledger.run_of(uid)
        return None if run is None else self.load(run)

    def load(self, run: RunId) -> LiveRun | None:
        """Return a run from the store."""
        state = self._ledger.state(run)
        if state is None:
            return None
        live = LiveRun(Uid(state.run.uid), state, Graph(state.config.tasks))
        live.adopt(since=self._now())
        return live

    def create(self, run: RunObject) -> LiveRun:
        """Return a new run for a Run without a record, not committed yet, with its first events."""
        now = self._now()
        config = checked_config(run, id=self._ids.next(now), created=now)
        decision = create_run(config, counter=self._next_counter(config.group), now=now)
        return LiveRun(run.uid, decision.state, Graph(config.tasks), new=True, first_events=decision.events)

    def refused(self, live: LiveRun, problem: str) -> LiveRun:
        """Return a new run in place of one that the store does not take: over, with its setup errors and this one."""
        config = refused_config(live.state.config, f"spec: {problem}")
        decision = create_run(config, counter=live.state.run.counter, now=self._now())
        return LiveRun(live.uid, decision.state, Graph(()), new=True, first_events=decision.events)

    def counter(self, group: str) -> Counter:
        """Return the counter of a group's root group, as far as numbers were given."""
        root = root_group(group)
        return Counter(root, max(self._counters.get(root, 0), self._ledger.counter(root)))

    def committed(self, group: str) -> None:
        """Leave the counter of a group's root group to the store, once it has the last number given."""
        root = root_group(group)
        if self._counters.get(root, 0) <= self._ledger.counter(root):
            self._counters.pop(root, None)

    def _next_counter(self, group: str) -> int:
        """Return the next number of a group's root group; numbers are unique, gaps allowed."""
        number = self.counter(group).last + 1
        self._counters[root_group(group)] = number
        return number
