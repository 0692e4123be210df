"""What can go wrong between us and an API server; `RetryableError` may work later, `PermanentError` will not."""


class KubeError(Exception):
    """The root of the tree; the message is the API server's own where there is one."""

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        """seconds, where the server named a time"""


class RetryableError(KubeError):
    """The same request may work later."""


class PermanentError(KubeError):
    """The same request will not work."""


class UnavailableError(RetryableError):
    """No answer, a broken connection, or a 5xx: nothing is known to have happened."""


class TooManyRequestsError(RetryableError):
    """429: the server asks for patience; see `retry_after`."""


class GoneError(RetryableError):
    """410: the resource version is too old; list again."""


class ConflictError(PermanentError):
    """409: the object is not as the request said."""


class AlreadyExistsError(PermanentError):
    """409 on create: there is an object of that name."""


class NotFoundError(PermanentError):
    """404."""


class ForbiddenError(PermanentError):
    """403: not permitted, over a quota, or refused by an admission policy; may change with the cluster's rules."""


class InvalidError(PermanentError):
    """400 or 422: the object can never be accepted as it is."""


class UnauthorizedError(PermanentError):
    """401: the credentials are not accepted."""


def kube_error(status: int, message: str, reason: str, retry_after: float | None) -> KubeError:
    """Return the error for an HTTP status, with the `reason` of the Status object."""
    if status == 409:  # noqa: PLR2004 - HTTP
        kind: type[KubeError] = AlreadyExistsError if reason == "AlreadyExists" else ConflictError
    else:
        kind = {
            400: InvalidError,
            401: UnauthorizedError,
            403: ForbiddenError,
            404: NotFoundError,
            410: GoneError,
            422: InvalidError,
            429: TooManyRequestsError,
        }.get(status, UnavailableError if status >= 500 else PermanentError)  # noqa: PLR2004 - HTTP
    return kind(message, status=status, retry_after=retry_after)
