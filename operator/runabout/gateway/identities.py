"""Who sends a token. The API server says so, and its word is good for a minute.

Whoever can reach the gateway can send it anything, so what it asks the API server is bounded: what a token says of
itself comes first, one token is asked about once at a time, and strangers wait for their turns (`turns.py`).
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from runabout.executors.gatewayaccess import AUDIENCE
from runabout.gateway.claims import claims
from runabout.gateway.errors import TooManyError, UnauthorizedError, UnavailableError
from runabout.gateway.metrics import GatewayMetrics
from runabout.gateway.turns import Turns
from runabout.kube import errors as kube
from runabout.kube.reviews import Identity, review_token
from runabout.kube.session import Session

TASK_AUDIENCE = AUDIENCE
"""Of the tokens in tasks' pods: no other service takes them, and the gateway takes no others from a task."""
GOOD_SECONDS = 60.0
BAD_SECONDS = 1.0
"""A refusal is kept more shortly: an API server that has just begun may not know a pod yet, and tasks ask again."""
MOST = 10_000
"""Identities that are remembered."""
MOST_BAD = 1_000
"""Refusals that are remembered."""
AT_ONCE = 16
"""Questions under way."""
STRANGERS_AT_ONCE = 8
"""Of them, those about tokens that were not good before."""
LONGEST_TOKEN = 16 * 1024
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class _Known:
    identity: Identity | None
    until: float


class Identities:
    """Asks about tokens and remembers `most` answers, by the tokens' hashes.

    `clock` is in seconds, `now` in seconds since 1970. The identity that was not needed for longest goes first;
    refusals have a place of their own, so nonsense does not drive out who works.
    """

    def __init__(
        self,
        session: Session,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
        metrics: GatewayMetrics,
        turns: Turns | None = None,
        most: int = MOST,
    ) -> None:
        self._session = session
        self._most = most
        self._clock = clock
        self._now = now
        self._turns = turns or Turns("unknown tokens", at_once=AT_ONCE, strangers=STRANGERS_AT_ONCE)
        self._metrics = metrics
        self._good: OrderedDict[bytes, _Known] = OrderedDict()
        self._bad: OrderedDict[bytes, _Known] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[Identity | None]] = {}

    async def of(self, authorization: str | None, *, audience: str = "", source: str = "") -> Identity:
        """Return who sends this header; with `audience` only by a token for it, else by one for the API server.

        `source` is the network address that it comes from.

        Raises:
            UnauthorizedError. TooManyError: too many tokens are to be looked at. KubeError, UnavailableError: the API
            server does not say it.
        """
        if not authorization:
            raise UnauthorizedError("a token is needed: send the header Authorization: Bearer TOKEN")
        if not authorization.lower().startswith(_SCHEME):
            raise UnauthorizedError("only tokens are taken: send the header Authorization: Bearer TOKEN")
        token = authorization[len(_SCHEME) :].strip()
        if not token.isascii() or not token.isprintable() or not 0 < len(token) <= LONGEST_TOKEN:
            raise UnauthorizedError("the token is none")
        found = await self._identity(token, audience, source)
        if found is None:
            what = f"for the audience {audience}" if audience else "of this cluster"
            raise UnauthorizedError(f"the token is not valid, or not one {what}")
        return found

    async def _identity(self, token: str, audience: str, source: str) -> Identity | None:
        key = hashlib.sha256(f"{audience}\n{token}".encode()).digest()
        while True:
            known = self._good.get(key) or self._bad.get(key)
            if known is not None and self._clock() < known.until:
                if known.identity is not None:
                    self._good.move_to_end(key)
                return known.identity
            asked = self._asked.get(key)
            if asked is None:
                break
            await asyncio.wait((asked,))
            if not asked.cancelled():
                return asked.result()
        if not self._may_be_good(token, audience):
            return None
        asked = self._asked[key] = asyncio.get_running_loop().create_future()
        try:
            found = await self._review(key, token, audience, source)
        except Exception as error:
            asked.set_exception(error)
            asked.exception()  # there may be nobody else who waits for it
            raise
        else:
            asked.set_result(found)
            return found
        finally:
            asked.cancel()  # who asked has gone: another one asks
            del self._asked[key]

    def _may_be_good(self, token: str, audience: str) -> bool:
        """Whether the API server has to be asked.

        Tokens of pods are always JSON Web Tokens; those of people are what the cluster's authenticators make of them.
        """
        said = claims(token)
        if said is None:
            return not audience
        if audience and (audience not in said.audiences or said.expires is None):
            return False
        return not said.expired(self._now())

    async def _review(self, key: bytes, token: str, audience: str, source: str) -> Identity | None:
        outcome = "unanswered"
        try:
            async with self._turns.turn(source, known=key in self._good):
                asked = self._clock()
                found = await review_token(self._session, token, audiences=(audience,) if audience else ())
            outcome = "invalid" if found is None else "valid"
        except (kube.ForbiddenError, kube.UnauthorizedError) as error:
            # That is about us, and no word about the token; an API server that has just begun knows no rights yet.
            raise UnavailableError(f"the API server does not tell the gateway whose token it is: {error}") from error
        except TooManyError:
            outcome = "turned away"
            raise
        finally:
            self._metrics.reviews.labels(outcome=outcome).inc()
        self._remember(key, found, asked)
        return found

    def _remember(self, key: bytes, found: Identity | None, asked: float) -> None:
        if found is None:
            self._good.pop(key, None)
            kept, most, seconds = self._bad, MOST_BAD, BAD_SECONDS
        else:
            self._bad.pop(key, None)
            kept, most, seconds = self._good, self._most, GOOD_SECONDS
        kept[key] = _Known(found, asked + seconds)
        kept.move_to_end(key)
        while len(kept) > most:
            kept.popitem(last=False)
