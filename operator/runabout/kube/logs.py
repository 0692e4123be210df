"""A container's log, as the kubelet sends it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runabout.kube.errors import UnavailableError
from runabout.kube.objects import PODS
from runabout.kube.session import Session
from runabout.kube.wire import Stream, WireError

QUIET_SECONDS = 60.0
"""The longest silence of a log that is not followed."""


@asynccontextmanager
async def container_log(
    session: Session, namespace: str, pod: str, container: str, *, follow: bool, previous: bool = False
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open a log at its beginning; its bytes come in pieces, with `follow` until the container ends.

    With `previous` it is that of the container that ran before in the same place.

    Raises:
        NotFoundError: no such pod. InvalidError: the container has not started. UnavailableError: no node answers, or
        the connection broke off.
    """
    query = {"container": container}
    if follow:
        query["follow"] = "true"
    if previous:
        query["previous"] = "true"
    path = PODS.path(namespace, pod, "log")
    async with session.stream(path, query, quiet_seconds=None if follow else QUIET_SECONDS) as stream:
        yield _pieces(stream, path)


async def _pieces(stream: Stream, path: str) -> AsyncIterator[bytes]:
    try:
        async for piece in stream:
            yield piece
    except (WireError, TimeoutError) as error:
        raise UnavailableError(f"GET {path}: {str(error) or type(error).__name__}") from error
