"""The whole operator on a real S3 server: records are sealed and logs stored there, and both are read back."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from fixtures import s3_server
from fixtures.certificates import certificates
from fixtures.s3_server import S3Server
from lab.kube_suite import until
from lab.played import OUTPUT, Bench, Obj, played, task
from runabout.__main__ import app

pytestmark = pytest.mark.timeout(300)

BUCKET, PREFIX = "runabout", "cluster-1"
SECONDS = 120


@dataclass(frozen=True)
class Place:
    """A played cluster whose operator has a bucket, and the settings of both."""

    bench: Bench
    server: S3Server
    environment: Mapping[str, str]

    async def call(self, *arguments: str) -> Result:
        """Call the command as a person does, with the operator's settings."""
        environment = {**self.environment, "RUNABOUT_ETCD_ENDPOINTS": self.bench.etcd.endpoint}
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)

    def object(self, key: str) -> bytes:
        """Return an object of the bucket as any other client sees it."""
        return self.server.client().get_object(Bucket=BUCKET, Key=f"{PREFIX}/{key}")["Body"].read()


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[S3Server]:
    """Return an S3 server with a bucket; its certificate, if it has one, is of an authority that nobody knows."""
    folder = tmp_path / "s3"
    folder.mkdir()
    tls = certificates(tmp_path / "tls", name="private") if request.param == "https" else None
    with s3_server.versitygw(folder, tls=tls) as made:
        made.client().create_bucket(Bucket=BUCKET)
        yield made


@pytest.fixture
async def place(tmp_path: Path, server: S3Server) -> AsyncIterator[Place]:
    environment = {**server.environment(BUCKET, PREFIX), "RUNABOUT_DURABILITY": "object"}
    async with played(tmp_path / "cluster", exit_codes={"b": 3}, environment=environment) as bench:
        yield Place(bench, server, environment)


@pytest.mark.parametrize("server", ["http", "https"], indirect=True)
async def test_what_an_operator_has_stored_in_a_bucket_is_there_when_etcd_is_lost(place: Place) -> None:
    bench = place.bench
    await bench.create("over", {"group": "/test/over", "tasks": [task("a"), task("b", "a")]})
    await bench.create("live", {"group": "/test/live", "tasks": [task("a"), task("release", "a", needsApproval=True)]})
    await until(lambda: bench.status("over").get("phase") == "finished", seconds=SECONDS)
    await until(lambda: bench.status("live").get("tasks", {}).get("waiting") == 1, seconds=SECONDS)
    over, live = bench.status("over")["id"], bench.status("live")["id"]
    for run, name in ((over, "a"), (over, "b"), (live, "a")):
        assert place.object(f"logs/{run}/{name}/1/0") == OUTPUT
    assert not list(bench.operator.ost.iterdir())  # nothing in a directory

    await asyncio.to_thread(bench.operator.kill)
    looked = await place.call("data", "stat", "--json")
    assert looked.exit_code == 0, looked.stderr
    found = json.loads(looked.stdout)
    assert found["sealed"] == found["sequence"] > 0
    checked = await place.call("data", "check")
    assert (checked.exit_code, checked.stderr) == (0, "")
    before = await exported(place, "before", over)
    assert len(before) == 3

    await asyncio.to_thread(lose, bench)
    await asyncio.to_thread(bench.operator.start)
    await bench.reached("runabout_active", 1)
    await bench.change("live", approvals=[{"task": "release", "by": "anna"}])
    await until(lambda: bench.status("live").get("phase") == "finished", seconds=SECONDS)
    assert (bench.status("live")["id"], bench.status("live")["result"]) == (live, "success")
    assert bench.status("over")["result"] == "failed"
    assert set(bench.fake.created.values()) == {1}
    logs = await place.call("logs", over)
    assert logs.exit_code == 0, logs.stderr
    assert logs.stdout.count(OUTPUT.decode()) == 2
    await asyncio.to_thread(bench.operator.terminate)
    assert await exported(place, "after", over) == before


def lose(bench: Bench) -> None:
    """Lose etcd and all it had."""
    bench.etcd.kill()
    bench.etcd.wipe()
    bench.etcd.start()


async def exported(place: Place, name: str, run: str) -> list[Obj]:
    """Return the rows of a run and its tasks that an export has."""
    folder = place.bench.folder / name
    answer = await place.call("data", "export", str(folder))
    assert answer.exit_code == 0, answer.stderr
    files = [path for kind in ("run", "task") for path in sorted((folder / "documents" / kind).iterdir())]
    rows = [row for path in files for row in parquet.read_table(path).to_pylist()]
    return [row for row in rows if run in str(row)]


@pytest.mark.parametrize("server", ["https"], indirect=True)
@pytest.mark.parametrize("authority", [None, "another"])
async def test_an_operator_that_does_not_know_the_servers_authority_says_which_setting_names_it(
    server: S3Server, tmp_path: Path, authority: str | None
) -> None:
    environment = server.environment(BUCKET, PREFIX)
    del environment["RUNABOUT_S3_CA_FILE"]
    if authority is not None:
        environment["RUNABOUT_S3_CA_FILE"] = str(certificates(tmp_path / authority, name=authority).ca)
    with pytest.raises(RuntimeError, match=r"exit code 2") as caught:
        async with played(tmp_path / "cluster", environment=environment):
            pytest.fail("it works with a server that anybody could be")
    assert "name the file of the authority that signed it (RUNABOUT_S3_CA_FILE)" in str(caught.value)
    assert server.endpoint in str(caught.value)
