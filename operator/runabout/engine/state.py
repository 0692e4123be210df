"""A run as the engine sees it: what was asked for and how far it is. Immutable."""

from collections.abc import Mapping
from dataclasses import dataclass

from runabout.records import Run, RunConfig, Task


@dataclass(frozen=True, slots=True)
class State:
    """One run; `tasks` has an entry for every task of the configuration."""

    config: RunConfig
    run: Run
    tasks: Mapping[str, Task]
