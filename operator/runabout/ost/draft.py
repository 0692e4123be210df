"""Files that become objects all at once, and the folders around them.

What always holds: data goes to a file of its own in `tmp/`, which gets its final name only when it is complete and, if
asked for, on the disk; a failed sync is final for that file, whose data is never trusted again; and whatever fails,
nothing half-written has a key. Everything here blocks and raises OSError.
"""

import contextlib
import os
import threading
import uuid
from pathlib import Path

SYNC_EVERY = 32 * 1024 * 1024
"""Bytes after which a file that is to be persisted is synced on the way, so that the last sync is short."""
PUBLISH_TRIES = 100
"""How often folders are made again when somebody removes them, being empty, at the same moment."""


class Draft:
    """A new file; its methods may be called from different threads, one after the other, and `discard` at any time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / uuid.uuid4().hex
        self._lock = threading.Lock()
        self._unsynced = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file: int | None = os.open(self._path, flags, 0o640)

    def write(self, data: bytes, *, persist: bool) -> None:
        """Add data at the end."""
        with self._lock:
            file = self._opened()
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
            self._unsynced += len(data)
            if persist and self._unsynced >= SYNC_EVERY:
                os.fdatasync(file)
                self._unsynced = 0

    def sync(self) -> None:
        """Put the data on the disk. A failure is final: the kernel may have dropped what it could not write."""
        with self._lock:
            os.fsync(self._opened())

    def create(self, target: Path, root: Path) -> bool:
        """Give the file its name unless it is taken; return whether this file now has it."""
        with self._lock:
            self._opened()
            for _ in range(PUBLISH_TRIES):
                _make_folders(target.parent, root)
                try:
                    os.link(self._path, target, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # an emptied folder was removed in between
                except FileExistsError:
                    # A file server may have done it and lost the answer.
                    return _is_same(self._path, target)
                return True
            raise _contended(target)

    def replace(self, target: Path, root: Path) -> None:
        """Give the file its name, also if another has it."""
        with self._lock:
            self._opened()
            for _ in range(PUBLISH_TRIES):
                _make_folders(target.parent, root)
                try:
                    self._path.replace(target)
                except FileNotFoundError:
                    continue  # as above
                return
            raise _contended(target)

    def discard(self) -> None:
        """Close the file and remove its temporary name; after it got its final one, that stays."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                os.close(file)
                with contextlib.suppress(FileNotFoundError):
                    self._path.unlink()

    def _opened(self) -> int:
        if self._file is None:
            raise OSError(f"{self._path} was given up")
        return self._file


def sync_folders(folder: Path, root: Path) -> None:
    """Put the entries of `folder` and of those above it, up to `root`, on the disk."""
    for each in (folder, *folder.parents):
        with contextlib.suppress(FileNotFoundError):  # removed with all that was in it
            descriptor = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        if each == root:
            return


def sync_existing(target: Path, root: Path) -> None:
    """Put a file that has its name already, and what leads to it, on the disk; one that is gone is no error."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folders(target.parent, root)


def remove(target: Path, root: Path) -> None:
    """Remove a file, and the folders that this leaves empty."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        target.unlink()
    for folder in target.parents:
        if folder == root:
            return
        try:
            folder.rmdir()
        except OSError:
            return  # in use, or gone already


def remove_leftovers(folder: Path, *, older_than: float) -> None:
    """Remove drafts of processes that died: those last written before `older_than`, in seconds since 1970."""
    with os.scandir(folder) as scan:
        for item in scan:
            with contextlib.suppress(FileNotFoundError):
                if item.stat(follow_symlinks=False).st_mtime < older_than:
                    Path(item.path).unlink()


def _make_folders(folder: Path, root: Path) -> None:
    missing: list[Path] = []
    while folder != root and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        try:
            each.mkdir(mode=0o750)
        except FileExistsError:
            continue
        except FileNotFoundError:
            return  # somebody removes emptied folders; giving the name fails and is tried again


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(one.lstat(), other.lstat())
    except FileNotFoundError:
        return False


def _contended(target: Path) -> OSError:
    return OSError(f"{target.parent} is removed as often as it is made")
