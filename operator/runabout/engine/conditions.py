"""When the end of a parent lets its child start."""

from runabout.records import Condition, Dependency, Status

_MATCHES = {
    Status.SUCCESS: Condition.ON_SUCCESS,
    Status.FAILED: Condition.ON_FAILURE,
    Status.SKIPPED: Condition.ON_SKIPPED,
}


def matches(dependency: Dependency, status: Status) -> bool:
    """Whether a parent that ended with `status` is what the dependency asks for; cancelled and stopped never are.

    No conditions at all are on_success.
    """
    condition = _MATCHES.get(status)
    if condition is None:
        return False
    if not dependency.conditions:
        return condition is Condition.ON_SUCCESS
    return condition in dependency.conditions
