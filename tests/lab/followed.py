"""Records of runs, read beside the operator that writes them."""

import asyncio
from collections.abc import Collection
from pathlib import Path

from runabout.control.ledger import TASK
from runabout.datamanager import follow_store
from runabout.etcd import connect
from runabout.ost import OstSettings, open_ost
from runabout.records import Task
from runabout.records.encoding import decode

SECONDS = 60.0


def recorded_tasks(etcd: str, ost: Path, runs: Collection[str]) -> dict[str, dict[str, Task]]:
    """Return the tasks of runs, by the run's id and the task's name, as of now."""

    async def read() -> dict[str, dict[str, Task]]:
        client = connect(etcd)
        storage = await open_ost(OstSettings(f"file://{ost}"))
        follower = await follow_store(client, ost=storage)
        try:
            await follower.sync(seconds=SECONDS)
            found = {run: await follower.scan(TASK, prefix=f"{run}/") for run in runs}
            states = {run: [decode(Task, body) for _, body in bodies] for run, bodies in found.items()}
            return {run: {task.name: task for task in tasks} for run, tasks in states.items()}
        finally:
            await follower.close()
            await storage.close()
            await client.close()

    return asyncio.run(read())
