"""Memory that bodies pass through is used again, and not given back to the system after each piece.

The image has the C library give memory back early, which also has it map every piece of 128 KiB anew: a gigabyte that
goes through then costs the kernel more in empty pages than everything else together.
"""

import ctypes

KEPT = 16 * 1024 * 1024
"""Bytes that are free and not given back."""
LARGEST = 4 * 1024 * 1024
"""Bytes of one object that is not mapped by itself."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As in malloc.h of the GNU C library; others do not have the function."""


def keep_memory() -> None:
    """Set this process up for bodies that go through."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, LARGEST)
        mallopt(_TRIM_THRESHOLD, KEPT)
