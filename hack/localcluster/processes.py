"""Processes that outlive the command that started them.

A pid file holds the pid, the kernel's start time of that process and the boot it belongs to. A pid that was reused
has another start time, so nothing is ever signalled that this package did not start.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localcluster.console import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROC = Path("/proc")
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """Names one process for ever: pid, start time in clock ticks since boot, boot id."""

    pid: int
    start: int
    boot: str


def boot_id(proc: Path = PROC) -> str:
    """This boot's id, or an empty string where the kernel has none."""
    try:
        return (proc / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_time(pid: int, proc: Path = PROC) -> int | None:
    """The start time of a process in clock ticks since boot; None if there is none or all of it has ended."""
    try:
        stat = (proc / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The command's name stands in brackets and may hold any bytes, also blanks and brackets: fields count after it.
    fields = stat.rpartition(b")")[2].split()
    if fields[0] in {b"Z", b"X"} and not _other_threads(pid, proc):
        return None
    return int(fields[19])


def _other_threads(pid: int, proc: Path) -> bool:
    # The first thread may have ended while others still do: until then its files and ports are open.
    try:
        return len(list((proc / str(pid) / "task").iterdir())) > 1
    except OSError:
        return False


def mark(pid: int, proc: Path = PROC) -> ProcessMark | None:
    """What to write down about a living process; None if it is gone."""
    start = start_time(pid, proc)
    return None if start is None else ProcessMark(pid=pid, start=start, boot=boot_id(proc))


def write_pid_file(path: Path, process: ProcessMark) -> None:
    """Keep the mark in a file, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"pid": process.pid, "start": process.start, "boot": process.boot}) + "\n")
    draft.replace(path)


def living(path: Path, proc: Path = PROC) -> ProcessMark | None:
    """The process of a pid file if it is still that one; None if it ended, the pid was reused or the file is bad."""
    try:
        data = json.loads(path.read_text())
        kept = ProcessMark(pid=int(data["pid"]), start=int(data["start"]), boot=str(data["boot"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return kept if mark(kept.pid, proc) == kept else None


def start(argv: Sequence[str | Path], *, pid_file: Path, log: Path, environment: Mapping[str, str]) -> ProcessMark:
    """Start a process in its own session, with its output appended to `log`, and write its pid file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > 64 << 20:
        log.replace(log.with_suffix(".log.old"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=dict(environment),
            start_new_session=True,
        )
    process_mark = mark(process.pid)
    if process_mark is None:
        code = process.wait()
        raise LocalClusterError(f"{Path(argv[0]).name} ended at once with {code}", f"Its last words:\n{tail(log)}")
    write_pid_file(pid_file, process_mark)
    return process_mark


def send(process: ProcessMark, number: signal.Signals) -> None:
    """Signal that very process, and no other that may have its pid by now."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # The handle names whatever has the pid now; only if that is still ours may it be signalled.
        if mark(process.pid) == process:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def wait_gone(process: ProcessMark, timeout_seconds: float) -> bool:
    """Wait until the process has ended; False if it has not by then."""
    return wait_for(lambda: reap(process.pid) and mark(process.pid) != process, timeout_seconds)


def reap(pid: int) -> bool:
    """Collect a child that has ended, if it is one of ours. Always true, to be used in conditions."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return True


def stop(pid_file: Path, *, number: signal.Signals = signal.SIGTERM, grace_seconds: float = 5.0) -> bool:
    """End the process of a pid file, by force after the grace, and remove the file. True if there was one."""
    process = living(pid_file)
    if process is not None:
        send(process, number)
        if not wait_gone(process, grace_seconds):
            send(process, signal.SIGKILL)
            if not wait_gone(process, 10.0):
                raise LocalClusterError(
                    f"process {process.pid} ({pid_file.stem}) does not end, not even by SIGKILL",
                    "It hangs in the kernel; a reboot removes it.",
                )
    pid_file.unlink(missing_ok=True)
    return process is not None


def wait_for(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Poll a condition until it holds; False when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, indented, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line[:400]}" for line in text.splitlines()[-lines:])
