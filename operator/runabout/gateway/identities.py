"""Who sends a token. The API server says so, and its word is good for a minute."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from runabout.executors.gatewayaccess import AUDIENCE
from runabout.gateway.errors import UnauthorizedError, UnavailableError
from runabout.kube import errors as kube
from runabout.kube.reviews import Identity, review_token
from runabout.kube.session import Session

TASK_AUDIENCE = AUDIENCE
"""Of the tokens in tasks' pods: no other service takes them, and the gateway takes no others from a task."""
GOOD_SECONDS = 60.0
BAD_SECONDS = 1.0
"""A refusal is kept more shortly: an API server that has just begun may not know a pod yet, and tasks ask again."""
MOST = 10_000
"""Answers that are remembered."""
LONGEST_TOKEN = 16 * 1024
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class _Known:
    identity: Identity | None
    until: float


class Identities:
    """Asks about tokens and remembers `most` answers, by the tokens' hashes; `clock` is in seconds.

    The one that was not needed for longest goes first, so nonsense does not drive out who works.
    """

    def __init__(self, session: Session, *, clock: Callable[[], float], most: int = MOST) -> None:
        self._session = session
        self._most = most
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def of(self, authorization: str | None, *, audience: str = "") -> Identity:
        """Return who sends this header; with `audience` only by a token for it, else by one for the API server.

        Raises:
            UnauthorizedError. KubeError, UnavailableError: the API server does not say it.
        """
        if not authorization:
            raise UnauthorizedError("a token is needed: send the header Authorization: Bearer TOKEN")
        if not authorization.lower().startswith(_SCHEME):
            raise UnauthorizedError("only tokens are taken: send the header Authorization: Bearer TOKEN")
        token = authorization[len(_SCHEME) :].strip()
        if not token.isascii() or not token.isprintable() or not 0 < len(token) <= LONGEST_TOKEN:
            raise UnauthorizedError("the token is none")
        found = await self._review(token, audience)
        if found is None:
            what = f"for the audience {audience}" if audience else "of this cluster"
            raise UnauthorizedError(f"the token is not valid, or not one {what}")
        return found

    async def _review(self, token: str, audience: str) -> Identity | None:
        key = hashlib.sha256(f"{audience}\n{token}".encode()).digest()
        known = self._known.get(key)
        if known is not None and self._clock() < known.until:
            self._known.move_to_end(key)
            return known.identity
        asked = self._clock()
        try:
            found = await review_token(self._session, token, audiences=(audience,) if audience else ())
        except (kube.ForbiddenError, kube.UnauthorizedError) as error:
            # That is about us, and no word about the token; an API server that has just begun knows no rights yet.
            raise UnavailableError(f"the API server does not tell the gateway whose token it is: {error}") from error
        self._known[key] = _Known(found, asked + (BAD_SECONDS if found is None else GOOD_SECONDS))
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return found
