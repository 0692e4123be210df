"""Data that comes whole or bit by bit, taken in pieces of the size that a store wants."""

from collections.abc import AsyncIterable

from runabout.ost.errors import SizeMismatchError
from runabout.ost.store import shown


class Pieces:
    """Takes the data of one write apart; holds one piece and what the iterator gave beyond it.

    `size` is what was announced, None for nothing; `key` is for messages.
    """

    def __init__(self, data: bytes | AsyncIterable[bytes], *, key: str, size: int | None) -> None:
        self._source = None if isinstance(data, bytes) else aiter(data)
        self._held = data if isinstance(data, bytes) else b""
        self._at = 0
        self._came = len(self._held)
        self._key = key
        self._size = size
        self._check()

    async def take(self, length: int) -> bytes:
        """Return the next `length` bytes; fewer, or none, are the end.

        Raises:
            SizeMismatchError: there is more or less data than was announced.
        """
        if len(self._held) - self._at < length and self._source is not None:
            await self._gather(length)
        taken = self._held[self._at : self._at + length]
        self._at += len(taken)
        return taken

    async def _gather(self, length: int) -> None:
        parts = [self._held[self._at :]]
        missing = length - len(parts[0])
        while missing > 0 and self._source is not None:
            try:
                piece = await anext(self._source)
            except StopAsyncIteration:
                self._source = None
            else:
                parts.append(piece)
                missing -= len(piece)
                self._came += len(piece)
            self._check()
        self._held, self._at = b"".join(parts), 0

    def _check(self) -> None:
        ended = self._source is None
        if self._size is None or self._came == self._size or (self._came < self._size and not ended):
            return
        came = f"{self._came}{'' if ended else ' or more'}"
        raise SizeMismatchError(f"{shown(self._key)} was to have {self._size} bytes, but {came} came")
