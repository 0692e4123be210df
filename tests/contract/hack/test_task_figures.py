"""The benchmarks of tasks have every figure that their page promises, also when they measure little."""

import json
import subprocess
from pathlib import Path

from benchmarks import tasks
from benchmarks.cli import main

ARCHIVES = {
    "tar | zstd, 2 MB in 20 files": None,
    "save by the toolbox": None,
    "save beside tar | zstd": ("at least", 0.5),
    "save, the toolbox's memory": None,
    "save, CPU of toolbox and gateway": None,
    "zstd | tar, 2 MB in 20 files": None,
    "restore by the toolbox": None,
    "restore beside zstd | tar": ("at least", 0.5),
    "restore, the toolbox's memory": None,
    "restore, CPU of toolbox and gateway": None,
    "packed, of what there was": None,
}
LOGS = {
    "3 logs, 1 KB/s each: plain HTTP, CPU of a core": None,
    **dict.fromkeys(f"{who}, CPU of a core" for who in ("operator's collector", "gateway")),
    **dict.fromkeys(
        f"{who}, {what}"
        for who in ("plain HTTP", "operator's collector", "gateway")
        for what in ("CPU per piece", "CPU to open a stream", "memory per stream")
    ),
}


def measured(path: Path, *arguments: str) -> dict[str, object]:
    """Return the target of each figure by its name."""
    assert main([*arguments, "--json", str(path)]) == 0
    return {
        figure["name"]: figure["target"] and (figure["targetIs"], figure["target"])
        for figure in json.loads(path.read_text())["figures"]
    }


def test_archives_are_saved_and_restored_beside_tar_and_zstd(tmp_path: Path) -> None:
    sizes = ("--archive-files", "20", "--archive-bytes", "2000000", "--archive-rounds", "1")
    assert measured(tmp_path / "figures.json", "archives", *sizes) == ARCHIVES


def test_logs_are_followed_to_their_last_byte_by_everyone_who_is_measured(tmp_path: Path) -> None:
    assert measured(tmp_path / "figures.json", "logs", "--log-streams", "3", "--log-seconds", "1") == LOGS


def test_the_command_of_a_measured_task_prints_the_memory_of_process_1() -> None:
    said = subprocess.run(["/bin/sh", "-e", "-c", tasks.COMMAND], capture_output=True, text=True, check=True).stdout
    assert tasks.peak(said) > 0.1
