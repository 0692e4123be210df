"""What a process has used, from /proc."""

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def status(pid: int) -> dict[str, int]:
    """Return the fields of /proc/PID/status that are in kB.

    Raises:
        OSError: there is no such process.
    """
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {words[0].removesuffix(":"): int(words[1]) for words in lines if words[-1] == "kB"}


def peak_megabytes(pid: int) -> float:
    """Return the most memory that was resident at once (VmHWM)."""
    return status(pid).get("VmHWM", 0) / 1024
