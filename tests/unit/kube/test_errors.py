"""What an HTTP status means to us: whether the same request may work later."""

import pytest

from runabout.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    KubeError,
    NotFoundError,
    PermanentError,
    RetryableError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
    kube_error,
)

STATUSES: list[tuple[int, str, type[KubeError], bool]] = [
    (400, "BadRequest", InvalidError, False),
    (401, "Unauthorized", UnauthorizedError, False),
    (403, "Forbidden", ForbiddenError, False),
    (404, "NotFound", NotFoundError, False),
    (405, "MethodNotAllowed", PermanentError, False),
    (409, "AlreadyExists", AlreadyExistsError, False),
    (409, "Conflict", ConflictError, False),
    (409, "", ConflictError, False),
    (410, "Expired", GoneError, True),
    (413, "RequestEntityTooLarge", PermanentError, False),
    (415, "UnsupportedMediaType", PermanentError, False),
    (422, "Invalid", InvalidError, False),
    (429, "TooManyRequests", TooManyRequestsError, True),
    (500, "InternalError", UnavailableError, True),
    (502, "", UnavailableError, True),
    (503, "ServiceUnavailable", UnavailableError, True),
    (504, "Timeout", UnavailableError, True),
]


@pytest.mark.parametrize(("status", "reason", "kind", "retryable"), STATUSES)
def test_each_status_has_its_error(status: int, reason: str, kind: type[KubeError], retryable: bool) -> None:
    error = kube_error(status, "in the server's words", reason, 7.0)
    assert type(error) is kind
    assert isinstance(error, RetryableError) is retryable
    assert isinstance(error, PermanentError) is not retryable
    assert (str(error), error.status, error.retry_after) == ("in the server's words", status, 7.0)
