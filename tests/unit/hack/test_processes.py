"""Processes by pid, start time and boot: a pid that was reused is somebody else. With a /proc of the tests' own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localcluster import processes
from localcluster.console import LocalClusterError
from localcluster.processes import ProcessMark, living, mark, write_pid_file

BOOT = "b00t"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "proc"
    (folder / "sys/kernel/random").mkdir(parents=True)
    (folder / "sys/kernel/random/boot_id").write_text(f"{BOOT}\n")
    return folder


def run(proc: Path, pid: int, *, start: int = 100, name: bytes = b"etcd", state: str = "S", threads: int = 1) -> None:
    """Have a process run as the kernel shows it."""
    folder = proc / str(pid)
    for thread in range(threads):
        (folder / "task" / str(pid + thread)).mkdir(parents=True, exist_ok=True)
    fields = [state, *(str(number) for number in range(4, 22)), str(start), "0", "0"]
    (folder / "stat").write_bytes(b"%d (%s) %s\n" % (pid, name, " ".join(fields).encode()))


def kept(proc: Path, pid: int, tmp_path: Path) -> Path:
    """Return the pid file of a process that runs now."""
    process = mark(pid, proc)
    assert process is not None
    file = tmp_path / "pids" / "etcd.pid"
    write_pid_file(file, process)
    return file


def test_a_process_that_still_runs_is_living(proc: Path, tmp_path: Path) -> None:
    run(proc, 42)
    assert living(kept(proc, 42, tmp_path), proc) == ProcessMark(42, 100, BOOT)


@pytest.mark.parametrize("name", [b"a b", b"a) S 1 2", b"((", b"\xff\xfe", "jürgen".encode()[:2]])
def test_a_process_may_have_any_name(proc: Path, tmp_path: Path, name: bytes) -> None:
    run(proc, 42, name=name)
    assert living(kept(proc, 42, tmp_path), proc) == ProcessMark(42, 100, BOOT)


def test_a_reused_pid_is_another_process(proc: Path, tmp_path: Path) -> None:
    run(proc, 42)
    file = kept(proc, 42, tmp_path)
    run(proc, 42, start=101)
    assert living(file, proc) is None


def test_the_same_pid_and_time_after_another_boot_is_another_process(proc: Path, tmp_path: Path) -> None:
    run(proc, 42)
    file = kept(proc, 42, tmp_path)
    (proc / "sys/kernel/random/boot_id").write_text("other\n")
    assert living(file, proc) is None


@pytest.mark.parametrize(
    ("state", "threads", "lives"), [("Z", 1, False), ("X", 1, False), ("Z", 2, True), ("D", 1, True)]
)
def test_a_process_lives_until_its_last_thread_has_ended(
    proc: Path, tmp_path: Path, state: str, threads: int, lives: bool
) -> None:
    run(proc, 42)
    file = kept(proc, 42, tmp_path)
    run(proc, 42, state=state, threads=threads)
    assert (living(file, proc) is not None) is lives


@pytest.mark.parametrize(
    "text",
    [
        "",
        "42",
        "[]",
        "{}",
        '{"pid": 42}',
        '{"pid": "x", "start": 1, "boot": ""}',
        '{"pid": null, "start": 1, "boot": 1}',
    ],
)
def test_a_pid_file_that_is_none_names_no_process(proc: Path, tmp_path: Path, text: str) -> None:
    run(proc, 42)
    file = tmp_path / "etcd.pid"
    file.write_text(text)
    assert living(file, proc) is None


def test_without_a_file_or_a_process_nothing_lives(proc: Path, tmp_path: Path) -> None:
    assert living(tmp_path / "none.pid", proc) is None
    assert mark(42, proc) is None
    assert processes.boot_id(tmp_path) == ""


# with real processes

outlives = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
"""A process may outlive the object, and the command, that started it: that is what this module is for."""


@contextmanager
def child(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def started(tmp_path: Path, code: str) -> tuple[ProcessMark, Path, Path]:
    pid_file, log = tmp_path / "pids" / "x.pid", tmp_path / "logs" / "x.log"
    process = processes.start(
        [sys.executable, "-c", code], pid_file=pid_file, log=log, environment={"PATH": os.environ["PATH"]}
    )
    return process, pid_file, log


@outlives
def test_a_started_process_is_kept_in_its_file_and_ended_by_it(tmp_path: Path) -> None:
    process, pid_file, log = started(tmp_path, "import signal; print('up', flush=True); signal.pause()")
    assert living(pid_file) == process
    assert processes.wait_for(lambda: log.read_text() == "up\n", 60)
    assert processes.stop(pid_file)
    assert not pid_file.exists()
    assert mark(process.pid) is None
    assert not processes.stop(pid_file)


@outlives
def test_a_process_that_does_not_listen_is_ended_by_force(tmp_path: Path) -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); [signal.pause() for _ in '123']"
    process, pid_file, log = started(tmp_path, code)
    assert processes.wait_for(lambda: log.read_text() == "up\n", 60)
    assert processes.stop(pid_file, grace_seconds=0.05)
    assert mark(process.pid) is None


def test_nothing_is_signalled_that_only_has_the_pid(tmp_path: Path) -> None:
    with child(sys.executable, "-c", "import sys; sys.stdin.read()") as process:
        real = mark(process.pid)
        assert real is not None
        stranger = ProcessMark(real.pid, real.start + 1, real.boot)
        pid_file = tmp_path / "x.pid"
        write_pid_file(pid_file, stranger)
        processes.send(stranger, signal.SIGKILL)
        assert not processes.stop(pid_file)
        assert mark(process.pid) == real


def test_the_last_words_of_a_log_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert processes.tail(log) == "    (no log)"
    log.write_bytes(b"\xff\n" + b"line\n" * 5000 + b"the end")
    assert processes.tail(log, lines=2) == "    line\n    the end"


def test_waiting_ends_with_its_time() -> None:
    answers = iter([False, True])
    assert processes.wait_for(lambda: next(answers), 60)
    assert not processes.wait_for(lambda: False, 0)


def test_a_process_that_does_not_end_at_all_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with child(sys.executable, "-c", "import sys; sys.stdin.read()") as process:
        real = mark(process.pid)
        assert real is not None
        pid_file = tmp_path / "etcd.pid"
        write_pid_file(pid_file, real)
        monkeypatch.setattr(processes, "send", lambda *_: None)  # as if it hung in the kernel
        monkeypatch.setattr(processes, "wait_gone", lambda *_: False)
        with pytest.raises(LocalClusterError, match=rf"process {real.pid} \(etcd\) does not end.*\n.*reboot"):
            processes.stop(pid_file)
        assert pid_file.exists()
