"""How far a long piece of work is, on stderr: silent for the first seconds, then a line now and then."""

import sys
import time
from collections.abc import Callable

from runabout.datamanager.progress import Step

QUIET_SECONDS = 2.0
"""Before the first line and between two."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


class Teller:
    """Says what it is told; pass it as `progress`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_at = clock()

    def __call__(self, step: Step) -> None:
        """Say it, unless something was said a moment ago."""
        now = self._clock()
        if now - self._said_at < QUIET_SECONDS:
            return
        self._said_at = now
        amounts = [step.done, *([step.total] if step.total else [])]
        parts = [size(each) if step.unit == "bytes" else f"{each:,}" for each in amounts]
        unit = "" if step.unit == "bytes" else f" {step.unit}"
        share = f" ({100 * step.done // step.total} %)" if step.total else ""
        sys.stderr.write(f"{step.what}: {' of '.join(parts)}{unit}{share}\n")
        sys.stderr.flush()


def size(count: int) -> str:
    """Return a number of bytes for a person."""
    number, unit = float(count), 0
    while number >= _STEP and unit < len(_UNITS) - 1:
        number, unit = number / _STEP, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 else f"{number:.1f} {_UNITS[unit]}"
