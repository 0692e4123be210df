"""The port to object storage: what the rest of the program may ask of any store, and what every store promises.

An object is a key and its bytes. What always holds: a write is visible as a whole or not at all, a reader that has
begun sees one version to the end, `create_only` has exactly one winner whoever else writes, a listing is in the order
of the keys' UTF-8 bytes, and no call waits without a time-out. Memory is bounded by pieces, not by objects, wherever
data goes through iterators.
"""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from runabout.ost.errors import InvalidKeyError

MAX_KEY_BYTES = 1024
"""Length of a key in UTF-8, the limit of S3; a store's prefix counts."""
MAX_PAGE = 1000
"""Objects in one answer to `list`."""
MAX_PRESIGN_SECONDS = 7 * 24 * 3600
"""The longest life of a presigned URL, the limit of S3."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes from `start`; None: to the end. What lies beyond the end of the object is cut off."""

    start: int = 0
    length: int | None = None

    def __post_init__(self) -> None:
        if self.start < 0 or (self.length is not None and self.length < 0):
            raise ValueError(f"a byte range has no negative start or length: {self.start}, {self.length}")

    def within(self, size: int) -> tuple[int, int]:
        """Return (start, end) of the part that exists in an object of `size` bytes."""
        start = min(self.start, size)
        return start, size if self.length is None else min(start + self.length, size)


WHOLE = ByteRange()
LONGEST_SHOWN = 160


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object without its bytes; `modified` is UTC by the store's own clock, not this machine's."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Announced:
    """Bytes that somebody else will write: how many, and their SHA-256 (32 bytes)."""

    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that needs no credentials; it must be sent with these headers, and with its body's length."""

    url: str
    method: Literal["GET", "PUT"] = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)


class ObjectReader(Protocol):
    """An object that is being read: its description and its bytes, in pieces of at most 1 MiB, once."""

    @property
    def info(self) -> ObjectInfo:
        """What is being read; `size` is that of the whole object, also when a range is read."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces.

        Raises:
            ChangedError: it was replaced or deleted, and the store has let go of what is being read.
            OstError: as `ObjectStore.read`.
        """
        ...


class ObjectStore(Protocol):
    """One place with objects. Safe for any number of concurrent calls on one event loop.

    Every store takes any key of 1 to 1,024 bytes of UTF-8 whose elements (between slashes) are not empty, `.` or `..`,
    have at most 255 bytes each and no control characters. Others are taken as they are or refused, never changed.

    Every method raises :class:`InvalidKeyError` for a key that this store cannot have, :class:`UnavailableError` when
    the store does not answer (after trying again for a while), and :class:`DeniedError` when it refuses this client.
    """

    async def read(self, key: str, range: ByteRange = WHOLE) -> bytes:  # noqa: A002 - the word for it
        """Return the bytes of an object, or of a part of it; the caller bounds what it asks for.

        Raises:
            NotFoundError: there is no such object.
            CorruptError: the store delivers fewer or other bytes than it holds.
        """
        ...

    def open(self, key: str, range: ByteRange = WHOLE) -> AbstractAsyncContextManager[ObjectReader]:  # noqa: A002 - as above
        """Read an object piece by piece; entering asks the store, and raises what `read` raises."""
        ...

    async def write(
        self,
        key: str,
        data: bytes | AsyncIterable[bytes],
        *,
        size: int | None = None,
        persist: bool = True,
        create_only: bool = False,
    ) -> None:
        """Store an object, in place of one that is there unless `create_only`.

        Args:
            key: What it is called from now on.
            data: Its bytes. An iterator is read once and never repeated; what it raises is passed on and nothing is
                stored. A retry after an error needs a new iterator.
            size: In bytes. Optional, but a wrong one is refused, and a right one saves memory on S3.
            persist: Return when the object would survive a loss of power. False is for what can be made again or is
                checked on reading. Means nothing on S3.
            create_only: Fail if there is an object under this key.

        Raises:
            AlreadyExistsError: `create_only`, and there is one. Never because of this call's own earlier attempt.
            SizeMismatchError: `data` is shorter or longer than `size`.
            FullError: there is no room.
            WriteFailedError: the device failed; see `runabout.ost.errors`.
        """
        ...

    async def stat(self, key: str) -> ObjectInfo:
        """Describe an object.

        Raises:
            NotFoundError: there is no such object.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error. After a loss of power it may be back."""
        ...

    async def list(self, prefix: str = "", *, start_after: str = "", limit: int = MAX_PAGE) -> list[ObjectInfo]:
        """Return the first objects whose key begins with `prefix` and comes after `start_after`.

        In the order of the keys' UTF-8 bytes. Fewer than `limit` (1 to 1,000) means that there are no more. Objects
        that come or go during a listing may be in it or not; all others are in it exactly once.
        """
        ...

    async def presign(
        self, key: str, *, expires_seconds: int = 900, put: Announced | None = None
    ) -> SignedRequest | None:
        """Return a request with which anybody can read the object for a while; None where there are no URLs.

        With `put` it is one that writes the object, these bytes and no others where the server checks what it is told.
        Whether the object exists is not asked.
        """
        ...

    async def probe(self) -> None:
        """Find out by doing whether this store can be relied on; leaves nothing behind.

        Raises:
            UnsuitableError: it is missing, or creates the same key twice, or cannot do something else that is needed.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and threads; nothing may be called afterwards. Does not wait for running calls."""
        ...


async def iterate(store: ObjectStore, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
    """Go through all objects under `prefix`, page by page; raises what `ObjectStore.list` raises."""
    while True:
        page = await store.list(prefix, start_after=start_after)
        for info in page:
            yield info
        if len(page) < MAX_PAGE:
            return
        start_after = page[-1].key


def shown(key: str) -> str:
    """Return a key for a message: quoted, and cut in the middle if it is very long."""
    return repr(key if len(key) <= LONGEST_SHOWN else f"{key[: LONGEST_SHOWN // 2]}…{key[-LONGEST_SHOWN // 2 :]}")


def key_bytes(key: str, *, room: int = MAX_KEY_BYTES) -> bytes:
    """Return the UTF-8 of a key that is to name an object.

    Raises:
        InvalidKeyError: it is empty, has more than `room` bytes, or is not Unicode text without NUL.
    """
    encoded = text_bytes(key)
    if not encoded:
        raise InvalidKeyError("an object's key cannot be empty")
    if len(encoded) > room:
        raise InvalidKeyError(f"the key {shown(key)} has {len(encoded)} bytes; at most {room} are possible here")
    return encoded


def text_bytes(text: str) -> bytes:
    """Return the UTF-8 of a key or of a part of one.

    Raises:
        InvalidKeyError: it is not Unicode text without NUL.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidKeyError(f"the key {shown(text)} has half of a surrogate pair, which is no text") from error
    if b"\0" in encoded:
        raise InvalidKeyError(f"the key {shown(text)} has a NUL character")
    return encoded


def page_limit(limit: int) -> int:
    """Return `limit`, which must be 1 to 1,000."""
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"a page of a listing has 1 to {MAX_PAGE} objects, not {limit}")
    return limit
