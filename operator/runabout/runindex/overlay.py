"""What is newer than the files: rows as objects, found by the words they have; and the deletes of archived rows.

It is small: the live runs and what ended since the last checkpoint.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from heapq import merge
from types import MappingProxyType

from runabout.runindex.query import Query
from runabout.runindex.row import PHASES, RESULTS, IndexRow

Word = tuple[str, str]


class Overlay:
    """The last change of each run that the files do not have yet."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self._changes: dict[int, tuple[IndexRow | None, int]] = {}
        self._rows: dict[int, IndexRow] = {}
        self._all: list[int] = []
        self._words: dict[Word, list[int]] = {}

    def __len__(self) -> int:
        return len(self._changes)

    def __contains__(self, number: int) -> bool:
        return number in self._changes

    @property
    def rows(self) -> int:
        """How many of the changed runs are there, and not deleted."""
        return len(self._rows)

    def changes(self) -> Mapping[int, IndexRow | None]:
        """Return each changed run as it is now, None for a deleted one; a copy."""
        return MappingProxyType({number: row for number, (row, _) in self._changes.items()})

    def row(self, number: int) -> IndexRow:
        """Return a row that :meth:`walk` has given."""
        return self._rows[number]

    def get(self, number: int) -> IndexRow | None:
        """Return a row, None if it is deleted or not here."""
        return self._rows.get(number)

    def change(self, number: int, row: IndexRow | None, sequence: int) -> None:
        """Take a run as it is from `sequence` on; None deletes it."""
        before = self._rows.pop(number, None)
        old = set() if before is None else set(self._words_of(before))
        new = set() if row is None else set(self._words_of(row))
        for word in old - new:
            self._leave(self._words[word], number)
            if not self._words[word]:
                del self._words[word]
        for word in new - old:
            insort(self._words.setdefault(word, []), number)
        if row is None:
            if before is not None:
                self._leave(self._all, number)
        else:
            self._rows[number] = row
            if before is None:
                insort(self._all, number)
        self._changes[number] = (row, sequence)

    def newer_than(self, sequence: int) -> "Overlay":
        """Return an overlay without what was changed at `sequence` or before.

        A new one, because what stays is little: taking fifty thousand runs out one by one would take a second.
        """
        left = Overlay(self._labels)
        for number, (row, at) in self._changes.items():
            if at > sequence:
                left.change(number, row, at)
        return left

    def walk(self, query: Query, low: int, high: int, *, newest: bool) -> Iterator[int]:
        """Yield ids from `low` to below `high` for which the query's conditions hold, in order."""
        each = [_between(numbers, low, high, newest=newest) for numbers in self._narrowest(query)]
        for number in merge(*each, reverse=newest):
            if self._holds(query, self._rows[number]):
                yield number

    def last_of(self, group: str) -> int:
        """Return the newest run of a group, -1 for none."""
        numbers = self._words.get(("group", group))
        return numbers[-1] if numbers else -1

    def _narrowest(self, query: Query) -> list[list[int]]:
        """Return lists without a common run that together have all that is wanted, and as little else as is known."""
        words: list[Word] = []
        if query.group is not None:
            words.append(("group", query.group))
        if query.prefix is not None and query.prefix != "/":
            words.append(("prefix", query.prefix))
        if query.namespace is not None:
            words.append(("namespace", query.namespace))
        words += [(f"label.{name}", value) for name, value in query.labels.items()]
        lists = [self._words.get(word, []) for word in words]
        if query.phases or query.results:
            wanted = [
                ("outcome", phase + result) for phase in query.phases or PHASES for result in query.results or RESULTS
            ]
            some = [self._words[word] for word in wanted if word in self._words]
            if sum(map(len, some)) < min(map(len, lists), default=len(self._all)):
                return some
        return [min(lists, key=len, default=self._all)]

    def _holds(self, query: Query, row: IndexRow) -> bool:
        return (
            (query.group is None or row.group == query.group)
            and (query.prefix in {None, "/", row.group} or row.group.startswith(f"{query.prefix}/"))
            and (query.namespace is None or row.namespace == query.namespace)
            and (not query.phases or row.phase in query.phases)
            and (not query.results or row.result in query.results)
            and all(row.labels.get(name) == value for name, value in query.labels.items())
        )

    def _words_of(self, row: IndexRow) -> Iterator[Word]:
        yield ("group", row.group)
        elements = row.group.split("/")
        for count in range(2, len(elements) + 1):
            yield ("prefix", "/".join(elements[:count]))
        yield ("namespace", row.namespace)
        yield ("outcome", row.phase + row.result)
        for label in self._labels:
            if label in row.labels:
                yield (f"label.{label}", row.labels[label])

    @staticmethod
    def _leave(numbers: list[int], number: int) -> None:
        del numbers[bisect_left(numbers, number)]


def _between(numbers: list[int], low: int, high: int, *, newest: bool) -> Iterator[int]:
    begin, end = bisect_left(numbers, low), bisect_left(numbers, high)
    for place in range(end - 1, begin - 1, -1) if newest else range(begin, end):
        yield numbers[place]
