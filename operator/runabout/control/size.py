"""How much a new run takes in the store, and what is left of one that takes too much.

The configuration of a run is one document, and the datamanager bounds those. So the size is found out before: as
a setup error, by the operator and by `runabout check` alike. Names that only the API server gives are not counted but
have room of their own, so that both find the same number.
"""

from dataclasses import replace

from runabout.records import RunConfig, RunId, TaskConfig
from runabout.records.encoding import encode

MAX_RUN = 1000 * 1024
"""Bytes of a new run's configuration; with 24 KiB for its names and groups it is what the datamanager takes at once.
Its tasks come after it, in transactions of their own if there is no room."""
_ROOT = "/n/n/n"


def stored_size(config: RunConfig) -> int:
    """Return how many bytes a new run takes, at most if no executor has an unusually long name."""
    nameless = replace(
        config,
        id=RunId("0" * 13),
        namespace="",
        name="",
        uid="",
        group=_ROOT,
        cache_group=_ROOT,
        created=0,
        submitted=0,
    )
    return len(encode(nameless))


def too_large(config: RunConfig) -> str | None:
    """Return what is wrong with the size of a run, None if nothing is."""
    size = stored_size(config)
    if size <= MAX_RUN:
        return None
    return (
        f"spec: the run takes {size} bytes, at most {MAX_RUN} can be stored: "
        "keep long scripts and files in the repository, an image or a ConfigMap, or make several runs of it"
    )


def shortened(config: RunConfig) -> RunConfig:
    """Return what of a run that never starts is worth keeping: its tasks' names and its errors, or those alone."""
    names = replace(
        config,
        tasks=tuple(TaskConfig(task.name) for task in config.tasks),
        environment=(),
        static_environment=(),
        pod={},
    )
    return names if stored_size(names) <= MAX_RUN else bare(config)


def bare(config: RunConfig) -> RunConfig:
    """Return a run of which nothing is left but its names and its errors."""
    return replace(config, tasks=(), environment=(), static_environment=(), pod={}, labels={}, annotations={})
