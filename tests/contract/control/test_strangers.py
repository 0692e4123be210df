"""Other programs read the history from the object storage as it is: DuckDB, as docs/guides/query-history.md says."""

import re
from dataclasses import replace
from pathlib import Path

import duckdb

from fixtures.states import NOW, created, finished, task_spec
from lab.checkpoints import NEVER, checkpoint, checkpointer, seal
from lab.etcds import MemoryLab
from lab.stores import Stores
from runabout.control.ledger import RUN, Change, Ledger
from runabout.control.tables import TABLES
from runabout.datamanager import CheckpointPolicy, Delete, Put, SealPolicy, Store, Transaction
from runabout.engine.state import State
from runabout.ost import OstSettings, open_ost
from runabout.records import Result, RunId

GUIDE = Path(__file__).parents[3] / "docs/guides/query-history.md"
HOUR = 3_600_000


def a_run(number: int, name: str) -> State:
    """Return a run of two tasks that took `number` hours."""
    state = finished(created(task_spec("a"), task_spec("b")), Result.SUCCESS)
    run = RunId(f"1il7g1c00000{number}")
    return State(
        config=replace(state.config, id=run),
        run=replace(state.run, id=run, name=name, started=NOW, ended=NOW + number * HOUR),
        tasks={task.name: replace(task, run=run) for task in state.tasks.values()},
    )


async def write(store: Store, state: State) -> None:
    await Ledger(store).commit(Change(state.run, tuple(state.tasks.values()), (), state.config))


def queries() -> list[str]:
    """Return the queries of the guide."""
    return re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)


async def test_duckdb_reads_the_newest_state_of_every_run_and_task_by_typed_columns(tmp_path: Path) -> None:
    ost = await open_ost(OstSettings(f"file://{tmp_path}"))
    stores = Stores(
        MemoryLab(),
        0,
        ost=ost,
        policy=SealPolicy(interval=NEVER),
        checkpoints=CheckpointPolicy(interval=NEVER, small=0),
        tables=TABLES,
    )
    async with stores:
        store = await stores.open()
        for number in range(1, 5):
            await write(store, a_run(number, f"build-{number % 2}"))
        await store.commit(Transaction((Put(RUN, "unreadable", b"{}"),)))
        await checkpoint(store)
        await write(store, a_run(1, "renamed"))
        await checkpoint(store)
        await store.commit(Transaction((Delete(RUN, "1il7g1c000004"),)))
        await seal(store)  # and not covered: not seen by others yet
        manifest = checkpointer(store).manifest
        assert manifest is not None
        assert {file.type for file in manifest.files} >= {"run", "task", "runconfig", "byuid"}
        folder = str(tmp_path / "objects/store+/0+/data+")
        with duckdb.connect(config={"threads": 1}) as connection:
            newest, *questions = (
                re.sub(r"s3://BUCKET/store/0/data/(\w+)", rf"{folder}/\1+", query) for query in queries()
            )
            connection.execute(newest)
            assert connection.execute("SELECT key, name, result FROM newest ORDER BY key").fetchall() == [
                ("1il7g1c000001", "renamed", "success"),
                ("1il7g1c000002", "build-0", "success"),
                ("1il7g1c000003", "build-1", "success"),
                ("1il7g1c000004", "build-0", "success"),
                ("unreadable", None, None),
            ]
            answers = [connection.execute(question).fetchall() for question in questions]
            assert [(name, runs, str(mean)) for name, runs, mean in answers[0]] == [
                ("build-0", 2, "3:00:00"),
                ("build-1", 1, "3:00:00"),
                ("renamed", 1, "1:00:00"),
            ]
            assert answers[1] == []
    await ost.close()
