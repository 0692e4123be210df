"""One connection pool to one API server: deadlines, retries for what may be repeated, a bound on what is in flight."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self, TypeGuard

import orjson

from runabout.kube.connection import Connection
from runabout.kube.errors import KubeError, RetryableError, UnavailableError, kube_error
from runabout.kube.objects import JsonObject, Resource, metadata, text
from runabout.kube.wire import Answer, Headers, Stream, Wire, WireError

REQUEST_SECONDS = 30.0
"""Deadline of one try of an ordinary request."""
TRIES = 4
"""Of a request that may be repeated."""
BACKOFF = (0.1, 0.4, 1.5)
"""Seconds between the tries, with jitter; a server's Retry-After wins if it is longer."""
MAX_RETRY_AFTER = 10.0
"""Seconds; a longer Retry-After is left to the caller."""
IN_FLIGHT = 256
"""Requests at once; watches and followed logs are not counted."""
AGENT = "runabout"
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Impersonation:
    """In whose name a request is made: permissions and admission see them instead of us."""

    user: str
    groups: tuple[str, ...] = ()


Observer = Callable[[str, str, int], None]
"""Called with verb, resource and HTTP status (0: no answer) of each try."""


class Session:
    """Use as an async context manager; safe for any number of tasks of one event loop."""

    def __init__(
        self,
        connection: Connection,
        *,
        observer: Observer | None = None,
        request_seconds: float = REQUEST_SECONDS,
        backoff: Sequence[float] = BACKOFF,
    ) -> None:
        self._connection = connection
        self._request_seconds = request_seconds
        self._backoff = backoff
        self._observer = observer
        self._flight = asyncio.Semaphore(IN_FLIGHT)
        self._wire: Wire | None = None

    async def __aenter__(self) -> Self:
        self._wire = Wire(self._connection.server, self._connection.ssl)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._wire is not None:
            self._wire.close()

    async def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> JsonObject:
        """Return one object."""
        return await self._request("get", "GET", resource, namespace=namespace, name=name, repeat=True)

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        selector: str = "",
        limit: int = 500,
        token: str = "",
        metadata_only: bool = False,
    ) -> tuple[list[JsonObject], str, str]:
        """Return one page: objects, the listing's resource version, and the token of the next page (empty: none).

        Raises:
            UnavailableError: also for an answer that is no listing: it must never be taken for an empty one.
        """
        query = {"limit": str(limit)}
        if selector:
            query["labelSelector"] = selector
        if token:
            query["continue"] = token
        accept = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1" if metadata_only else JSON
        page = await self._request(
            "list", "GET", resource, namespace=namespace, query=query, repeat=True, headers={"Accept": accept}
        )
        items, found = page.get("items"), page.get("metadata")
        version = found.get("resourceVersion") if isinstance(found, Mapping) else None
        items = [] if items is None else items
        if not isinstance(found, Mapping) or not isinstance(version, str) or not _objects(items):
            raise UnavailableError(f"GET {resource.path(namespace)}: the answer is no listing: {str(page)[:200]}")
        return (items, version, text(found, "continue"))

    async def create(
        self,
        resource: Resource,
        body: JsonObject,
        *,
        namespace: str | None = None,
        on_behalf: Impersonation | None = None,
    ) -> JsonObject:
        """Create an object. Not repeated: after `UnavailableError` it may exist.

        Raises:
            AlreadyExistsError, ForbiddenError, InvalidError, NotFoundError (the namespace), retryable ones.
        """
        return await self._request(
            "create", "POST", resource, namespace=namespace, body=body, headers=_headers(on_behalf)
        )

    async def review(self, resource: Resource, body: JsonObject) -> JsonObject:
        """Ask for a judgement (a token's, an access): an object that is created and nowhere kept."""
        return await self._request("create", "POST", resource, body=body, repeat=True)

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        grace_seconds: int | None = None,
        propagation: str | None = None,
    ) -> None:
        """Delete an object; with `uid` only that one.

        Raises:
            NotFoundError, ConflictError (another uid), retryable ones.
        """
        body: dict[str, object] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        if propagation is not None:
            body["propagationPolicy"] = propagation
        await self._request("delete", "DELETE", resource, namespace=namespace, name=name, body=body, repeat=True)

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: JsonObject,
        *,
        namespace: str | None = None,
        subresource: str | None = None,
        on_behalf: Impersonation | None = None,
    ) -> JsonObject:
        """Merge `body` into an object (RFC 7386)."""
        return await self._request(
            "patch",
            "PATCH",
            resource,
            namespace=namespace,
            name=name,
            subresource=subresource,
            body=body,
            repeat=True,
            headers={"Content-Type": MERGE_PATCH, **_headers(on_behalf)},
        )

    async def apply(
        self,
        resource: Resource,
        name: str,
        body: JsonObject,
        *,
        manager: str,
        namespace: str | None = None,
        subresource: str | None = None,
        force: bool = True,
    ) -> JsonObject:
        """Apply `body` on the server's side as `manager`; fields it owned and are not in `body` go."""
        named = {"name": name, **metadata(body)}
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body, "metadata": named}
        return await self._request(
            "apply",
            "PATCH",
            resource,
            namespace=namespace,
            name=name,
            subresource=subresource,
            query={"fieldManager": manager, "force": "true" if force else "false"},
            body=whole,
            repeat=True,
            headers={"Content-Type": APPLY_PATCH},
        )

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, quiet_seconds: float | None = None
    ) -> AsyncIterator[Stream]:
        """Open a long answer (a watch, a followed log); `quiet_seconds` is the longest silence that is accepted.

        Raises:
            KubeError
        """
        headers = {"User-Agent": AGENT, "Accept": JSON, **await self._connection.headers()}
        try:
            async with self._open().stream(path, query=query, headers=headers, quiet_seconds=quiet_seconds) as answer:
                if answer.status >= 300:  # noqa: PLR2004 - HTTP
                    raw = b"".join([piece async for piece in answer])
                    raise _error("GET", path, Answer(answer.status, answer.headers, raw))
                yield answer
        except (WireError, TimeoutError) as error:
            raise UnavailableError(f"GET {path}: {_words(error)}") from error

    async def _request(
        self,
        verb: str,
        method: str,
        resource: Resource,
        *,
        namespace: str | None = None,
        name: str | None = None,
        subresource: str | None = None,
        query: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
        headers: Headers | None = None,
        repeat: bool = False,
    ) -> JsonObject:
        path = resource.path(namespace, name, subresource)
        data = orjson.dumps(body) if body is not None else None
        label = f"{resource.plural}/{subresource}" if subresource else resource.plural
        tries = TRIES if repeat else 1
        for number in range(tries):
            try:
                async with self._flight:
                    return await self._try(verb, label, method, path, query, data, headers or {})
            except RetryableError as error:
                wait = max(error.retry_after or 0.0, self._backoff[min(number, len(self._backoff) - 1)])
                if number + 1 == tries or wait > MAX_RETRY_AFTER:
                    raise
                await asyncio.sleep(wait * random.uniform(1.0, 1.5))  # noqa: S311 - jitter, not a secret
        raise AssertionError("the last try returns or raises")

    async def _try(
        self,
        verb: str,
        label: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        headers: Headers,
    ) -> JsonObject:
        status = 0
        sent = {
            "User-Agent": AGENT,
            "Content-Type": JSON,
            "Accept": JSON,
            **await self._connection.headers(),
            **headers,
        }
        try:
            async with asyncio.timeout(self._request_seconds):
                answer = await self._open().request(method, path, query=query, headers=sent, body=data)
            status = answer.status
            if status >= 300:  # noqa: PLR2004 - HTTP
                raise _error(method, path, answer)
            return _decoded(answer.body) if answer.body else {}
        except (WireError, TimeoutError, ValueError, RecursionError) as error:
            raise UnavailableError(f"{method} {path}: {_words(error)}") from error
        finally:
            if self._observer is not None:
                self._observer(verb, label, status)

    def _open(self) -> Wire:
        if self._wire is None:
            raise RuntimeError("the session is not open: use it as an async context manager")
        return self._wire


