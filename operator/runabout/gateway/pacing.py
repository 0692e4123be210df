"""Bytes as they come, and a word when none do: so that whoever looks on sees what is held back."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

QUIET_SECONDS = 0.3
"""After which what has come of a line is shown."""


async def paced(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes | None]:
    """Yield pieces as they come, and None whenever none has come for a moment. Errors of the pieces."""
    coming: asyncio.Future[bytes] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(pieces))
            done, _ = await asyncio.wait((coming,), timeout=QUIET_SECONDS)
            if not done:
                yield None
                continue
            try:
                piece = coming.result()
            except StopAsyncIteration:
                return
            finally:
                coming = None
            yield piece
    finally:
        if coming is not None:
            coming.cancel()
