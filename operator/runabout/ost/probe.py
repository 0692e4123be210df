"""What every store must show before it is trusted: it is tried, not believed."""

import asyncio
import contextlib
import uuid
from datetime import datetime, timedelta

from runabout.ost.errors import AlreadyExistsError, NotFoundError, OstError, UnavailableError, UnsuitableError
from runabout.ost.store import ByteRange, ObjectStore

PROBES = "probe/"
LEFTOVER = timedelta(hours=1)
"""Age after which a probe's object belongs to a process that died."""


async def probe_store(store: ObjectStore, name: str) -> datetime:
    """Try what Runabout relies on, and return the time by the store's clock; `name` begins the messages.

    Raises:
        UnsuitableError: the store does something else.
        OstError: it cannot be reached or refuses this client.
    """
    token = uuid.uuid4().hex
    small, capital = f"{PROBES}{token}-a", f"{PROBES}{token}-A"
    made: tuple[str, ...] = (small, capital)
    try:
        await store.write(small, b"first", create_only=True)
        if await _creates(store, small):
            raise UnsuitableError(
                f"{name} creates an object that exists already, so two writers would destroy each other's data: "
                "use one that honours If-None-Match (S3) or hard links (directory)"
            )
        if not await _creates(store, capital):
            raise UnsuitableError(f"{name} does not tell capital from small letters: use one that does")
        if await store.read(small, ByteRange(1, 3)) != b"irs":
            raise UnsuitableError(f"{name} returns other bytes than were stored")
        found = await store.list(f"{PROBES}{token}")
        if [each.key for each in found] != [capital, small]:
            raise UnsuitableError(f"{name} does not list what was stored, in the order of the keys")
        await store.delete(small)
        if await _exists(store, small):
            raise UnsuitableError(f"{name} still has an object that was deleted")
        now = found[0].modified
        await _remove_leftovers(store, now)
    except (UnavailableError, asyncio.CancelledError):
        made = ()  # each would be waited for as long again; a later probe finds them
        raise
    else:
        return now
    finally:
        for key in made:
            with contextlib.suppress(OstError):
                await store.delete(key)


async def _creates(store: ObjectStore, key: str) -> bool:
    try:
        await store.write(key, b"second", create_only=True)
    except AlreadyExistsError:
        return False
    return True


async def _exists(store: ObjectStore, key: str) -> bool:
    try:
        await store.stat(key)
    except NotFoundError:
        return False
    return True


async def _remove_leftovers(store: ObjectStore, now: datetime) -> None:
    for each in await store.list(PROBES):
        if now - each.modified > LEFTOVER:
            await store.delete(each.key)
