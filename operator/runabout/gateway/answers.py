"""Answers: JSON with the status that semantics asks for, also for what goes wrong.

What a caller can do something about is said to them. What nobody thought of is not: they get a fixed text with the
request's id, and the cause stands in the log under that id.
"""

import asyncio
import time
import uuid
from typing import TypeVar

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import BaseModel, ValidationError

from runabout.datamanager import BrokenLog, Damaged, Unavailable
from runabout.gateway.errors import (
    ApiError,
    BadRequestError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from runabout.gateway.metrics import GatewayMetrics
from runabout.kube import errors as kube
from runabout.ost import RetryableOstError

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=BaseModel)
REQUEST_ID = "X-Request-Id"
INTERNAL = "internal server error"
_HTTP_CODES = {404: "NotFound", 405: "MethodNotAllowed", 413: "TooLarge"}
_PASSED_ON: tuple[tuple[type[kube.KubeError], type[ApiError]], ...] = (
    (kube.RetryableError, UnavailableError),
    (kube.NotFoundError, NotFoundError),
    (kube.ForbiddenError, ForbiddenError),
    (kube.ConflictError, ConflictError),
    (kube.AlreadyExistsError, ConflictError),
    (kube.InvalidError, BadRequestError),
)
"""What the API server says is said again, in its words."""


def json_answer(content: object, *, status: int = 200) -> web.Response:
    """Return an answer with a JSON body."""
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")


def error_answer(error: ApiError) -> web.Response:
    """Return the answer that says an error."""
    answer = json_answer({"code": error.code, "message": str(error), **error.more}, status=error.status)
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


async def json_body(request: web.Request, model: type[M]) -> M:
    """Return the body of a request.

    Raises:
        BadRequestError: it is no JSON, or not what is wanted; the message has the place. TooLargeError.
    """
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLargeError("the body of the request is too large") from error
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        words = [f"{'.'.join(str(part) for part in each['loc']) or 'the body'}: {each['msg']}" for each in found[:5]]
        raise BadRequestError("; ".join(words)) from error


def whole_number(request: web.Request, name: str, *, default: int, most: int) -> int:
    """Return a number of the query, from 0 on.

    Raises:
        BadRequestError
    """
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or int(text[:20]) > most:
        raise BadRequestError(f"{name}: a number from 0 to {most} is wanted, not {text[:40]!r}")
    return int(text)


def middleware(metrics: GatewayMetrics) -> Middleware:
    """Return what stands around every handler."""

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        begin, known = time.monotonic(), uuid.uuid4().hex[:16]
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "none"
        status = 500
        try:
            answer = await _answered(request, handler, known)
            status = answer.status
        finally:
            metrics.requests.labels(route=route, status=str(status)).inc()
            metrics.seconds.labels(route=route).observe(time.monotonic() - begin)
        return answer

    return around


async def _answered(request: web.Request, handler: Handler, known: str) -> web.StreamResponse:
    try:
        answer = await handler(request)
    except (asyncio.CancelledError, ConnectionResetError):
        raise  # whoever asked has gone
    except web.HTTPException as error:
        if error.status < 400:  # noqa: PLR2004 - HTTP
            raise
        code = _HTTP_CODES.get(error.status, "BadRequest")
        answer = json_answer({"code": code, "message": error.reason}, status=error.status)
    except Exception as error:  # noqa: BLE001 - said or logged, whatever it is
        answer = error_answer(_said(error, request, known))
    if isinstance(answer, web.Response):  # others have begun
        answer.headers[REQUEST_ID] = known
    return answer


def _said(error: BaseException, request: web.Request, known: str) -> ApiError:
    """Return what is said of an error; what is not said is logged."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ApiError):
        return error
    if isinstance(error, kube.KubeError):
        for kind, mine in _PASSED_ON:
            if isinstance(error, kind):
                return mine(str(error))
    if isinstance(error, RetryableOstError):
        log.warning("the object storage does not answer", path=request.path, request=known, error=str(error))
        return UnavailableError("the object storage does not answer")
    if isinstance(error, Unavailable) or (isinstance(error, BrokenLog) and not isinstance(error, Damaged)):
        log.warning("the records cannot be read", path=request.path, request=known, error=str(error))
        return UnavailableError("the records cannot be read at this moment")
    log.error("a request failed", path=request.path, request=known, error=repr(error), exc_info=error)
    return ApiError(INTERNAL)
