"""The documents of a store as they stand after a batch, and their index: what reads see.

Types are apart; keys are sorted.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from sortedcontainers import SortedDict

from runabout.datamanager.batch import APPEND, DELETE, Batch, Entry
from runabout.datamanager.errors import Gone
from runabout.datamanager.indexed import IndexSource, LiveIndex, Runs

NUMBERED_PAGE = 1000
"""Numbered documents that a reader holds at a time."""


class Documents:
    """Applied state; single-threaded. With a `source` there is an index; whoever loads documents installs its files."""

    def __init__(self, source: IndexSource | None = None) -> None:
        self.index = None if source is None else LiveIndex(source)
        self._types: dict[str, SortedDict[str, bytes]] = {}
        self._numbers: dict[str, int] = {}

    def apply(self, batch: Batch) -> None:
        """Take the actions of a batch."""
        for transaction in batch.transactions:
            for entry in transaction:
                self._apply(entry)
        if self.index is not None:
            self.index.apply(batch, self.get)

    def load(self, kind: str, rows: Iterable[tuple[str, bytes]]) -> None:
        """Take documents as they stand."""
        self._types.setdefault(kind, SortedDict()).update(rows)

    @property
    def runs(self) -> Runs:
        """What the index answers.

        Raises:
            LookupError: there is none.
        """
        if self.index is None:
            raise LookupError("this store was opened without an index: give `index` where it is opened")
        return self.index.runs

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

    def before_first(self, kind: str) -> int:
        """Return the number before the oldest appended document of a type; if there is none, the last one given."""
        oldest = next(self.scan(kind, limit=1), None)
        return self.number(kind) if oldest is None else int(oldest[0], 16) - 1

    def numbered(self, kind: str, *, after: int) -> list[tuple[int, bytes]]:
        """Return some appended documents of a type from number `after` + 1 on, none if there are none yet.

        Raises:
            Gone: the next one, or one after it, has been removed.
        """
        page = [(int(key, 16), body) for key, body in self.scan(kind, after=f"{after:016x}", limit=NUMBERED_PAGE)]
        if not page and self.number(kind) > after:
            raise Gone(f"{kind} {after + 1} to {self.number(kind)} are gone")
        for expected, (number, _) in enumerate(page, start=after + 1):
            if number != expected:
                raise Gone(f"{kind} {expected} is gone, the oldest is {number}: begin with that")
        return page

    def number(self, kind: str) -> int:
        """Return the last number given to an append of a type, 0 for none."""
        return self._numbers.get(kind, 0)
