"""The documents of a store as they stand after a batch, and their index: what reads see.

What changed since the newest checkpoint is in memory (`recent.py`), everything else in the data files that its manifest
names. What always holds: both together are the documents after the last batch that was applied. A read takes note of
both at one moment, before it waits for anything: so what it returns is true of that moment, whatever is committed,
covered or collected meanwhile. Without an object storage all is in memory.
"""

import sys
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing

from runabout.datamanager.batch import APPEND, DELETE, Batch
from runabout.datamanager.datareader import DataReader
from runabout.datamanager.errors import Damaged, Gone
from runabout.datamanager.indexed import IndexSource, Known, LiveIndex, Runs
from runabout.datamanager.manifest import DataFile, Manifest
from runabout.datamanager.objects import Breather
from runabout.datamanager.recent import Recent

NUMBERED_PAGE = 1000
"""Numbered documents that a reader holds at a time."""
Row = tuple[str, bytes]
"""A document's key and bytes."""
Mend = Callable[[Damaged], Awaitable[bool]]
"""Finds another copy of what an object should have; returns whether it is worth reading again."""


class _Base:
    """The data files of a manifest, by type."""

    def __init__(self, manifest: Manifest | None) -> None:
        self.manifest = manifest
        self.files: dict[str, list[DataFile]] = {}
        for file in () if manifest is None else manifest.files:
            self.files.setdefault(file.type, []).append(file)
        self._firsts = {kind: [file.first for file in files] for kind, files in self.files.items()}

    def file_of(self, kind: str, key: str) -> DataFile | None:
        """Return the file that has a key, if any has."""
        at = bisect_right(self._firsts.get(kind, []), key) - 1
        file = None if at < 0 else self.files[kind][at]
        return file if file is not None and key <= file.last else None

    def last(self, kind: str) -> str | None:
        """Return the highest key of a type."""
        files = self.files.get(kind)
        return files[-1].last if files else None


