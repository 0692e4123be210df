"""From a Run to its record: reading the one that exists or creating it, setup errors and all."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from runabout.control.config import checked_config, refused_config
from runabout.control.ledger import Ledger
from runabout.control.live import LiveRun
from runabout.control.objects import RunObject, Uid
from runabout.control.restarts import Restarts, first_decision, restarted
from runabout.engine.create import create_run
from runabout.engine.graph import Graph
from runabout.engine.groups import root_group
from runabout.records import Counter, IdGenerator, RunId


@dataclass(slots=True)
class _Given:
    """The last number given in a root group, and how many of those given are not committed yet."""

    last: int
    waiting: int = 0


class Opener:
    """Opens runs; ids and counters are given here, in the order of the calls."""

    def __init__(
        self, *, ledger: Ledger, restarts: Restarts, store: int, now: Callable[[], int], gateway: bool = True
    ) -> None:
        self._gateway = gateway
        self._ledger = ledger
        self._restarts = restarts
        self._ids = IdGenerator(store=store, last=ledger.last_id())
        self._given: dict[str, _Given] = {}
        """by root group; only of groups of which some number is not in the store yet"""
        self._creating = asyncio.Lock()
        self._now = now

    async def recorded(self, uid: Uid, *, submitted: int, known_as: str = "") -> LiveRun | None:
        """Return the run of a Run from the store, None if it has no record; errors as those of the ledger's reads.

        `submitted` is when the Run was created, in milliseconds since 1970. `known_as` is the id that its status says:
        with it the uid need not be looked up.
        """
        live = await self.load(RunId(known_as)) if known_as else None
        if live is not None and live.uid == uid:
            return live
        run = await self._ledger.run_of(uid, submitted=submitted)
        return None if run is None else await self.load(run)

    async def load(self, run: RunId) -> LiveRun | None:
        """Return a run from the store; errors as those of the ledger's reads."""
        found = await self._ledger.partial(run)
        if found is None:
            return None
        state, missing = found
        live = LiveRun(Uid(state.run.uid), state, Graph(state.config.tasks), unwritten=set(missing))
        live.adopt(since=self._now())
        return live

    async def create(self, run: RunObject) -> LiveRun:
        """Return a new run for a Run without a record, not committed yet, with its first events.

        Errors as those of the ledger's reads.
        """
        restart = await self._restarts.find(run)
        async with self._creating:
            now = self._now()
            config = checked_config(run, id=self._ids.next(now), created=now, gateway=self._gateway)
            if restart is not None:
                config = restarted(config, restart)
            counter = await self._next_counter(config.group)
            decision = first_decision(config, restart, counter=counter, now=now)
        live = LiveRun(run.uid, decision.state, Graph(config.tasks), new=True, first_events=decision.events)
        live.read_at = restart.read_at if restart is not None else None
        return live

    def refused(self, live: LiveRun, problem: str) -> LiveRun:
        """Return a new run in place of one that the store does not take: over, with its setup errors and this one."""
        config = refused_config(live.state.config, f"spec: {problem}")
        decision = create_run(config, counter=live.state.run.counter, now=self._now())
        return LiveRun(live.uid, decision.state, Graph(()), new=True, first_events=decision.events)

    def counter(self, group: str) -> Counter:
        """Return the counter of a group's root group, of which a number was given that is not committed yet."""
        root = root_group(group)
        return Counter(root, self._given[root].last)

    def committed(self, group: str) -> None:
        """Take note that a run is committed, with its counter; the store has that, once all numbers given are."""
        root = root_group(group)
        given = self._given[root]
        given.waiting -= 1
        if not given.waiting:
            del self._given[root]

    def abandoned(self, group: str) -> None:
        """Take note that a new run is given up; its number is nobody's, or the next one's."""
        self.committed(group)

    async def _next_counter(self, group: str) -> int:
        """Return the next number of a group's root group; numbers are unique, gaps allowed."""
        root = root_group(group)
        if root not in self._given:
            # One at a time, and nothing of this root group is being committed: what is read stays true.
            self._given[root] = _Given(await self._ledger.counter(root))
        given = self._given[root]
        given.last += 1
        given.waiting += 1
        return given.last
