"""etcd's place taken by one file: for a single process on one machine, with nothing to install.

A file of SQLite has the keys and the revision. What always holds: a write that was acknowledged is on the disk, and one
that was not is there as a whole or not at all, whatever kills the process; only one process has the file. The history
for watches is in memory: before this opening there is none, as after a compaction.
"""

import asyncio
import fcntl
import os
import sqlite3
from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar

from runabout.etcd.errors import (
    CompactedError,
    EtcdError,
    FullError,
    PermanentEtcdError,
    UnavailableError,
    UnknownOutcomeError,
)
from runabout.etcd.limits import check_operations, check_size, put_size
from runabout.etcd.port import Compare, KeyRange, KeyValue, Page, Put, TxnResult, WatchEvent

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (key BLOB PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL);
INSERT OR IGNORE INTO head VALUES (1, 1);
"""
_IN_RANGE = "key >= ? AND key < ?"


class LogInUseError(EtcdError):
    """Another process has the file; `holder` is its id where it is known."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is in use by {f'process {holder}' if holder else 'another process'}")
        self.holder = holder


def open_file(path: Path) -> "FileEtcd":
    """Open the file, and make it if there is none; its folder is there. Where a loop runs; the caller closes it.

    Raises:
        LogInUseError: another process has it. PermanentEtcdError: it is no such file, or is damaged. OSError.
    """
    lock = _locked(path)
    try:
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")  # a commit returns when the disk has it
            database.executescript(_SCHEMA)
            return FileEtcd(path, database, lock)
        except BaseException:
            database.close()
            raise
    except sqlite3.Error as error:
        lock.close()
        raise PermanentEtcdError(f"{path} cannot be used as a log: {error}") from error
    except BaseException:
        lock.close()
        raise


