"""How a run is executed on this machine, and what its process ends with."""

from dataclasses import dataclass
from pathlib import Path

EXIT_FAILED = 1
EXIT_UNUSABLE = 2
"""The file, an option or this machine is not as it has to be: nothing ran, or nothing is known of the end."""
EXIT_STOPPED = 130
"""As shells say of what Ctrl-C has ended."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is given on the command line; folders are absolute."""

    store: Path
    """Of records, logs and caches."""
    toolbox: Path
    secrets: Path | None
    jobs: int
    """Tasks at once."""
    arch: str
    approve: tuple[str, ...]
    """Tasks that are approved beforehand."""
    by: str
    """Who approves."""
    podman: str | None
    """The program, where tasks are containers; None: they are processes."""
    keep: bool
    """Whether the attempts' folders stay."""