class Documents:
    """Applied state; single-threaded. With a `source` there is an index; whoever loads documents installs its files.

    `mend` is asked when an object of the newest manifest does not hold.
    """

    def __init__(self, source: IndexSource | None = None, reader: DataReader | None = None) -> None:
        self.index = None if source is None else LiveIndex(source)
        self.mend: Mend | None = None
        self.reader = reader
        """None without an object storage."""
        self._recent = Recent()
        self._base = _Base(None)
        self._numbers: dict[str, int] = {}

    # changing

    def apply(self, batch: Batch) -> None:
        """Take the actions of a batch."""
        for transaction in batch.transactions:
            for entry in transaction:
                if entry.op != DELETE:
                    self._recent.put(entry.type, entry.key, entry.body, batch.sequence)
                elif self.reader is None:
                    self._recent.remove(entry.type, entry.key)
                else:  # a checkpoint may have the document, or one that is being made
                    self._recent.put(entry.type, entry.key, None, batch.sequence)
                if entry.op == APPEND:
                    self._numbers[entry.type] = int(entry.key, 16)
        if self.index is not None:
            self.index.apply(batch, self.known)

    def install(self, manifest: Manifest) -> None:
        """Read what is not newer than this manifest from its data files from now on; see `trim`."""
        self._base = _Base(manifest)
        for kind, number in manifest.numbers.items():
            self._numbers[kind] = max(number, self._numbers.get(kind, 0))

    async def trim(self) -> None:
        """Forget changes that the newest manifest has, a few at a time: until then they say the same as its files."""
        breather = Breather()
        for kind in self._recent.types:
            for key, (_, sequence) in self._recent.of(kind):
                covered = 0 if self._base.manifest is None else self._base.manifest.covers
                now = self._recent.get(kind, key)
                if sequence <= covered and now is not None and now[1] <= covered:
                    self._recent.remove(kind, key)
                await breather.breathe()

    def fall_back(self, older: "Documents") -> None:
        """Go on from an older manifest and all that came after it: from the documents of an earlier batch."""
        for kind, key, body, sequence in older.changes():
            if self._recent.get(kind, key) is None:
                self._recent.put(kind, key, body, sequence)
        self._base = _Base(older.manifest)

    async def complete(self) -> None:
        """Read what rows of the index lack; errors as for `get`."""
        index = self.index
        for run, sequence in [] if index is None else list(index.incomplete.items()):
            if index is not None:
                record = await self.get(index.source.type, run)
                index.complete(run, sequence, record, await self.get(index.source.labels_type, run))

    # what is in memory

    @property
    def manifest(self) -> Manifest | None:
        """What names the data files that are read."""
        return self._base.manifest

    def changes(self) -> Iterator[tuple[str, str, bytes | None, int]]:
        """Yield what is newer: type, key, document (None: deleted), and the sequence of its batch."""
        for kind in self._recent.types:
            for key, (body, sequence) in self._recent.of(kind):
                yield kind, key, body, sequence

    @property
    def covers(self) -> int:
        """The last sequence that is in data files."""
        return 0 if self._base.manifest is None else self._base.manifest.covers

    @property
    def changed(self) -> int:
        """How many documents are newer than the newest manifest, deletes included."""
        return self._recent.count

    @property
    def memory(self) -> int:
        """Bytes that they take, about."""
        return self._recent.size

    @property
    def runs(self) -> Runs:
        """What the index answers.

        Raises:
            LookupError: there is none.
        """
        if self.index is None:
            raise LookupError("this store was opened without an index: give `index` where it is opened")
        return self.index.runs

    def number(self, kind: str) -> int:
        """Return the last number given to an append of a type, 0 for none."""
        return self._numbers.get(kind, 0)

    def known(self, kind: str, key: str) -> Known:
        """Return a document if that takes no reading."""
        change = self._recent.get(kind, key)
        if change is not None:
            return True, change[0]
        return self._base.file_of(kind, key) is None, None

    # reading

    async def get(self, kind: str, key: str) -> bytes | None:
        """Return a document.

        Raises:
            Unreadable: the object storage does not answer. Damaged: what it has is damaged, or gone.
        """
        while True:
            base = self._base
            known, body = self.known(kind, key)
            if known:
                return body
            file = base.file_of(kind, key)
            if file is None or self.reader is None:
                return None
            try:
                return await self.reader.get(file, key)
            except Damaged as error:
                if not await self._worth_another(base, error):
                    raise

    async def scan(
        self, kind: str, *, prefix: str = "", after: str | None = None, limit: int | None = None
    ) -> list[Row]:
        """Return documents by key: those that begin with `prefix` and come after `after`; errors as for `get`."""
        inclusive = after is None or after < prefix
        low = prefix if after is None or inclusive else after
        return await self._scan(kind, low=low, inclusive=inclusive, high=_beyond(prefix), limit=limit, back=False)

    async def scan_back(self, kind: str, *, before: str | None = None, limit: int | None = None) -> list[Row]:
        """Return documents by key, the highest first: those that come before `before`; errors as for `get`."""
        return await self._scan(kind, low="", inclusive=True, high=before, limit=limit, back=True)

    async def last_key(self, kind: str) -> str | None:
        """Return the highest key of a type; errors as for `get`."""
        last = self._base.last(kind)
        change = None if last is None else self._recent.get(kind, last)
        if change is None or change[0] is not None:
            newer = self._recent.keys(kind, low=last or "", high=None, inclusive=True, back=True)
            return next((key for key in newer if self._is_there(kind, key)), last)
        found = await self.scan_back(kind, limit=1)
        return found[0][0] if found else None

    async def before_first(self, kind: str) -> int:
        """Return the number before the oldest appended document of a type; if there is none, the last one given."""
        last = self.number(kind)  # before reading: one that is given meanwhile is not passed over
        oldest = await self.scan(kind, limit=1)
        return int(oldest[0][0], 16) - 1 if oldest else last

    async def numbered(self, kind: str, *, after: int) -> list[tuple[int, bytes]]:
        """Return some appended documents of a type from number `after` + 1 on, none if there are none yet.

        Raises:
            Gone: the next one, or one after it, has been removed. Errors as for `get`.
        """
        last = self.number(kind)
        found = await self.scan(kind, after=f"{after:016x}", limit=NUMBERED_PAGE)
        page = [(int(key, 16), body) for key, body in found]
        if not page and last > after:
            raise Gone(f"{kind} {after + 1} to {last} are gone")
        for expected, (number, _) in enumerate(page, start=after + 1):
            if number != expected:
                raise Gone(f"{kind} {expected} is gone: go on with {number}, the next one that is there")
        return page

    async def _worth_another(self, base: _Base, error: Damaged) -> bool:
        """Whether it may help to read again: a newer manifest has other files, or another copy was found."""
        return self._base is not base or (self.mend is not None and await self.mend(error))

    def _is_there(self, kind: str, key: str) -> bool:
        change = self._recent.get(kind, key)
        return change is not None and change[0] is not None

    async def _scan(
        self, kind: str, *, low: str, inclusive: bool, high: str | None, limit: int | None, back: bool
    ) -> list[Row]:
        while True:
            base = self._base
            changes = self._changes(kind, low=low, inclusive=inclusive, high=high, limit=limit, back=back)
            rows = self._rows(base, kind, low, high, inclusive=inclusive, back=back)
            try:
                async with aclosing(rows):
                    return await _merged(rows, changes, limit, back=back)
            except Damaged as error:
                if not await self._worth_another(base, error):
                    raise

    def _changes(
        self, kind: str, *, low: str, inclusive: bool, high: str | None, limit: int | None, back: bool
    ) -> list[tuple[str, bytes | None]]:
        """Return the changes between two keys, in order; no more than `limit` documents, beyond which nobody looks."""
        found: list[tuple[str, bytes | None]] = []
        for key in self._recent.keys(kind, low=low, high=high, inclusive=inclusive, back=back):
            if limit is not None and limit <= 0:
                break
            change = self._recent.get(kind, key)
            body = None if change is None else change[0]
            found.append((key, body))
            if limit is not None and body is not None:
                limit -= 1
        return found

    async def _rows(
        self, base: _Base, kind: str, low: str, high: str | None, *, inclusive: bool, back: bool
    ) -> AsyncGenerator[Row, None]:
        """Return the documents of the data files between two keys, in order."""
        reader, files = self.reader, base.files.get(kind, [])
        if reader is None:
            return
        wanted = [each for each in files if each.last >= low and (high is None or each.first < high)]
        for file in reversed(wanted) if back else wanted:
            contents = await reader.contents(file)
            begin = max(0, contents.at(low))
            end = len(contents.groups) if high is None else contents.at(high) + 1
            for number in range(end - 1, begin - 1, -1) if back else range(begin, end):
                rows = await reader.rows(file, number)
                first = rows.place(low)
                if not inclusive and first < len(rows) and rows.key(first) == low:
                    first += 1
                last = len(rows) if high is None else rows.place(high)
                for row in rows.between(first, last, back=back):
                    yield row


async def _merged(
    rows: AsyncGenerator[Row, None], changes: list[tuple[str, bytes | None]], limit: int | None, *, back: bool
) -> list[Row]:
    """Return the first documents of both, in order; a change counts instead of the document with its key."""
    found: list[Row] = []
    if limit is not None and limit <= 0:
        return found
    waiting = deque(changes)
    breather = Breather()
    async for key, body in rows:
        while waiting and (waiting[0][0] > key if back else waiting[0][0] < key):
            _take(waiting, found)
        if waiting and waiting[0][0] == key:
            _take(waiting, found)
        else:
            found.append((key, body))
        if limit is not None and len(found) >= limit:
            return found[:limit]
        await breather.breathe()
    while waiting:
        _take(waiting, found)
    return found[:limit]


def _take(waiting: deque[tuple[str, bytes | None]], found: list[Row]) -> None:
    key, body = waiting.popleft()
    if body is not None:
        found.append((key, body))


def _beyond(prefix: str) -> str | None:
    """Return the lowest text that is above all that begin with a prefix, None if there is none."""
    for at in range(len(prefix) - 1, -1, -1):
        if ord(prefix[at]) < sys.maxunicode:
            return prefix[:at] + chr(ord(prefix[at]) + 1)
    return None
