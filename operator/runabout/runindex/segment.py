"""One index file, decoded once into flat columns in a memory-mapped scratch file: nothing of it is on the heap.

Rows are numbered by id. For each column of strings there are its sorted words, each row's code, and all rows by code
("postings"), so that the rows of a word, or of a range of words, are a slice.
"""

import mmap
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from runabout.runindex.columns import LABEL, Columns, Text
from runabout.runindex.errors import DamagedIndex
from runabout.runindex.files import ROOT_ELEMENTS, FileInfo
from runabout.runindex.marks import Marks
from runabout.runindex.query import OUTCOMES, Wanted
from runabout.runindex.row import PHASES, RESULTS, IndexRow, id_of
from runabout.runindex.words import FILTER_BITS, Hashes, Words, buckets

Rows = npt.NDArray[np.int64]

_SPARSE = 8
"""Postings are used when at most one row in 8 has what is wanted most narrowly; else the columns are read through."""
_CHUNK = 512
_GROWTH = 4
_ALIGN = 8


@dataclass(frozen=True, slots=True)
class Column:
    """Words, codes and postings; `ends[c]` to `ends[c + 1]` is the slice of `postings` that belongs to code c."""

    words: Words
    codes: npt.NDArray[np.uint16]
    postings: npt.NDArray[np.uint16]
    ends: npt.NDArray[np.uint32]

    def rows(self, low: int, high: int) -> npt.NDArray[np.uint16]:
        """Return the rows whose code is at least `low` and below `high`, by code and then row."""
        return self.postings[self.ends[low] : self.ends[high]]

    def count(self, low: int, high: int) -> int:
        """Return how many these are."""
        return int(self.ends[high]) - int(self.ends[low])


class _Scratch:
    """Arrays written one after the other into one file, which is mapped and then has no name any more."""

    def __init__(self, folder: Path) -> None:
        self._parts: list[tuple[np.dtype[np.generic], int, int]] = []
        self._descriptor, self._path = tempfile.mkstemp(prefix="runindex-", dir=folder)
        self._file = os.fdopen(self._descriptor, "wb")

    def add(self, array: npt.NDArray[np.generic]) -> None:
        self._parts.append((array.dtype, self._file.tell(), len(array)))
        self._file.write(np.ascontiguousarray(array).data)
        self._file.write(bytes(-self._file.tell() % _ALIGN))

    def mapped(self) -> Iterator[npt.NDArray[np.generic]]:
        self._file.write(bytes(_ALIGN))
        self._file.flush()
        view = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        return iter([np.frombuffer(view, kind, count, place) for kind, place, count in self._parts])

    def close(self) -> None:
        self._file.close()
        Path(self._path).unlink()


