"""After any history of commits, checkpoints, crashes, losses and damage the index answers as all documents do."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from contract.datamanager.test_checkpoint_model import READS, Checkpoints
from lab.checkpoints import NEVER, SMALL, checkpointer
from lab.indexed import CONFIG, GROUPS, RUN, check, created, gone, labelled, record, source
from lab.stores import DOC, NOTE
from runabout.datamanager import Action, CheckpointPolicy, IndexSource, Put, ReadPolicy
from runabout.records import Phase, Result

PLACES = st.integers(1, 24)
TEAMS = st.sampled_from(["red", "blue"])
RECORDS = st.builds(
    record,
    PLACES,
    group=st.integers(0, len(GROUPS) - 1),
    phase=st.sampled_from(Phase),
    result=st.sampled_from(Result),
)
ACTIONS: st.SearchStrategy[tuple[Action, ...]] = (
    st.builds(created, PLACES, group=st.integers(0, len(GROUPS) - 1), team=TEAMS)
    | st.tuples(RECORDS)
    | st.tuples(st.builds(labelled, PLACES, TEAMS))
    | st.tuples(st.builds(gone, PLACES, st.sampled_from([RUN, CONFIG])))
    | st.tuples(st.builds(lambda place: Put(RUN, record(place).key, b"[]"), PLACES))
    | st.just((Put(RUN, "no run's id", b"{}"),))
)
POLICIES = [
    replace(SMALL, group=1, rows=3, orphan_seconds=-NEVER),
    replace(SMALL, group=30, small=0, rows=4, most_changes=1, orphan_seconds=-NEVER),
    replace(SMALL, rows=3, keep=2, keep_seconds=NEVER, orphan_seconds=-NEVER),
    CheckpointPolicy(interval=NEVER),
]


class Indexes(Checkpoints):
    kinds = (DOC, NOTE, RUN, CONFIG)

    def new_runner(self) -> asyncio.Runner:
        # Files are decoded in threads, and a loop whose time is not real does not wait for them.
        return asyncio.Runner()

    def source(self) -> IndexSource | None:
        return self.indexed

    @initialize(policy=st.sampled_from(POLICIES), reads=st.sampled_from(READS), labels=st.sampled_from([(), ("team",)]))
    def begin(self, policy: CheckpointPolicy, reads: ReadPolicy = READS[0], labels: tuple[str, ...] = ()) -> None:
        self.scratch = tempfile.TemporaryDirectory()
        self.indexed = source(Path(self.scratch.name), labels=labels)
        super().begin(policy, reads)

    @rule(some=st.lists(ACTIONS, min_size=1, max_size=8))
    def commit_runs(self, some: list[tuple[Action, ...]]) -> None:
        self._commit([action for actions in some for action in actions])

    def index_objects(self) -> list[str]:
        found = checkpointer(self.store).manifest
        return [] if found is None or found.index is None else [each.object for each in found.index.files]

    @precondition(lambda self: self.index_objects())
    @rule(place=st.integers(0, 100), missing=st.booleans(), after=st.booleans())
    def damage_an_index_file(self, place: int, missing: bool, after: bool) -> None:
        """It is seen by the next opening, or by a checkpoint that needs it."""
        objects = self.index_objects()
        key = objects[place % len(objects)]
        self.run(self._damage(key, missing=missing))
        if after:
            self.commit_runs([(record(number),) for number in range(1, 25)])
            self.seal()
            self.cover([])
            assert any(key in each for each in self.store.damage)
            self.open_again(graceful=True)
            return
        self.run(self.stores.crash())
        self.store = self.run(self.stores.open())
        assert [key in each for each in self.store.damage] == [True]
        self._all_is_sealed()
        self.cover([])
        assert key not in self.index_objects()

    async def _damage(self, key: str, *, missing: bool) -> None:
        assert self.stores.ost is not None
        data = await self.stores.ost.read(key)
        await self.stores.ost.delete(key)
        if not missing:
            await self.stores.ost.write(key, data[:-1])

    @invariant()
    def the_index_answers_as_all_documents_do(self) -> None:
        self.run(self.store.indexed())
        check(self.store.runs, self.model, labels=self.indexed.labels)

    @invariant()
    def files_have_the_runs_that_are_covered(self) -> None:
        found = checkpointer(self.store).manifest
        assert found is None or found.index is not None

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "scratch"):
            assert not list(Path(self.scratch.name).iterdir()), "scratch files have no name"
            self.scratch.cleanup()


TestIndexes = Indexes.TestCase
TestIndexes.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
