"""What a caller is told when a request cannot be answered: one class for each status, with the words they get."""

from collections.abc import Mapping


class ApiError(Exception):
    """An answer `{"code", "message"}`; `more` are further fields of it."""

    status = 500
    code = "InternalError"
    retry_after: int | None = None
    """seconds"""

    def __init__(self, message: str, *, more: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.more = more or {}


class BadRequestError(ApiError):
    """The request can never be answered."""

    status, code = 400, "BadRequest"


class UnauthorizedError(ApiError):
    """Nobody knows who asks."""

    status, code = 401, "Unauthorized"


class ForbiddenError(ApiError):
    """It is known who asks, and they may not."""

    status, code = 403, "Forbidden"


class NotFoundError(ApiError):
    """There is no such thing."""

    status, code = 404, "NotFound"


class ConflictError(ApiError):
    """The thing is not in the state for this, or somebody was quicker."""

    status, code = 409, "Conflict"


class TooLargeError(ApiError):
    """More than is taken."""

    status, code = 413, "TooLarge"


class TooManyError(ApiError):
    """More is asked for at once than can be looked at."""

    status, code, retry_after = 429, "TooManyRequests", 1


class BusyError(ApiError):
    """As many bodies as are allowed at once are under way."""

    status, code, retry_after = 503, "Busy", 1


class UnavailableError(ApiError):
    """Something that the answer needs does not answer itself."""

    status, code, retry_after = 503, "Unavailable", 2
