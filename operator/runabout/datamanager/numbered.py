"""Appended documents as they come: from a number on, then new ones, for whoever writes a store or follows it.

What always holds: numbers come in their order, each once, none is passed over in silence; what retention has removed is
said to be gone.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable

from runabout.datamanager.documents import Documents


async def numbered_from(
    documents: Documents, news: asyncio.Condition, ended: Callable[[], bool], kind: str, *, after: int | None
) -> AsyncGenerator[tuple[int, bytes], None]:
    """Return the appended documents of a type from number `after` + 1 on, then new ones; None: from the oldest on.

    `news` is notified when documents were applied, and when `ended` has become true: then this ends with the last one.

    Raises:
        Gone: there is no next one any more, or it was removed before it was asked for. Errors as for `Documents.get`.
    """
    at = await documents.before_first(kind) if after is None else after
    while True:
        for number, body in await documents.numbered(kind, after=at):
            yield number, body
            at = number
        async with news:
            await news.wait_for(lambda: documents.number(kind) > at or ended())  # noqa: B023 - evaluated at once
        if documents.number(kind) <= at:
            return
