"""What has changed since the newest checkpoint, in memory: documents by type and key, sorted, and deletes."""

from collections.abc import Iterator

from sortedcontainers import SortedDict

Change = tuple[bytes | None, int]
"""A document, None if it was deleted, and the sequence of the batch that did it."""
OVERHEAD = 200
"""Bytes of memory that a change takes beside its key and body, about."""


class Recent:
    """The last change of each key; single-threaded."""

    def __init__(self) -> None:
        self._types: dict[str, SortedDict[str, Change]] = {}
        self.size = 0
        """Bytes of memory, about."""
        self.count = 0
        """Changes."""

    @property
    def types(self) -> list[str]:
        """The types of which there are changes."""
        return list(self._types)

    def put(self, kind: str, key: str, body: bytes | None, sequence: int) -> None:
        """Take a change that comes after all others of its key."""
        changes = self._types.get(kind)
        if changes is None:
            changes = self._types[kind] = SortedDict()
        before = changes.get(key)
        if before is not None:
            self._count(key, before[0], -1)
        changes[key] = (body, sequence)
        self._count(key, body, 1)

    def remove(self, kind: str, key: str) -> None:
        """Know nothing of a key."""
        before = self._types[kind].pop(key, None) if kind in self._types else None
        if before is not None:
            self._count(key, before[0], -1)

    def get(self, kind: str, key: str) -> Change | None:
        """Return the last change of a key, None if there is none."""
        changes = self._types.get(kind)
        return None if changes is None else changes.get(key)

    def of(self, kind: str) -> list[tuple[str, Change]]:
        """Return all changes of a type, a copy."""
        return list(self._types.get(kind, {}).items())

    def keys(self, kind: str, *, low: str, high: str | None, inclusive: bool, back: bool) -> Iterator[str]:
        """Yield changed keys from `low` (with it, if `inclusive`) to before `high`; the last ones first if `back`."""
        changes = self._types.get(kind)
        return iter(()) if changes is None else changes.irange(low, high, (inclusive, False), reverse=back)

    def _count(self, key: str, body: bytes | None, sign: int) -> None:
        self.size += sign * (OVERHEAD + len(key) + len(body or b""))
        self.count += sign
