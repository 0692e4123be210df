"""What a task's pod says, judged: whose failure it is, what it waits for, until when. Pure; `now` comes in.

What always holds: the same pod, `now` and `stopped` give the same state; a final state stays final as time goes on; a
machinery failure is never called the user's because it happened while we stopped the pod, nor the other way round.
"""

from runabout.executors.state import Limits, PodState
from runabout.records.json import JsonObject


def observe(
    pod: JsonObject | None,
    *,
    now: int,
    limits: Limits,
    stopped: bool = False,
    gone: bool = False,
) -> PodState:
    """Return the state of the attempt that `pod` executes.

    Args:
        pod: the pod as the API server sent it, whole or trimmed; None if there is none and none was seen.
        now: milliseconds since 1970.
        limits: of the executor and the task.
        stopped: whether we told this pod to stop (a deletion is then ours).
        gone: `pod` is what was last seen of a pod that no longer exists.
    """
    raise NotImplementedError
