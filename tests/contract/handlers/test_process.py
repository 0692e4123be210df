"""The operator's process: what it says and how it exits when it cannot begin, and what its log looks like."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fixtures.etcd_server import EtcdServer
from fixtures.s3_server import credentials, versitygw
from runabout.etcd import connect
from runabout.handlers.process import EXIT_SETTINGS

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 60
END_SECONDS = 20
"""For the end of a process whatever it waits for: five, but for what else the machine does."""
LOGGING = """
import logging, structlog
from runabout.control.settings import Settings
from runabout.handlers.process import configure_logging

configure_logging(Settings())
structlog.get_logger("ours").info("begun", run="r", task="t")
structlog.get_logger("ours").debug("too much")
logging.getLogger("theirs").warning("a %s", "warning")
logging.getLogger("theirs").info("too much")
structlog.get_logger("ours").info("odd", half="\\ud800", large=2**80, thing=Settings, number={1: 2})
try:
    raise ValueError("why")
except ValueError:
    structlog.get_logger("ours").exception("broken")
"""


def environment(folder: Path, **settings: str) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RUNABOUT_", "KUBE"))}
    return {
        **kept,
        "PYTHONPATH": str(ROOT / "operator"),
        "HOME": str(folder),
        "KUBECONFIG": str(folder / "kubeconfig"),
        "RUNABOUT_OST": f"file://{folder}/ost",
        "RUNABOUT_SCRATCH_DIR": str(folder / "scratch"),
        **settings,
    }


def python(*arguments: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def kubeconfig(folder: Path) -> None:
    config = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(config))


def test_settings_that_are_wrong_are_all_named_and_nothing_begins(tmp_path: Path) -> None:
    ended = python(
        "-m", "runabout", "operator", folder=tmp_path, RUNABOUT_WORKERS="many", RUNABOUT_STORE="256", RUNABOUT_LEASE="x"
    )
    assert ended.returncode == EXIT_SETTINGS
    lines = ended.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["RUNABOUT_LEASE", "RUNABOUT_STORE", "RUNABOUT_WORKERS"]
    assert "found '256'" in lines[1]
    assert not (tmp_path / "scratch").exists()


def test_a_setting_that_does_not_exist_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    ended = python("-m", "runabout", "operator", folder=tmp_path, RUNABOUT_WORKER="8", RUNABOUT_STORE="256")
    assert ended.returncode == EXIT_SETTINGS
    lines = ended.stderr.splitlines()
    assert lines[0] == "RUNABOUT_WORKER: no setting has this name; the nearest one is RUNABOUT_WORKERS"
    assert [line.partition(":")[0] for line in lines] == ["RUNABOUT_WORKER", "RUNABOUT_STORE"]
    assert not (tmp_path / "scratch").exists()


def test_without_a_cluster_the_process_says_so(tmp_path: Path) -> None:
    ended = python("-m", "runabout", "operator", folder=tmp_path)
    assert ended.returncode == EXIT_SETTINGS
    assert ended.stderr.startswith("no Kubernetes cluster to talk to: ")
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("ost", ["ftp://x", "nothing", "s3://", "file:///proc/none/ost"])
def test_without_an_object_storage_the_process_says_so(tmp_path: Path, ost: str) -> None:
    kubeconfig(tmp_path)
    ended = python("-m", "runabout", "operator", folder=tmp_path, RUNABOUT_OST=ost)
    assert ended.returncode == EXIT_SETTINGS
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUNABOUT_ETCD_ENDPOINTS", "etcd.example.org"),
        ("RUNABOUT_ETCD_CA_FILE", "/none"),
        ("RUNABOUT_ETCD_USER", "without-password"),
    ],
)
def test_without_settings_of_etcd_that_can_be_meant_the_process_says_so_and_nothing_begins(
    tmp_path: Path, name: str, value: str
) -> None:
    kubeconfig(tmp_path)
    ended = python("-m", "runabout", "operator", folder=tmp_path, **{name: value})
    assert ended.returncode == EXIT_SETTINGS
    [line] = ended.stderr.splitlines()
    assert line.startswith(name)
    assert not (tmp_path / "ost").exists()


def test_an_etcd_that_cannot_serve_ends_the_process_with_the_setting_to_change(tmp_path: Path) -> None:
    kubeconfig(tmp_path)
    with EtcdServer(tmp_path / "etcd", fsync=False, options=("--max-request-bytes=500000",)) as server:
        ended = python(
            "-m",
            "runabout",
            "operator",
            folder=tmp_path,
            RUNABOUT_ETCD_ENDPOINTS=server.endpoint,
            RUNABOUT_LEASE="false",
            RUNABOUT_LISTEN="127.0.0.1",
            RUNABOUT_HEALTH_PORT="0",
            RUNABOUT_METRICS_PORT="0",
        )
    assert ended.returncode == EXIT_SETTINGS
    [line] = ended.stderr.splitlines()
    assert "start every member with --max-request-bytes=2097152 or more" in line


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "not-the-one"}, "SignatureDoesNotMatch"),
        ({"RUNABOUT_OST": "s3://never-made/records"}, "create the bucket or correct its name"),
    ],
    ids=["wrong secret", "missing bucket"],
)
def test_an_s3_server_that_refuses_ends_the_process_in_one_line_and_nothing_is_in_etcd(
    tmp_path: Path, wrong: dict[str, str], words: str
) -> None:
    kubeconfig(tmp_path)
    files = tmp_path / "s3"
    files.mkdir()
    with EtcdServer(tmp_path / "etcd", fsync=False) as etcd, versitygw(files) as s3:
        s3.client().create_bucket(Bucket="runs")
        ended = python(
            "-m",
            "runabout",
            "operator",
            folder=tmp_path,
            **{
                **s3.environment("runs", "records"),
                "RUNABOUT_ETCD_ENDPOINTS": etcd.endpoint,
                "RUNABOUT_LEASE": "false",
                "RUNABOUT_LISTEN": "127.0.0.1",
                "RUNABOUT_HEALTH_PORT": "0",
                "RUNABOUT_METRICS_PORT": "0",
                **wrong,
            },
        )
        assert ended.returncode == EXIT_SETTINGS, ended.stderr
        [line] = ended.stderr.splitlines()
        assert words in line
        assert "Traceback" not in ended.stdout
        assert asyncio.run(keys_of(etcd.endpoint)) == []
        assert "Contents" not in s3.client().list_objects_v2(Bucket="runs")


@pytest.mark.timeout(SECONDS)
def test_an_object_storage_that_does_not_answer_is_named_while_it_is_waited_for_and_the_process_can_be_ended(
    tmp_path: Path,
) -> None:
    kubeconfig(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = {**credentials(), "RUNABOUT_OST": "s3://runs/records", "RUNABOUT_S3_ENDPOINT": endpoint}
        with subprocess.Popen(
            [sys.executable, "-m", "runabout", "operator"],
            env=environment(tmp_path, **settings, RUNABOUT_S3_PATH_STYLE="true"),
            stdout=subprocess.PIPE,
        ) as process:
            try:
                assert process.stdout is not None
                said = json.loads(process.stdout.readline())
                assert said["event"] == "the object storage is waited for"
                assert f"in the bucket 'runs' at {endpoint}: waited for since " in said["what"]
                process.send_signal(signal.SIGTERM)
                assert process.wait(END_SECONDS) == 0
            finally:
                process.kill()


async def keys_of(endpoint: str) -> list[bytes]:
    """Return all keys in an etcd."""
    etcd = connect(endpoint)
    page = await etcd.range(b"\x00", b"\xff")
    await etcd.close()
    return [item.key for item in page.items]


def test_without_a_folder_for_logs_the_process_says_so(tmp_path: Path) -> None:
    kubeconfig(tmp_path)
    ended = python("-m", "runabout", "operator", folder=tmp_path, RUNABOUT_SCRATCH_DIR="/proc/none")
    assert ended.returncode == EXIT_SETTINGS
    assert ended.stderr.startswith("RUNABOUT_SCRATCH_DIR: ")
    assert "Traceback" not in ended.stdout + ended.stderr


def test_every_line_of_the_log_is_one_json_object_whoever_wrote_it(tmp_path: Path) -> None:
    ended = python("-c", LOGGING, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("begun", "info"),
        ("a warning", "warning"),
        ("odd", "info"),
        ("broken", "error"),
    ]
    assert (lines[0]["run"], lines[0]["task"]) == ("r", "t")
    assert (lines[2]["half"], lines[2]["large"], lines[2]["number"]) == ("\ud800", 2**80, {"1": 2})
    assert "Settings" in lines[2]["thing"]
    assert "ValueError: why" in lines[3]["exception"]
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_a_log_for_people_is_text(tmp_path: Path) -> None:
    ended = python("-c", LOGGING, folder=tmp_path, RUNABOUT_LOG_FORMAT="console", RUNABOUT_LOG_LEVEL="error")
    assert "broken" in ended.stdout
    assert "begun" not in ended.stdout
    assert not ended.stdout.startswith("{")
