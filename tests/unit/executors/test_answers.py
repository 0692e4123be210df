"""What an API server's refusal of a pod means."""

import pytest

from runabout.executors.answers import Refusal, judged
from runabout.executors.driver import Invalid, Refused, Unavailable

QUOTA = 'pods "a" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2'
POLICY = "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"
WEBHOOK = 'admission webhook "policy.example.org" denied the request: images must be signed'
SECURITY = 'pods "a" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false'
ENDING = 'pods "a" is forbidden: unable to create new content in namespace ci because it is being terminated'
ACCOUNT = 'pods "a" is forbidden: error looking up service account ci/none: serviceaccount "none" not found'
INVALID = 'Pod "a" is invalid: spec.volumes[0].name: Required value'


@pytest.mark.parametrize(
    ("code", "reason", "message", "kind"),
    [
        (403, "Forbidden", QUOTA, Refused),
        (403, "Forbidden", SECURITY, Refused),
        (403, "Forbidden", ENDING, Refused),
        (403, "Forbidden", ACCOUNT, Refused),
        (422, "Invalid", POLICY, Refused),
        (400, "BadRequest", WEBHOOK, Refused),
        (418, "", WEBHOOK, Refused),
        (404, "NotFound", 'namespaces "ci" not found', Refused),
        (422, "Invalid", INVALID, Invalid),
        (400, "BadRequest", "Pod in version v1 cannot be handled as a Pod: strict decoding error", Invalid),
        (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", Invalid),
        (409, "Conflict", 'Operation cannot be fulfilled on resourcequotas "few": modified', Unavailable),
        (401, "Unauthorized", "Unauthorized", Unavailable),
        (429, "TooManyRequests", "too many requests", Unavailable),
        (500, "InternalError", 'failed calling webhook "policy.example.org": connection refused', Unavailable),
        (504, "Timeout", "the server was unable to return a response in time", Unavailable),
    ],
)
def test_a_refusal_is_a_wait_the_users_failure_or_asked_again(
    code: int, reason: str, message: str, kind: type[Refused | Invalid | Unavailable]
) -> None:
    answer = judged(Refusal(code, reason, message, retry_after=2.0))

    assert type(answer) is kind
    assert answer.message == message
    if isinstance(answer, Unavailable):
        assert answer.retry_after == 2.0


def test_a_refusal_without_words_still_says_something() -> None:
    assert judged(Refusal(503, "", "")) == Unavailable("the API server answered 503")
