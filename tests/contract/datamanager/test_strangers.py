"""Other programs read the history from the object storage as it is: DuckDB, as docs/guides/query-history.md says."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import duckdb

from lab.checkpoints import NEVER, checkpoint, checkpointer, seal
from lab.etcds import MemoryLab
from lab.stores import DOC, Stores, delete, put
from runabout.datamanager import CheckpointPolicy, Column, Kind, SealPolicy, Table
from runabout.datamanager.tables import Value
from runabout.ost import OstSettings, open_ost

GUIDE = Path(__file__).parents[3] / "docs/guides/query-history.md"


def _columns(_key: str, body: bytes) -> Mapping[str, Value]:
    found = json.loads(body)
    return {"name": found["name"], "start": found["start"]}


TABLES = {DOC: Table((Column("name", Kind.TEXT), Column("start", Kind.TIME)), _columns)}


def queries() -> list[str]:
    """Return the queries of the guide."""
    return re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)


async def test_duckdb_reads_the_newest_state_of_every_document_by_typed_columns(tmp_path: Path) -> None:
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
        for number in range(5):
            body = {"name": f"build-{number % 2}", "start": 1_700_000_000_000 + number * 3_600_000}
            await store.commit(put(f"{number}", json.dumps(body).encode()))
        await checkpoint(store)
        await store.commit(put("1", json.dumps({"name": "renamed", "start": 1_700_000_000_000}).encode()))
        await checkpoint(store)
        await store.commit(delete("4"))
        await seal(store)  # and not covered: not seen by others yet
        assert len(checkpointer(store).manifest.files) == 1  # type: ignore[union-attr]  # there is one
        folder = str(tmp_path / "objects/store+/0+/data+/doc+")
        with duckdb.connect(config={"threads": 1}) as connection:
            newest, hours = (query.replace("s3://BUCKET/store/0/data/run", folder) for query in queries())
            connection.execute(newest)
            assert connection.execute("SELECT key, name FROM newest ORDER BY key").fetchall() == [
                ("0", "build-0"),
                ("1", "renamed"),
                ("2", "build-0"),
                ("3", "build-1"),
                ("4", "build-0"),
            ]
            assert connection.execute(hours).fetchall() == [("build-0", 3), ("build-1", 1), ("renamed", 1)]
    await ost.close()
