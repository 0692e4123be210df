"""What a process takes from the store when it begins."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from fixtures.states import NOW, created, task_spec
from runabout.control.executors import Executors
from runabout.control.ledger import RUN, TASK, Change, Ledger
from runabout.control.metrics import Metrics
from runabout.control.objects import RunObjects, Uid
from runabout.control.opener import Opener
from runabout.control.order import Order
from runabout.control.queue import WorkQueue
from runabout.control.reconciler import Reconciler
from runabout.control.restarts import Restarts
from runabout.control.runrows import run_index
from runabout.datamanager import Put, Transaction, open_store
from runabout.etcd.memory import MemoryEtcd
from runabout.records import RunId

IDS = tuple(RunId(f"1il7g1c00000{number}") for number in (1, 2, 3))


@pytest.mark.looptime
@pytest.mark.parametrize("damaged", [(RUN, IDS[1]), (TASK, f"{IDS[1]}/a")], ids=["run", "task"])
async def test_one_damaged_record_keeps_no_other_run_from_going_on(damaged: tuple[str, str]) -> None:
    store = await open_store(MemoryEtcd(), index=run_index(Path()))
    ledger, metrics = Ledger(store), Metrics()
    for number, run in enumerate(IDS):
        state = created(task_spec("a"))
        state = replace(
            state,
            run=replace(state.run, id=run, uid=f"u{number}"),
            config=replace(state.config, id=run, uid=f"u{number}"),
        )
        await ledger.commit(
            Change(state.run, tuple(replace(task, run=run) for task in state.tasks.values()), (), state.config)
        )
    await store.commit(Transaction(actions=(Put(*damaged, b"not a record"),), groups=frozenset()))

    queue: WorkQueue[Uid] = WorkQueue(clock=asyncio.get_running_loop().time)
    unused = cast("Any", None)
    reconciler = Reconciler(
        ledger=ledger,
        objects=RunObjects(),
        queue=queue,
        order=Order(
            executors=Executors(toolbox_image="t", toolbox_pull_policy="Never"), wake=queue.add, now=lambda: NOW
        ),
        opener=Opener(ledger=ledger, restarts=Restarts(ledger=ledger, objects=RunObjects()), store=0, now=lambda: NOW),
        observer=unused,
        actions=unused,
        reporter=unused,
        metrics=metrics,
        now=lambda: NOW,
        clock=asyncio.get_running_loop().time,
    )
    assert await reconciler.restore() == 2
    assert set(reconciler.lives) == {"u0", "u2"}
    assert metrics.registry.get_sample_value("runabout_records_unreadable_total") == 1
    await store.close()
