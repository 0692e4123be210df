"""A stop of what waits, for whatever it is, is done in one pass."""

from pathlib import Path
from typing import Any

import pytest

from fixtures.fake_kube import FakeKube
from fixtures.states import task_spec
from lab.desk import desk
from runabout.control.objects import Uid
from runabout.etcd.memory import MemoryEtcd
from runabout.ost import MemoryObjectStore
from runabout.records import Phase, Result, Status

GROUP = "/project/web/branch/main"
WAITS: dict[str, tuple[dict[str, Any], Phase]] = {
    "its group": ({"tasks": [task_spec("a")]}, Phase.CANCELLED),
    "suspend": ({"group": "/a/b", "tasks": [task_spec("a")], "suspend": True}, Phase.CANCELLED),
    "an executor": ({"group": "/a/b", "tasks": [task_spec("a"), task_spec("b")]}, Phase.FINISHED),
    "an approval": ({"group": "/a/b", "tasks": [task_spec("a", needsApproval=True)]}, Phase.FINISHED),
    "its parent": (
        {"group": "/a/b", "tasks": [task_spec("a"), task_spec("b", depends=[{"task": "a"}])]},
        Phase.FINISHED,
    ),
}


@pytest.mark.parametrize("deleted", [False, True], ids=["stop", "deletion"])
@pytest.mark.parametrize(("spec", "phase"), WAITS.values(), ids=WAITS)
async def test_what_waits_is_over_after_one_pass(
    tmp_path: Path, spec: dict[str, Any], phase: Phase, *, deleted: bool
) -> None:
    async with FakeKube() as fake, desk(fake, tmp_path, etcd=MemoryEtcd(), ost=MemoryObjectStore()) as here:
        await here.create("holder", group=GROUP, tasks=[task_spec("a")])
        await here.work("holder")
        await here.create("waits", **{"group": GROUP, **spec})
        await here.work("waits")
        assert (await here.run("waits")).phase not in (Phase.CANCELLED, Phase.FINISHED)
        before = here.parts.order.waiting
        uid = Uid(here.body("waits")["metadata"]["uid"])
        if deleted:
            record = (await here.run("waits")).id
            here.parts.news.run_gone(uid)
        else:
            await here.change("waits", stop=True)
            record = (await here.run("waits")).id
        await here.parts.reconciler.reconcile(uid)
        state = await here.ledger.state(record)
        assert state is not None
        assert (state.run.phase, state.run.stop) == (phase, True)
        if phase is Phase.FINISHED:
            assert state.run.result is Result.STOPPED
            assert {task.status for task in state.tasks.values()} == {Status.SKIPPED}
        assert here.parts.order.waiting <= min(before, 1)  # the holder's task
