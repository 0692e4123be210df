"""The index of runs that a store keeps beside its documents: what it is made of, and how it follows the log.

What always holds: a row follows from two documents of one key alone, the record and the one with its labels. So whoever
has the documents after some batch can make the index after that batch, and all of them make the same. What a record
means is not known here: a caller says it, see :class:`IndexSource`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from runabout.datamanager.batch import Batch
from runabout.records import RunId, parse_run_id
from runabout.runindex import Archive, FileInfo, IndexRow, Page, Query, RunIndex, checked, number_of

RowReader = Callable[[str, bytes], IndexRow]
"""Returns the row of a record, from its key and its bytes; labels are added to it.

Raises:
    ValueError: the record cannot be read; it is in no answer then.
"""
LabelReader = Callable[[str, bytes], Mapping[str, str]]
"""Returns labels, from the key and the bytes of the document that has them.

Raises:
    ValueError: it cannot be read; there are no labels then.
"""
Known = tuple[bool, bytes | None]
"""Whether it is known without reading what a document is, and the document, None if there is none."""
Look = Callable[[str, str], Known]
"""Returns what is known of a document, by type and key."""
NO_LABELS: Mapping[str, str] = MappingProxyType({})
EVERYTHING = Query()


@dataclass(frozen=True, slots=True)
class IndexSource:
    """Which documents are in the index, and how their rows are found; keys of other forms than a run's id are not.

    `labels` are indexed. They stand in a document of the type `labels_type` that has the record's key. `scratch` is a
    folder on a disk for files without a name, about 50 bytes a row.
    """

    type: str
    row: RowReader
    scratch: Path
    labels: tuple[str, ...] = ()
    labels_type: str = ""
    read_labels: LabelReader = field(default=lambda _key, _body: NO_LABELS)

    @property
    def types(self) -> tuple[str, ...]:
        """Return the types of documents on which rows depend."""
        return (self.type, self.labels_type) if self.labels else (self.type,)

    def row_of(self, key: str, body: bytes | None, labels: Mapping[str, str]) -> IndexRow | None:
        """Return the row of a record, None if there is none or it cannot be read."""
        if body is None:
            return None
        try:
            row = checked(replace(self.row(key, body), labels=labels))
            "".join((row.group, row.namespace, *row.labels.values())).encode()
        except ValueError:
            return None
        return row if row.id == key else None

    def labels_of(self, key: str, body: bytes | None) -> Mapping[str, str]:
        """Return the indexed ones among the labels in a document, none if there is no document."""
        if body is None or not self.labels:
            return NO_LABELS
        try:
            found = self.read_labels(key, body)
        except ValueError:
            return NO_LABELS
        return {name: found[name] for name in self.labels if name in found}


def number_in(key: str) -> int | None:
    """Return the number of the run whose documents have this key, None if no run's have."""
    try:
        return number_of(parse_run_id(key))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Indexed:
    """The index of a manifest: its rows, and where the files with these bytes are."""

    archive: Archive = field(default_factory=lambda: Archive(()))
    objects: Mapping[FileInfo, str] = field(default_factory=dict)
    """Keys on the object storage."""
    unstored: Mapping[FileInfo, bytes] = field(default_factory=dict)
    """Those that were made again, because there is no whole one; the next checkpoint stores them."""
    unreadable: frozenset[RunId] = frozenset()
    """Runs whose record cannot be read: they have no row."""


class Runs(Protocol):
    """Answers as of the last applied batch: each run that has a record once."""

    def page(self, query: Query = EVERYTHING, *, limit: int = 25, cursor: str | None = None) -> Page:
        """Return up to `limit` (1 to 1,000) runs, the newest first, or those that a cursor leads to.

        Raises:
            BadCursor, NotIndexed, ValueError: see `RunIndex.page`.
        """
        ...

    def count(self, query: Query = EVERYTHING) -> int:
        """Return how many runs a query has."""
        ...

    def numbered(self, root: str, number: int) -> IndexRow | None:
        """Return the newest run with this number in a root group; raises ValueError if that is none."""
        ...

    def get(self, run: RunId) -> IndexRow | None:
        """Return a run, None if there is none; raises ValueError if it is no run's id."""
        ...


