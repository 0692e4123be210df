"""When an attempt that failed is followed by another one, and how soon.

Two budgets that are never mixed: `retries.limit` counts the user's own failures; the machinery's failures have
`MACHINERY_ATTEMPTS` attempts of their own. A task stays running between attempts.
"""

from runabout.records import MACHINERY_REASONS, Attempt, Reason, Task, TaskConfig

MACHINERY_ATTEMPTS = 3
"""Attempts of one task that the machinery may lose; with the last one the task fails, for the machinery's reason."""
_NEVER_AGAIN = frozenset({Reason.REFUSED, Reason.STOPPED, Reason.INVALID_POD})
"""Trying these again cannot change them."""
MAX_PAUSE_SECONDS = 3600
"""A pause that doubles grows no longer than this; one that is longer from the start stays as it is."""
_MAX_DOUBLINGS = 20


def is_machinery(reason: Reason) -> bool:
    """Whether an attempt that ended for this reason was the machinery's failure."""
    return reason in MACHINERY_REASONS


def tries_again(config: TaskConfig, task: Task, *, reason: Reason, exit_code: int | None = None) -> bool:
    """Whether the failure of the attempt under way is followed by another attempt.

    Args:
        config: the task's configuration.
        task: its state, on the executor still; `attempts` are the earlier ones.
        reason: why the attempt failed.
        exit_code: the exit code it failed with, if there is one.
    """
    machinery = is_machinery(reason)
    spent = sum(1 for past in task.attempts if is_machinery(past.reason) == machinery)
    if machinery:
        return spent + 1 < MACHINERY_ATTEMPTS
    retries = config.retries
    if reason in _NEVER_AGAIN or spent >= retries.limit:
        return False
    return not retries.on_exit_codes or exit_code in retries.on_exit_codes


def next_attempt_at(config: TaskConfig, attempts: tuple[Attempt, ...]) -> int:
    """Return when the next attempt may begin, in ms since 1970.

    `backoffSeconds` after a user's failure, doubled with each further one; at once after the machinery's.
    """
    if not attempts or is_machinery(attempts[-1].reason):
        return 0
    failures = sum(1 for past in attempts if not is_machinery(past.reason))
    first = config.retries.backoff_seconds
    pause = min(first << min(failures - 1, _MAX_DOUBLINGS), max(first, MAX_PAUSE_SECONDS))
    return (attempts[-1].ended or 0) + pause * 1000


def budget(config: TaskConfig, attempts: tuple[Attempt, ...]) -> tuple[int, int]:
    """Return which of how many attempts comes next, counted as the last of `attempts` counts.

    After a user's failure: of those that `retries.limit` allows; after the machinery's: of its own three.
    """
    machinery = bool(attempts) and is_machinery(attempts[-1].reason)
    spent = sum(1 for past in attempts if is_machinery(past.reason) == machinery)
    return spent + 1, MACHINERY_ATTEMPTS if machinery else config.retries.limit + 1
