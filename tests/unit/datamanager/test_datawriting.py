"""How much of a store is in memory while a checkpoint merges its data files with what changed."""

from dataclasses import replace
from random import Random

import pytest

from lab.checkpoints import NEVER, SMALL, checkpoint, checkpointer, manifest, seal
from lab.etcds import MemoryLab
from lab.stores import DOC, Stores, put
from runabout.datamanager import SealPolicy
from runabout.ost import MemoryObjectStore

pytestmark = pytest.mark.looptime
DOCUMENTS = 400
SIZE = 250
"""Of bodies that no compression makes smaller: four are a file."""
ALL_OF_THEM = replace(SMALL, small=100 * SMALL.file)
"""Every file is small, so that all that touch one another are merged in one go."""


async def test_a_checkpoint_that_merges_every_file_has_few_of_them_in_memory_at_once() -> None:
    source = Random(7)
    async with MemoryLab() as lab:
        policy = SealPolicy(interval=NEVER)
        async with Stores(lab, 0, ost=MemoryObjectStore(), policy=policy, checkpoints=ALL_OF_THEM) as stores:
            store = await stores.open()
            for number in range(DOCUMENTS):
                await store.commit(put(f"{number:04}", source.randbytes(SIZE)))
            await checkpoint(store)
            before = {each.object for each in manifest(store).of(DOC)}
            for number in range(0, DOCUMENTS, 5):
                await store.commit(put(f"{number:04}", source.randbytes(SIZE)))
            await seal(store)
            assert stores.faulty_ost is not None
            reads = stores.faulty_ost.reads
            reads.clear()
            in_memory: list[int] = []

            async def look(name: str, when: str) -> None:
                if (name, when) == ("ost write", "before"):
                    read = before & {key for key, _ in reads}
                    in_memory.append(len(read) - len(in_memory))

            stores.faulty_ost.fault = look
            await checkpointer(store).checkpoint()
            after = {each.object for each in manifest(store).of(DOC)}
            assert not before & after  # each was merged
            assert min(len(before), len(after)) >= 50
            assert max(in_memory) <= 2  # the one that is read, and the one that is filled
