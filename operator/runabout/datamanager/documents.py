"""The documents of a store as they stand after a batch: what reads see. Types are apart; keys are sorted."""

from collections.abc import Iterable, Iterator
from itertools import islice

from sortedcontainers import SortedDict

from runabout.datamanager.batch import APPEND, DELETE, Batch, Entry


class Documents:
    """Applied state; single-threaded."""

    def __init__(self) -> None:
        self._types: dict[str, SortedDict[str, bytes]] = {}
        self._numbers: dict[str, int] = {}

    def apply(self, batch: Batch) -> None:
        """Take the actions of a batch."""
        for transaction in batch.transactions:
            for entry in transaction:
                self._apply(entry)

    def load(self, kind: str, rows: Iterable[tuple[str, bytes]]) -> None:
        """Take documents as they stand."""
        self._types.setdefault(kind, SortedDict()).update(rows)

    def set_number(self, kind: str, number: int) -> None:
        """Take the last number given to an append of a type."""
        self._numbers[kind] = number

    def _apply(self, entry: Entry) -> None:
        documents = self._types.get(entry.type)
        if documents is None:
            documents = self._types[entry.type] = SortedDict()
        if entry.op == DELETE:
            documents.pop(entry.key, None)
            return
        documents[entry.key] = entry.body
        if entry.op == APPEND:
            self._numbers[entry.type] = int(entry.key, 16)

    def get(self, kind: str, key: str) -> bytes | None:
        """Return a document."""
        documents = self._types.get(kind)
        return None if documents is None else documents.get(key)

    def scan(
        self, kind: str, *, prefix: str = "", after: str | None = None, limit: int | None = None
    ) -> Iterator[tuple[str, bytes]]:
        """Return documents by key, a snapshot: those that begin with `prefix` and come after `after`."""
        documents = self._types.get(kind)
        if documents is None:
            return iter(())
        start = prefix if after is None or after < prefix else after
        found: list[tuple[str, bytes]] = []
        for key in documents.irange(start, inclusive=(after is None or after < prefix, True)):
            if not key.startswith(prefix) or (limit is not None and len(found) >= limit):
                break
            found.append((key, documents[key]))
        return iter(found)

    def scan_back(
        self, kind: str, *, before: str | None = None, limit: int | None = None
    ) -> Iterator[tuple[str, bytes]]:
        """Return documents by key, the highest first, a snapshot: those that come before `before`."""
        documents = self._types.get(kind)
        if documents is None:
            return iter(())
        keys = documents.irange(maximum=before, inclusive=(True, False), reverse=True)
        return iter([(key, documents[key]) for key in islice(keys, limit)])

    def last_key(self, kind: str) -> str | None:
        """Return the highest key of a type."""
        documents = self._types.get(kind)
        return documents.peekitem()[0] if documents else None

    def number(self, kind: str) -> int:
        """Return the last number given to an append of a type, 0 for none."""
        return self._numbers.get(kind, 0)