class Segment:
    """The rows of one file. Immutable; :func:`build_segment` makes it, in any thread."""

    def __init__(self, info: FileInfo, labels: tuple[str, ...], arrays: Iterator[npt.NDArray[np.generic]]) -> None:
        parts = list(arrays)
        self.info = info
        self.labels = labels
        self.mapped = sum(part.nbytes for part in parts)
        """Bytes that are mapped into memory."""
        arrays = iter(parts)
        self.ids = next(arrays).view(np.uint64)
        self._counters = next(arrays).view(np.uint32)
        self._starts = next(arrays).view(np.int64)
        self._ends = next(arrays).view(np.int64)
        self._outcomes = next(arrays).view(np.uint8)
        self._outcome_rows = next(arrays).view(np.uint16)
        self._outcome_ends = next(arrays).view(np.uint32).tolist()
        self._filter = next(arrays).view(np.uint8).data
        self.group_hashes = next(arrays).view(np.uint64)
        self.group_others = next(arrays).view(np.uint32)
        self._root_begins = next(arrays).view(np.uint32)
        self._root_low = next(arrays).view(np.uint32)
        self._root_high = next(arrays).view(np.uint32)
        self.columns: dict[str, Column] = {}
        for name in _texts(labels):
            words = Words(next(arrays).view(np.uint32), next(arrays).view(np.uint8))
            codes, postings = next(arrays).view(np.uint16), next(arrays).view(np.uint16)
            self.columns[name] = Column(words, codes, postings, next(arrays).view(np.uint32))
        self._texts = tuple((column.words, column.codes.data) for column in self.columns.values())
        self.first = int(self.ids[0])
        self.last = int(self.ids[-1])

    def __len__(self) -> int:
        return len(self.ids)

    def may_have(self, bits: Sequence[int]) -> bool:
        """Whether none of these words is known to be absent."""
        known = self._filter
        for bit in bits:  # noqa: SIM110 - twice as fast as all(), and this runs for each file and question
            if not known[bit >> 3] >> (bit & 7) & 1:
                return False
        return True

    def place(self, number: int) -> int:
        """Return how many rows have smaller ids."""
        return int(self.ids.searchsorted(np.uint64(number)))

    def row(self, place: int) -> IndexRow:
        """Return a row as an object."""
        texts = []
        for words, codes in self._texts:
            code = codes[place]
            texts.append(words.text(code) if code < len(words) else None)
        outcome = self._outcomes.data[place]
        start, end = self._starts.data[place], self._ends.data[place]
        group, namespace, *values = texts
        labels = {name: value for name, value in zip(self.labels, values, strict=True) if value is not None}
        return IndexRow(
            id=id_of(self.ids.data[place]),
            group=(group or "").replace("\0", "/"),
            namespace=namespace or "",
            phase=PHASES[outcome // len(RESULTS)],
            result=RESULTS[outcome % len(RESULTS)],
            counter=self._counters.data[place],
            start=None if start < 0 else start,
            end=None if end < 0 else end,
            labels=MappingProxyType(labels),
        )

    def spans(self, wanted: Wanted) -> list[tuple[Column, int, int]] | None:
        """Return the range of codes for each wanted word or prefix; None if there can be no row."""
        ends = self._outcome_ends
        if wanted.outcomes is not None and all(ends[code] == ends[code + 1] for code in wanted.outcomes):
            return None
        found = []
        for term in wanted.terms:
            column = self.columns[term.field]
            low, high = column.words.exact(term.low) if term.high is None else column.words.span(term.low, term.high)
            if low == high:
                return None
            found.append((column, low, high))
        return found

    def matches(
        self, wanted: Wanted, hidden: Marks | None, low: int, high: int, *, newest: bool
    ) -> Iterator[list[int]]:
        """Yield the rows from `low` to below `high` that are wanted and not hidden, the newest (or oldest) first."""
        spans = self.spans(wanted)
        if spans is None:
            return
        driver, fewest = self._narrowest(wanted, spans)
        if fewest * _SPARSE <= len(self):
            rows = np.sort(driver).astype(np.int64)
            if low > 0 or high < len(self):
                begin, end = np.searchsorted(rows, (low, high))
                rows = rows[begin:end]
            if hidden is not None or len(spans) + (wanted.outcomes is not None) > 1:
                rows = self._filtered(rows, wanted, spans, hidden)
            yield (rows[::-1] if newest else rows).tolist()
            return
        size = _CHUNK
        while low < high:
            if newest:
                piece = np.arange(max(low, high - size), high)
                high -= len(piece)
                yield self._filtered(piece, wanted, spans, hidden)[::-1].tolist()
            else:
                piece = np.arange(low, min(high, low + size))
                low += len(piece)
                yield self._filtered(piece, wanted, spans, hidden).tolist()
            size *= _GROWTH

    def count(self, wanted: Wanted, hidden: Marks | None) -> int:
        """Return how many rows are wanted and not hidden; of one word, range or set of outcomes without looking."""
        spans = self.spans(wanted)
        if spans is None:
            return 0
        if not spans and wanted.outcomes is None:
            return len(self) - (0 if hidden is None else hidden.count)
        driver, fewest = self._narrowest(wanted, spans)
        if len(spans) + (wanted.outcomes is not None) > 1:
            return len(self._filtered(driver.astype(np.int64), wanted, spans, hidden))
        gone = 0 if hidden is None else len(self._filtered(hidden.rows(), wanted, spans, None))
        return fewest - gone

    def lasts(
        self,
        wanted: Wanted,
        hidden: Marks | None,
        candidates: npt.NDArray[np.bool_],
        touched: Sequence[tuple[bytes, int]],
    ) -> Rows:
        """Return wanted rows that may be the last ones of their groups, by id.

        These are the last rows here of groups that are `candidates`, and the last ones that are not hidden of groups
        that were `touched` (key and bit of the filter).
        """
        spans = self.spans(wanted)
        if spans is None:
            return np.zeros(0, np.int64)
        group = self.columns["group"]
        codes = np.flatnonzero(candidates)
        parts = [group.postings[group.ends[codes + 1] - 1]]
        for key, bit in touched:
            if self.may_have((bit,)):
                rows = group.rows(*group.words.exact(key))
                parts.append((rows if hidden is None else hidden.without(rows))[-1:])
        return self._filtered(np.unique(np.concatenate(parts)).astype(np.int64), wanted, spans, hidden)

    def numbered(self, wanted: Wanted, number: int) -> Rows:
        """Return the rows in a root group (the wanted term) that have this number, by id."""
        spans = self.spans(wanted)
        if not spans:
            return np.zeros(0, np.int64)
        column, low, high = spans[0]
        root = int(self._root_begins.searchsorted(np.uint32(low), side="right")) - 1
        if not self._root_low[root] <= number <= self._root_high[root]:
            return np.zeros(0, np.int64)
        rows = column.rows(low, high)
        return np.sort(rows[self._counters[rows] == number]).astype(np.int64)

    def _narrowest(
        self, wanted: Wanted, spans: Sequence[tuple[Column, int, int]]
    ) -> tuple[npt.NDArray[np.uint16], int]:
        """Return the rows of that which fewest rows have, in any order, and how many they are."""
        driver: npt.NDArray[np.uint16] | None = None
        fewest = len(self) + 1
        for column, low, high in spans:
            count = column.count(low, high)
            if count < fewest:
                fewest, driver = count, column.rows(low, high)
        if wanted.outcomes is not None:
            ends = self._outcome_ends
            count = sum(ends[code + 1] - ends[code] for code in wanted.outcomes)
            if count < fewest:
                slices = [self._outcome_rows[ends[code] : ends[code + 1]] for code in wanted.outcomes]
                fewest, driver = count, np.concatenate(slices)
        if driver is None:
            return np.arange(len(self)).astype(np.uint16), len(self)
        return driver, fewest

    def _filtered(
        self,
        rows: Rows,
        wanted: Wanted,
        spans: Sequence[tuple[Column, int, int]],
        hidden: Marks | None,
    ) -> Rows:
        if hidden is not None:
            rows = hidden.without(rows)
        for column, low, high in spans:
            codes = column.codes[rows]
            rows = rows[(codes >= low) & (codes < high)]
        if wanted.outcomes is not None:
            rows = rows[wanted.outcome_table[self._outcomes[rows]]]
        return rows


def build_segment(info: FileInfo, columns: Columns, scratch: Path) -> Segment:
    """Return the rows of a file, mapped from a nameless file in the folder `scratch`.

    Raises:
        DamagedIndex: two rows have one id, or a group is no path.
    """
    ids = columns.ids
    order = _by_id(ids)
    ids = ids[order]
    if (ids[1:] == ids[:-1]).any():
        raise DamagedIndex(f"index file {info.name} has one run twice")
    texts = {name: columns.text(name, path=name == "group") for name in (*_texts(columns.labels), "phase", "result")}
    group = texts["group"]
    if (group.words.data[group.words.offsets[:-1]] != 0).any():
        raise DamagedIndex(f"index file {info.name} has a group that is no path")
    outcomes = (_known(texts.pop("phase"), PHASES) * len(RESULTS) + _known(texts.pop("result"), RESULTS))[order]
    out = _Scratch(scratch)
    try:
        counters = columns.counters[order]
        for array in (ids, counters, columns.times("start")[order], columns.times("end")[order]):
            out.add(array)
        out.add(outcomes)
        out.add(np.argsort(outcomes, kind="stable").astype(np.uint16))
        out.add(_ends(outcomes, OUTCOMES))
        bits = np.zeros(1 << FILTER_BITS, np.bool_)
        postings = {}
        hashes = Hashes(group.words, twice=True)
        for name, text in texts.items():
            codes = text.codes[order]
            postings[name] = (codes, np.argsort(codes, kind="stable").astype(np.uint16), _ends(codes, len(text.words)))
            bits[buckets(name, (hashes if name == "group" else Hashes(text.words)).whole())] = True
        bits[buckets("group", hashes.prefixes())] = True
        out.add(np.packbits(bits, bitorder="little"))
        out.add(hashes.whole())
        out.add(hashes.others())
        roots = hashes.roots(ROOT_ELEMENTS)
        begins = np.flatnonzero(np.concatenate(([True], roots[1:] != roots[:-1]))).astype(np.uint32)
        _, rows, ends = postings["group"]
        by_group = counters[rows]
        out.add(begins)
        out.add(np.minimum.reduceat(by_group, ends[begins]))
        out.add(np.maximum.reduceat(by_group, ends[begins]))
        for name, text in texts.items():
            for each in (text.words.offsets, text.words.data, *postings[name]):
                out.add(each)
        return Segment(info, columns.labels, out.mapped())
    finally:
        out.close()


def _by_id(ids: npt.NDArray[np.uint64]) -> Rows:
    """Return `np.argsort(ids)` in half the time: two radix sorts by the 32 bits in which ids differ most."""
    after = ids - ids.min()
    shift = max(0, int(after.max()).bit_length() - 32)
    halves = (after >> np.uint64(shift)).astype(np.uint32).view(np.uint16).reshape(-1, 2)
    low, high = (halves[:, 0], halves[:, 1]) if sys.byteorder == "little" else (halves[:, 1], halves[:, 0])
    order = np.argsort(low, kind="stable")
    order = order[np.argsort(high[order], kind="stable")]
    ordered = after[order]
    # ids of one moment may still stand the wrong way round; what is nearly sorted is sorted in no time
    return order if (ordered[1:] >= ordered[:-1]).all() else order[np.argsort(ordered, kind="stable")]


def _texts(labels: Sequence[str]) -> tuple[str, ...]:
    return ("group", "namespace", *(LABEL + label for label in labels))


def _known(text: Text, words: Sequence[str]) -> npt.NDArray[np.uint8]:
    known = [words.index(word.decode()) for word in text.words]
    return np.array(known, np.uint8)[text.codes]


def _ends(codes: npt.NDArray[np.generic], count: int) -> npt.NDArray[np.uint32]:
    """Return where the rows of each code below `count` begin and end among all rows by code."""
    ends = np.zeros(count + 1, np.uint32)
    np.cumsum(np.bincount(codes.astype(np.int64), minlength=count)[:count], out=ends[1:])
    return ends
