"""The benchmark of the datamanager has every figure that its page promises, also when it measures next to nothing."""

import json
from pathlib import Path

import pytest

from benchmarks.cli import main

TARGETS = {
    "lone writer, 200 B": None,
    "lone writer, 200 B, of the raw puts' rate": ("at least", 0.65),
    "lone writer, 200 B, p50, of a raw put's": ("at most", 1.5),
    "lone writer, 200 B, objects per 1,000 transactions": ("at most", 2),
    "lone writer, 200 B, time in etcd's answers": None,
    "64 writers, 200 B": ("at least", 15_000),
    "64 writers, 200 B, p99": ("at most", 10),
    "64 writers, 200 B, objects per 1,000 transactions": ("at most", 2),
    "64 writers, 200 B, conflicts between unrelated groups": ("at most", 0),
    "64 writers, 200 B, time in etcd's answers": None,
    "lone writer, of the replaced design's rate": ("at least", 10),
    "64 writers, of the replaced design's rate": ("at least", 100),
    "64 writers, 16 KB": ("at least", 5_000),
    "64 writers, 16 KB, of the puts' rate": None,
    "64 writers, 16 KB, p99": None,
    "64 writers, 16 KB, time in etcd's answers": None,
    "recovery of 1,200 log entries": None,
    "store of 700 runs, its index, a row": None,
    "store of 700 runs, cold open": None,
    "store of 700 runs, anonymous memory": ("at most", 120),
    "store of 700 runs, a record of any run, p50": None,
    "store of 700 runs, anonymous memory after 1,000 records": ("at most", 120),
    "store of 700 runs, newest 25 of a group, p99": ("at most", 1),
    "store of 700 runs, newest 25 of a prefix, p99": ("at most", 2),
    "store of 700 runs, newest 25 by phase, p99": ("at most", 10),
    "store of 700 runs, newest 25 by result, p99": ("at most", 10),
    "store of 700 runs, a page by id, p99": ("at most", 1),
    "store of 700 runs, a page by id in a prefix, p99": None,
    "store of 700 runs, failed of a prefix, p99": None,
    "store of 700 runs, by number, p99": None,
    "store of 700 runs, last of each group in a prefix, p99": None,
    "store of 700 runs, count of a prefix, p99": None,
    "store of 700 runs, one run by id, p99": None,
    "store of 700 runs, the same after 5,000 changes and all questions": ("at most", 120),
    "idle store, etcd writes": ("at most", 0.5),
    "idle store, calls to the object storage in 0.2 s": ("at most", 0),
    "kill -9 of a writer to another one's commit": ("at most", 2),
    "orderly end of a writer to another one's commit": ("at most", 0.5),
    "acknowledged by 2 such writers and lost": ("at most", 0),
}
"""of the figures at these sizes; how long openings may take is said for the sizes that the page names"""
SIZES = {"seconds": "0.15", "entries": "1200", "runs": "700", "idle": "0.2", "kills": "1"}


def test_the_table_and_the_file_have_every_figure_with_its_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    sizes = [word for name, value in SIZES.items() for word in (f"--data-{name}", value)]
    assert main(["data", "--json", str(file), *sizes]) == 0
    found = {each["name"]: each for each in json.loads(file.read_text())["figures"]}
    asked = {
        name: None if each["target"] is None else (each["targetIs"], each["target"]) for name, each in found.items()
    }
    assert asked == TARGETS
    table = capsys.readouterr().out
    assert [line for line in TARGETS if f"\n{line}  " not in table] == []
    for name in ("64 writers, 200 B, conflicts between unrelated groups", "acknowledged by 2 such writers and lost"):
        assert found[name]["value"] == 0
    for name in ("lone writer, 200 B", "64 writers, 200 B", "64 writers, 16 KB", "recovery of 1,200 log entries"):
        assert found[name]["value"] > 0
