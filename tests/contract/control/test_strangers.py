"""Other programs read the history and its index from the object storage as they are: DuckDB, as the docs say."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from fixtures.bucket_files import BucketFiles
from fixtures.s3_server import credentials, versitygw
from fixtures.states import NOW, created, finished, task_spec, with_task
from lab.checkpoints import NEVER, checkpoint, checkpointer, seal
from lab.etcds import MemoryLab
from lab.stores import Stores
from runabout.control.ledger import RUN, Change, Ledger
from runabout.control.runrows import run_index
from runabout.control.tables import TABLES
from runabout.datamanager import CheckpointPolicy, Delete, Put, SealPolicy, Store, Transaction
from runabout.engine.state import State
from runabout.ost import OstSettings, open_ost
from runabout.records import Reason, Result, RunId, Status, run_id_time

DOCS = Path(__file__).parents[3] / "docs"
GUIDE = DOCS / "guides/query-history.md"
INDEX = DOCS / "internals/run-index.md"
HOUR = 3_600_000


def a_run(number: int, name: str, **failed: Reason) -> State:
    """Return a run of the tasks a and b that took `number` hours, and why some of them failed."""
    state = finished(created(task_spec("a"), task_spec("b")), Result.SUCCESS)
    for task, reason in failed.items():
        state = with_task(state, task, status=Status.FAILED, reason=reason)
    run = RunId(f"1il7g1c00000{number}")
    return State(
        config=replace(state.config, id=run),
        run=replace(state.run, id=run, name=name, started=NOW, ended=NOW + number * HOUR),
        tasks={task.name: replace(task, run=run) for task in state.tasks.values()},
    )


async def write(store: Store, state: State) -> None:
    await Ledger(store).commit(Change(state.run, tuple(state.tasks.values()), (), state.config))


def queries(page: Path) -> list[str]:
    """Return the queries of a page."""
    return re.findall(r"```sql\n(.*?)```", page.read_text(), re.DOTALL)


@asynccontextmanager
async def stored(folder: Path, settings: OstSettings | None = None) -> AsyncIterator[Store]:
    """Return a store in a directory, or in some other place, as an operator writes it."""
    ost = await open_ost(settings or OstSettings(f"file://{folder}"))
    (folder / "scratch").mkdir()
    stores = Stores(
        MemoryLab(),
        0,
        ost=ost,
        policy=SealPolicy(interval=NEVER),
        checkpoints=CheckpointPolicy(interval=NEVER, small=0),
        tables=TABLES,
        index=run_index(folder / "scratch"),
    )
    async with stores:
        yield await stores.open()
    await ost.close()


async def write_history(store: Store) -> None:
    await write(store, a_run(1, "build-1", b=Reason.TIMEOUT))
    await write(store, a_run(2, "build-0"))
    await write(store, a_run(3, "build-1", a=Reason.EXIT_CODE))
    await write(store, a_run(4, "build-0", a=Reason.EXIT_CODE, b=Reason.OOM_KILLED))
    await store.commit(Transaction((Put(RUN, "unreadable", b"{}"),)))
    await checkpoint(store)
    await write(store, a_run(1, "renamed"))
    await checkpoint(store)
    await store.commit(Transaction((Delete(RUN, "1il7g1c000004"),)))
    await seal(store)  # and not covered: not seen by others yet
    manifest = checkpointer(store).manifest
    assert manifest is not None
    assert {file.type for file in manifest.files} >= {"run", "task", "runconfig", "byuid"}


def answer(connection: duckdb.DuckDBPyConnection, pattern: str, place: str) -> None:
    """Have the queries of the guide answered, for the folders that `pattern` finds in them in some other place."""
    newest, *questions = (re.sub(pattern, place, query) for query in queries(GUIDE))
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
    assert answers[1] == [("a", "ExitCode", 2), ("b", "OOMKilled", 1)]


async def test_duckdb_reads_the_newest_state_of_every_run_and_task_by_typed_columns(tmp_path: Path) -> None:
    async with stored(tmp_path) as store:
        await write_history(store)
        with duckdb.connect(config={"threads": 1}) as connection:
            answer(connection, r"s3://BUCKET/store/0/data/(\w+)", rf"{tmp_path}/objects/store+/0+/data+/\1+")


async def test_duckdb_reads_the_same_from_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in credentials().items():
        monkeypatch.setenv(name, value)
    files = tmp_path / "s3"
    await asyncio.to_thread(files.mkdir)
    with versitygw(files) as server:
        client = server.client()
        client.create_bucket(Bucket="history")
        async with stored(tmp_path, server.settings("history")) as store:
            await write_history(store)
            with duckdb.connect(config={"threads": 1}) as connection:
                connection.register_filesystem(BucketFiles(client))
                answer(connection, "BUCKET", "history")


async def test_duckdb_reads_the_index_of_the_runs_with_their_ids_and_times(tmp_path: Path) -> None:
    async with stored(tmp_path) as store:
        states = [a_run(number, "build", a=Reason.EXIT_CODE) for number in (1, 2, 3)]
        for state in states:
            await write(store, state)
        await checkpoint(store)
        (query,) = queries(INDEX)
        files = f"{tmp_path}/objects/store+/0+/index+/*/*"
        with duckdb.connect(config={"threads": 1}) as connection:
            found = connection.execute(query.replace("index/*.parquet", files)).fetchall()
    assert found == [
        (state.run.id, state.run.group, 118, "finished", "success", at(run_id_time(state.run.id)), at(NOW + hours))
        for state, hours in zip(reversed(states), (3 * HOUR, 2 * HOUR, HOUR), strict=True)
    ]


def at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None)