class FileEtcd:
    """See :class:`runabout.etcd.port.Etcd`; made by `open_file`. All calls are worked on one after the other."""

    def __init__(self, path: Path, database: sqlite3.Connection, lock: BinaryIO) -> None:
        self._path = path
        self._database = database
        self._lock = lock
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="runabout-log")
        self._revision = self._read_revision()
        self._compacted = self._revision
        self._oldest = self._revision + 1
        """the first revision whose changes are still known"""
        self._history: list[WatchEvent] = []
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        """set, and replaced by another one, when the history has grown"""
        self._broken = ""
        """why nothing is known any more until the file is opened again"""

    async def get(self, key: bytes) -> bytes | None:
        """Return a key's value."""
        return await self._call(lambda: self._value(key))

    async def range(self, start: bytes, end: bytes, *, limit: int = 0) -> Page:
        """Return the keys from `start` up to `end`."""

        def read() -> Page:
            rows = self._database.execute(
                f"SELECT key, value, revision FROM items WHERE {_IN_RANGE} ORDER BY key LIMIT ?",  # noqa: S608 - a constant
                (start, end, limit + 1 if limit else -1),
            ).fetchall()
            shown = rows[:limit] if limit else rows
            return Page(tuple(KeyValue(*row) for row in shown), len(shown) < len(rows), self._revision)

        return await self._call(read)

    async def txn(
        self,
        compares: Sequence[Compare],
        puts: Sequence[Put],
        *,
        deletes: Sequence[KeyRange] = (),
        otherwise: Sequence[bytes] = (),
    ) -> TxnResult:
        """Write and delete if all compares hold, else read."""
        check_size(put_size(puts))
        check_operations(puts, deletes)

        def work() -> TxnResult:
            if all(self._value(each.key) == each.value for each in compares):
                self._write(puts, deletes)
                return TxnResult(succeeded=True)
            return TxnResult(succeeded=False, values=tuple(map(self._value, otherwise)))

        return await self._call(work)

    async def delete(self, start: bytes, end: bytes | None = None) -> int:
        """Delete a key or a range."""
        return await self._call(lambda: self._write((), (KeyRange(start, start + b"\x00" if end is None else end),)))

    async def compact(self, revision: int) -> None:
        """Forget the changes before a revision."""

        def work() -> None:
            if revision <= self._compacted:
                raise CompactedError(f"revision {revision} is compacted already")
            if revision > self._revision:
                raise CompactedError(f"revision {revision} is in the future")
            self._compacted, self._oldest = revision, max(revision, self._oldest)
            self._history = self._history[bisect_left(self._history, revision, key=_revision) :]

        await self._call(work)

    async def watch(self, start: bytes, end: bytes, *, revision: int) -> AsyncGenerator[WatchEvent, None]:
        """Return changes of a range from `revision` on."""
        while True:
            more = self._news
            if revision < self._oldest:
                raise CompactedError(f"revision {revision} is compacted; the oldest is {self._oldest}")
            news = self._history[bisect_left(self._history, revision, key=_revision) :]
            revision = max(revision, news[-1].revision + 1 if news else 0)
            for event in news:
                if start <= event.key < end:
                    yield event
            if not news:
                await more.wait()

    async def close(self) -> None:
        """Close the file and let others have it; what is under way ends before."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._database.close)
        self._worker.shutdown(wait=False)
        self._lock.close()

    async def _call(self, work: Callable[[], T]) -> T:
        """Do something in the one thread that uses the file."""

        def guarded() -> T:
            if self._broken:
                raise UnavailableError(self._broken)
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, guarded)
        except sqlite3.Error as error:
            raise _translated(error, self._path) from error

    def _write(self, puts: Sequence[Put], deletes: Sequence[KeyRange]) -> int:
        """Write and delete as one; return how many keys are gone."""
        database, revision = self._database, self._revision + 1
        database.execute("BEGIN IMMEDIATE")
        try:
            gone = [
                key
                for each in deletes
                for (key,) in database.execute(
                    f"DELETE FROM items WHERE {_IN_RANGE} RETURNING key",  # noqa: S608 - a constant
                    (each.start, each.end),
                ).fetchall()
            ]
            database.executemany(
                "INSERT OR REPLACE INTO items VALUES (?, ?, ?)", [(each.key, each.value, revision) for each in puts]
            )
            if puts or gone:
                database.execute("UPDATE head SET revision = ?", (revision,))
        except BaseException:
            if database.in_transaction:  # a full disk has SQLite end it by itself
                database.execute("ROLLBACK")
            raise
        self._commit()
        if puts or gone:
            self._revision = revision
            self._history += [  # all at once: watches are in another thread
                *(WatchEvent(each.key, each.value, revision) for each in puts),
                *(WatchEvent(key, None, revision) for key in gone),
            ]
            self._loop.call_soon_threadsafe(self._wake)  # also if the caller is gone
        return len(gone)

    def _commit(self) -> None:
        """Have the disk take it; if that fails it may have happened all the same, and only a new opening can tell."""
        try:
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._broken = f"{self._path} could not be written ({error}); what is true is seen when it is opened again"
            raise

    def _read_revision(self) -> int:
        (revision,) = self._database.execute("SELECT revision FROM head").fetchone()
        return int(revision)

    def _value(self, key: bytes) -> bytes | None:
        row = self._database.execute("SELECT value FROM items WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _revision(event: WatchEvent) -> int:
    return event.revision


def _locked(path: Path) -> BinaryIO:
    """Return the lock of the file, ours for as long as it is open, with our process id in it."""
    lock = Path(f"{path}.lock").open("a+b")  # noqa: SIM115 - open as long as the log; a file of its own, as closing would end SQLite's locks
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.truncate(0)
        lock.write(str(os.getpid()).encode())
        lock.flush()
    except OSError as error:
        lock.seek(0)
        holder = lock.read(20).decode(errors="replace").strip()
        lock.close()
        if isinstance(error, BlockingIOError):
            raise LogInUseError(path, holder) from error
        raise
    return lock


def _translated(error: sqlite3.Error, path: Path) -> EtcdError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        return FullError(f"{path}: there is no room on the disk")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return PermanentEtcdError(f"{path}: {error}")
    return UnknownOutcomeError(f"{path}: {error}")