@dataclass(frozen=True, slots=True)
class IndexSize:
    """How large an index is."""

    rows: int = 0
    """Runs that there are."""
    changed: int = 0
    """Runs that are newer than the files, deletes included: each takes some 1.5 KiB of memory."""
    stored: int = 0
    """Bytes of the files."""
    mapped: int = 0
    """Bytes that are mapped into memory from the scratch folder."""


class LiveIndex:
    """An index that follows the log; single-threaded."""

    def __init__(self, source: IndexSource) -> None:
        self.source = source
        self.incomplete: dict[RunId, int] = {}
        """Runs whose row needs a document that has to be read first, with the sequence of their last change."""
        self._runs = RunIndex(labels=source.labels)
        self._unreadable: frozenset[RunId] = frozenset()
        self._turned: dict[RunId, tuple[bool, int]] = {}
        """Runs that were, or became, unreadable, and changed since: whether they are now, and since which batch."""

    @property
    def runs(self) -> Runs:
        """What can be asked."""
        return self._runs

    @property
    def archive(self) -> Archive:
        """What is in files."""
        return self._runs.archive

    @property
    def changed(self) -> int:
        """How many runs are newer than the files: each takes memory."""
        return self._runs.changed

    @property
    def size(self) -> IndexSize:
        """How large the index is now."""
        archive = self._runs.archive
        return IndexSize(self._runs.rows, self._runs.changed, archive.stored, archive.mapped)

    @property
    def unreadable(self) -> frozenset[RunId]:
        """Runs whose record cannot be read: they are in no answer."""
        return frozenset(run for run in self._unreadable | self._turned.keys() if self._turned.get(run, (True, 0))[0])

    def apply(self, batch: Batch, look: Look) -> None:
        """Take what a batch has changed; `look` says what is known of documents as they are after it."""
        touched: dict[str, bool] = {}
        for transaction in batch.transactions:
            for entry in transaction:
                if entry.type in self.source.types:
                    touched[entry.key] = touched.get(entry.key, False) or entry.type == self.source.labels_type
        for key, labelled in touched.items():
            number = number_in(key)
            if number is not None:
                self._change(RunId(key), look, batch.sequence, labelled=labelled)

    def complete(self, run: RunId, sequence: int, record: bytes | None, labels: bytes | None) -> None:
        """Take the documents of a run that was incomplete, unless it has changed again since `sequence`."""
        if self.incomplete.get(run) == sequence:
            del self.incomplete[run]
            self._put(run, record, self.source.labels_of(run, labels), sequence)

    def install(self, indexed: Indexed, *, covers: int) -> None:
        """Read from the files of a manifest from now on."""
        self._runs.install(indexed.archive, covers=covers)
        self._unreadable = indexed.unreadable
        self._turned = {run: each for run, each in self._turned.items() if each[1] > covers}
        self.incomplete = {run: sequence for run, sequence in self.incomplete.items() if sequence > covers}

    def _change(self, run: RunId, look: Look, sequence: int, *, labelled: bool) -> None:
        source = self.source
        has_record, body = look(source.type, run)
        before = None if run in self.incomplete else self._runs.get(run)
        self.incomplete.pop(run, None)
        if before is not None and not labelled:
            has_labels, labels = True, before.labels  # spares reading a document that may be large
        else:
            has_labels, document = look(source.labels_type, run) if source.labels else (True, None)
            labels = source.labels_of(run, document)
        if has_record:
            self._put(run, body, labels, sequence)
            if not has_labels and body is not None:
                self.incomplete[run] = sequence
        elif before is not None:  # the labels alone have changed
            self._runs.put(replace(before, labels=labels), sequence=sequence)
        else:
            self.incomplete[run] = sequence

    def _put(self, run: RunId, body: bytes | None, labels: Mapping[str, str], sequence: int) -> None:
        row = self.source.row_of(run, body, labels)
        unreadable = row is None and body is not None
        if unreadable or run in self._turned or run in self._unreadable:
            self._turned[run] = unreadable, sequence
        if row is not None:
            self._runs.put(row, sequence=sequence)
        else:
            self._runs.delete(run, sequence=sequence)