def _headers(on_behalf: Impersonation | None) -> Headers:
    if on_behalf is None:
        return {}
    groups = tuple(_bytes(group) for group in on_behalf.groups)
    return {"Impersonate-User": _bytes(on_behalf.user), **({"Impersonate-Group": groups} if groups else {})}


def _bytes(name: str) -> str:
    """Return a name so that its UTF-8 is sent."""
    return name.encode().decode("latin-1")


def _decoded(raw: bytes) -> JsonObject:
    """Return an answer's object; one object of a user's that is nested deeper than orjson goes must not stop a list.

    Raises:
        ValueError, RecursionError: it is no JSON object, or deeper than this process allows.
    """
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        found = json.loads(raw)
    if not isinstance(found, dict):
        raise ValueError(f"the answer is no object: {raw[:200]!r}")  # noqa: TRY004 - a server's mistake, not ours
    return found


def _objects(found: object) -> TypeGuard[list[JsonObject]]:
    return isinstance(found, list) and all(isinstance(item, dict) for item in found)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _error(method: str, path: str, answer: Answer) -> KubeError:
    message = reason = ""
    try:
        status = orjson.loads(answer.body)
        if isinstance(status, dict):
            message, reason = str(status.get("message", "")), str(status.get("reason", ""))
    except orjson.JSONDecodeError:
        message = answer.body[:1000].decode(errors="replace").strip()
    after = answer.headers.get("retry-after", "")
    return kube_error(
        answer.status,
        message or f"HTTP {answer.status} for {method} {path}",
        reason,
        float(after) if after.isascii() and after.isdecimal() else None,
    )
