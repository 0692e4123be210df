"""Pod settings that reach beyond the pod into its node: with them a task can do there what a privileged container can.

An executor's own settings may have them. Those of a run or a task need the executor's `allowPrivileged`, as a
privileged container does.
"""

from collections.abc import Iterator, Mapping

from runabout.executors.errors import InvalidPodError

ADVICE = "reaches into the node, which only executors with allowPrivileged allow: use another volume or executor"


def node_access(pod: Mapping[str, object]) -> Iterator[str]:
    """Yield the paths of such settings in `pod`, which is as in a Run's or a task's spec."""
    volumes = pod.get("volumes")
    for place, volume in enumerate(volumes if isinstance(volumes, list | tuple) else ()):
        if isinstance(volume, Mapping) and volume.get("hostPath") is not None:
            yield f"volumes[{place}].hostPath"
    security = pod.get("securityContext")
    windows = security.get("windowsOptions") if isinstance(security, Mapping) else None
    if isinstance(windows, Mapping) and windows.get("hostProcess") not in (None, False):
        yield "securityContext.windowsOptions.hostProcess"


def check_node_access(*levels: tuple[str, Mapping[str, object]]) -> None:
    """Do nothing if no level has such a setting; each comes with its path.

    Raises:
        InvalidPodError: one has.
    """
    for where, pod in levels:
        for path in node_access(pod):
            raise InvalidPodError(f"{where}.{path}: {ADVICE}")
