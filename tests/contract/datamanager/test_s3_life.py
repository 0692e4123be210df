"""A store whose bucket is behind a bad network: of all that can happen to a request, something does all the time."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from aiohttp import web

from contract.datamanager.conftest import BUCKET
from fixtures.s3_proxy import Fault, proxy
from fixtures.s3_server import S3Server
from lab.checkpoints import NEVER, checkpoint, checkpointer, covered, seal, write
from lab.damage import EAGER
from lab.etcds import MemoryLab
from lab.stores import DOC, Stores, delete, note, view
from runabout.datamanager import SealPolicy
from runabout.datamanager.audit import audit_store
from runabout.ost import open_ost

FAULTS = [
    Fault(status=500),
    Fault(status=503, code="SlowDown"),
    Fault(status=409, code="OperationAborted"),
    Fault(status=409, code="ConditionalRequestConflict"),
    Fault(reset=True),
    Fault(cut_request=True),
    Fault(lose_answer=True),
    Fault(cut_after=100),
    Fault(trickle=0.05),
]
SHARE = 0.3
"""Of requests that have a fault."""


def mixed(source: Random, met: list[Fault]) -> Callable[[web.Request], Fault | None]:
    """Return a judge that lets requests have any fault, each as often as any other, and notes which there were."""
    left: list[Fault] = []

    def judge(_request: web.Request) -> Fault | None:
        if source.random() >= SHARE:
            return None
        if not left:
            left.extend(source.sample(FAULTS, len(FAULTS)))
        met.append(left.pop())
        return met[-1]

    return judge


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_store_lives_its_whole_life_over_a_bad_network(versitygw: S3Server, seed: int) -> None:
    met: list[Fault] = []
    async with proxy(versitygw, mixed(Random(seed), met)) as between, MemoryLab() as lab:
        place = replace(between.server.settings(BUCKET, uuid.uuid4().hex), request_timeout_seconds=5.0)
        ost = await open_ost(place)
        stores = Stores(lab, 0, ost=ost, policy=SealPolicy(interval=NEVER), checkpoints=EAGER)
        async with stores:
            store = await stores.open()
            for part in range(3):
                await write(store, 5, prefix=f"{part} ")
                await store.commit(note(b"%d" % part))
                await seal(store)
            first = await checkpoint(store)
            await store.commit(delete("0 0000"))
            await write(store, 5, prefix="later ")
            second = await checkpoint(store)
            await checkpointer(store).collect()
            assert second.covers > first.covers
            await write(store, 2, prefix="sealed ")
            await seal(store)
            await write(store, 2, prefix="in etcd alone ")
            seen = await view(store)
            assert len(seen[DOC]) == 15 - 1 + 5 + 2 + 2
            await store.close()
            again = await stores.open()
            assert (await view(again), again.damage, again.recovery) == (seen, (), None)
            assert await covered(stores) == second.covers
            await again.close()
        direct = await open_ost(replace(place, s3_endpoint=versitygw.endpoint))
        report = await audit_store(lab.etcd, direct, stores.keys)
        assert (report.findings, report.notes) == ((), ())
        await direct.close()
        await ost.close()
    assert len(met) >= 2 * len(FAULTS)
