"""The same histories with commits that wait for their seal: no loss of etcd takes back what anybody was told.

Here losses come while commits are under way, too, and may find them anywhere between etcd and the object storage.
"""

import asyncio
import copy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from contract.datamanager.test_checkpoint_model import ACTIONS, Checkpoints
from lab.stores import View, view
from runabout.datamanager import Action, Case, Committed, Durability, StoreError, Transaction

SOME = st.lists(ACTIONS, min_size=1, max_size=3)


class DurableHistories(Checkpoints):
    durability = Durability.OBJECT

    @rule(actions=SOME, losses=st.lists(st.tuples(st.sampled_from(["before", "after"]), st.integers(0, 6)), max_size=4))
    def commit_while_calls_fail(self, actions: list[Action], losses: list[tuple[str, int]]) -> None:
        """Failures that pass delay the answer and change nothing of it."""
        self.losses = losses
        self._commit(actions)
        self.losses = []

    @rule(
        some=st.lists(SOME, min_size=1, max_size=5),
        apart=st.integers(0, 12),
        slow=st.lists(st.integers(0, 40), max_size=12),
        told=st.integers(0, 3),
        turns=st.integers(0, 40),
    )
    def lose_etcd_while_commits_wait(
        self, some: list[list[Action]], apart: int, slow: list[int], told: int, turns: int
    ) -> None:
        states: list[View] = [copy.deepcopy(self.model)]
        for actions in some:
            self._take(actions)
            states.append(copy.deepcopy(self.model))
        self.turns = slow
        known = self.run(self._told(some, apart, told, turns))
        self.turns = []
        self.run(self.stores.wipe())
        self.store = self.run(self.stores.open())
        assert self.store.recovery is not None
        assert self.store.recovery.case is Case.WIPED
        assert self.store.damage == ()
        found = self.run(view(self.store, self.kinds))
        assert found in states[known:], "what was told is there, all before it, and of the rest the first ones"
        self.model = found
        self.covered = 0
        self.life += 1
        self._all_is_sealed()

    async def _told(self, some: list[list[Action]], apart: int, told: int, turns: int) -> int:
        """Commit one after the other, some turns apart; once so many were told, and some turns later, the process dies.

        Return up to which one somebody was told by then; of two whose seals end together either may hear it first.
        """
        waiting: list[asyncio.Task[Committed]] = []
        for actions in some:
            waiting.append(asyncio.create_task(self.store.commit(Transaction(tuple(actions)))))
            for _ in range(apart):
                await asyncio.sleep(0)
        if told:
            await asyncio.wait(waiting[:told])
        for _ in range(turns):
            await asyncio.sleep(0)
        await self.stores.crash()
        known = [each.done() and each.exception() is None for each in waiting]  # who hears `Unknown` knows nothing
        for each in waiting:
            each.cancel()
        for found in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(found, Committed | StoreError | asyncio.CancelledError), found
        return max((place for place, done in enumerate(known, start=1) if done), default=0)


TestDurableHistories = DurableHistories.TestCase
TestDurableHistories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
