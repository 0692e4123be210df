"""What an API server's refusal means for a pod: wait, give up, or ask again.

What always holds: only what the API server itself calls invalid is the user's failure; whatever a quota, a policy or a
webhook says, with whichever code, is a wait in its words; what is not known to have happened is asked again.
"""

import re
from dataclasses import dataclass

from runabout.executors.driver import Invalid, Refused, Unavailable

_ADMISSION = re.compile(r"denied (?:the )?request|is forbidden:|exceeded quota|violates PodSecurity")
"""How admission speaks. Policies answer 422 unless told otherwise, webhooks with any code they like."""

SERVER_ERRORS = 500
_PASSING = frozenset({0, 401, 408, 409, 410, 429})
_FOR_GOOD = frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer above 399 (0: none came): code, `reason` and `message` of its Status, Retry-After in seconds."""

    code: int
    reason: str
    message: str
    retry_after: float | None = None


def judged(refusal: Refusal) -> Refused | Invalid | Unavailable:
    """Return what `refusal` means for a pod that was to be created."""
    message = refusal.message or f"the API server answered {refusal.code} {refusal.reason}".strip()
    if refusal.code >= SERVER_ERRORS or refusal.code in _PASSING:
        return Unavailable(message, refusal.retry_after)
    if refusal.code in _FOR_GOOD and not _ADMISSION.search(message):
        return Invalid(message)
    return Refused(message)
