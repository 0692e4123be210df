"""The port: what the datamanager asks of etcd. Keys and values are bytes; reads are linearizable."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key with its value and the revision of its last change."""

    key: bytes
    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Compare:
    """Holds if the key's value is `value`, or, for None, if there is no such key."""

    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Put:
    """Writes a key in a transaction."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys from `start` up to, not including, `end`."""

    start: bytes
    end: bytes


@dataclass(frozen=True, slots=True)
class TxnResult:
    """`values` are the keys asked for in the failure branch, None where there is none; empty if it succeeded."""

    succeeded: bool
    values: tuple[bytes | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a range, by key; `more` says that keys follow."""

    items: tuple[KeyValue, ...]
    more: bool
    revision: int


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A change of one key; `value` None is a deletion."""

    key: bytes
    value: bytes | None
    revision: int


class Etcd(Protocol):
    """All calls raise errors of :mod:`runabout.etcd.errors` and end within the client's deadline."""

    async def get(self, key: bytes) -> bytes | None:
        """Return a key's value by a quorum read, None if there is none."""
        ...

    async def range(self, start: bytes, end: bytes, *, limit: int = 0) -> Page:
        """Return the keys from `start` up to, not including, `end`; at most `limit` (0: all)."""
        ...

    async def txn(
        self,
        compares: Sequence[Compare],
        puts: Sequence[Put],
        *,
        deletes: Sequence[KeyRange] = (),
        otherwise: Sequence[bytes] = (),
    ) -> TxnResult:
        """Write `puts` and delete `deletes` if all `compares` hold, else read the keys of `otherwise`; atomic.

        A server takes 128 operations on different keys and 1.5 MiB in one call.

        Raises:
            UnavailableError: nothing happened. UnknownOutcomeError, FullError: it may have. PermanentEtcdError: nothing
                happened, and nothing will.
        """
        ...

    async def delete(self, start: bytes, end: bytes | None = None) -> int:
        """Delete a key, or all from `start` up to `end`; return how many there were."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget the changes before `revision`; current values stay.

        Raises:
            CompactedError: that is done already.
        """
        ...

    def watch(self, start: bytes, end: bytes, *, revision: int) -> AsyncGenerator[WatchEvent, None]:
        """Return changes of a range from `revision` (at least 1) on, ordered by revision, until it is closed.

        A silent watch says nothing: a server that is gone may show only later.

        Raises:
            CompactedError, RetryableEtcdError
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
