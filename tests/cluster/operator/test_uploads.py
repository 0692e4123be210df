"""Two hundred megabytes on their way into the workspace, and a process or the whole run that is ended meanwhile."""

import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.gateway_process import GatewayProcess
from fixtures.operator_process import OperatorProcess
from fixtures.tools import REPOSITORY
from lab.runs import Json, Kubectl, Runs, task
from lab.waiting import eventually
from localcluster import docker

MEGABYTES = 200
PARTS = 24
"""Of 8 MiB; the file cannot be packed."""
DATA = f"dd if=/dev/urandom of=data bs=1000000 count={MEGABYTES} 2> /dev/null; sha256sum data"
NATIVE = pytest.mark.skipif(
    docker.available(), reason="with Docker the API server is in kind's container, whose processes are not ours to kill"
)


@pytest.fixture
def bench(kubectl: Kubectl, namespace: str, crashing: OperatorProcess, gateway: GatewayProcess) -> Iterator[Runs]:
    gateway.start()
    made = Runs(kubectl, namespace, crashing)
    made.executor("default", archs=["amd64", "arm64"])
    yield made
    made.clean()


@dataclass(frozen=True, slots=True)
class Upload:
    """A Run that saves a large file in one task and restores it in the next."""

    bench: Runs
    name: str
    folder: Path

    @property
    def parts(self) -> int:
        """How many parts are stored; posix keys carry a plus sign behind each folder."""
        return sum(1 for _ in self.folder.glob("**/parts+/*"))

    def has_the_right_bytes(self) -> None:
        """Check that nothing was executed a second time, and that what was restored is what was saved."""
        assert self.bench.end(self.name) == ("finished", "success")
        assert len(self.bench.pods(self.name)) == 2, "each task has one attempt"
        assert self.parts == PARTS
        assert self.bench.log(self.name, "check", step=1) == self.bench.log(self.name, "save", step=0)


def begin(bench: Runs) -> Upload:
    """Return an upload as soon as some of it is stored."""
    save: Json = {"saveToWorkspace": {"contents": [{"paths": ["data"]}]}}
    name = bench.create(
        task("save", steps=[{"run": DATA}, save]),
        task("check", steps=[{"restoreWorkspace": {}}, {"run": "sha256sum data"}], after=["save"]),
    )
    run = bench.until(name, lambda status: "id" in status)["id"]
    made = Upload(bench, name, bench.operator.ost / "objects" / "archives+" / f"{run}+")
    eventually(lambda: made.parts, lambda parts: parts > 1)
    return made


def test_a_gateway_that_is_killed_in_the_middle_of_an_upload_costs_nothing_but_time(
    bench: Runs, gateway: GatewayProcess
) -> None:
    upload = begin(bench)
    gateway.kill()
    assert upload.parts < PARTS, "it is not the middle any more"
    gateway.start()
    upload.has_the_right_bytes()
    said = bench.log(upload.name, "save", step=1).decode()
    assert "waiting for the object storage: " in said
    assert "saved to the workspace: 1 files, 200.0 MB" in said


@NATIVE
def test_an_upload_outlives_an_api_server_that_is_away_when_the_gateway_comes_back(
    bench: Runs, gateway: GatewayProcess
) -> None:
    """Then the gateway can ask nobody whose token it is, and what it had been told is gone with its process."""
    upload = begin(bench)
    gateway.kill()
    assert upload.parts < PARTS, "it is not the middle any more"
    restart = [str(REPOSITORY / "hack" / "cluster"), "restart", "apiserver", "--signal", "KILL", "--down", "3"]
    with subprocess.Popen(restart, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as restarting:
        gateway.start()
        said, _ = restarting.communicate(timeout=60)
    assert restarting.returncode == 0, said.decode()
    upload.has_the_right_bytes()


def test_a_stop_while_an_archive_is_saved_ends_the_task_within_seconds_and_leaves_no_archive(
    bench: Runs, gateway: GatewayProcess
) -> None:
    """The gateway hangs meanwhile: so the middle lasts, and there is nobody who could be told."""
    upload = begin(bench)
    gateway.send(signal.SIGSTOP)
    try:
        assert upload.parts < PARTS, "it is not the middle any more"
        bench.patch(upload.name, stop=True)
        assert bench.end(upload.name, seconds=25) == ("finished", "stopped")
    finally:
        gateway.send(signal.SIGCONT)
    assert bench.counts(upload.name) == {"stopped": 1, "skipped": 1}
    assert b"[runabout: stopped" in bench.log(upload.name, "save", step=1)
    assert not list(upload.folder.glob("**/manifest")), "half an archive is none"
