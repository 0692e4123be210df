"""Objects as files in a directory, on a local disk or a shared volume.

Below the base directory, `objects/` holds the files (their names: `runabout.ost.filenames`) and `tmp/` what is being
written. Several processes, also on several machines, may use one directory if its file system has POSIX semantics for
link and rename.
"""

import errno
import os
import stat as modes
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, MutableSequence, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from runabout.ost.draft import Draft, remove, remove_leftovers, sync_existing, sync_folders
from runabout.ost.errors import (
    AlreadyExistsError,
    CorruptError,
    DeniedError,
    FullError,
    InvalidKeyError,
    NotFoundError,
    OstError,
    UnavailableError,
    UnsuitableError,
    WriteFailedError,
)
from runabout.ost.filenames import path
from runabout.ost.pieces import Pieces
from runabout.ost.probe import probe_store
from runabout.ost.store import (
    MAX_PAGE,
    WHOLE,
    Announced,
    ByteRange,
    ObjectInfo,
    ObjectReader,
    SignedRequest,
    key_bytes,
    page_limit,
    shown,
    text_bytes,
)
from runabout.ost.waits import Waits
from runabout.ost.walk import page
from runabout.ost.workers import Workers

T = TypeVar("T")

PIECE = 1024 * 1024
"""Bytes read or written by one call."""
LEFTOVER_SECONDS = 24 * 3600
"""Age after which a file in `tmp/` belongs to a process that died."""
LONGEST_BASE = 512
"""Bytes of the base directory's path: with the longest key below it a path stays under the kernel's 4,096."""


class _Reader:
    def __init__(
        self, run: Callable[[Callable[[], bytes]], Awaitable[bytes]], file: int, info: ObjectInfo, span: ByteRange
    ) -> None:
        self.info = info
        self._run = run
        self._file = file
        self._span = span

    async def __aiter__(self) -> AsyncIterator[bytes]:
        at, end = self._span.within(self.info.size)
        while at < end:
            length = min(PIECE, end - at)
            yield await self._run(partial(_read_exactly, self._file, self.info.key, length, at))
            at += length


class PosixObjectStore:
    """An :class:`ObjectStore` in `base`, which `probe` makes ready for use."""

    def __init__(self, base: Path, *, threads: int = 16, timeout: float = 30.0, waits: Waits | None = None) -> None:
        self._base = base
        self._root = base / "objects"
        self._tmp = base / "tmp"
        self._workers = Workers("ost-posix", threads=threads, timeout=timeout)
        self._waits = waits or Waits()

    async def read(self, key: str, range: ByteRange = WHOLE) -> bytes:  # noqa: A002 - the port's word
        """See `ObjectStore.read`."""
        target = self._target(key)

        def call() -> bytes:
            file, info = _open(target, key)
            try:
                start, end = range.within(info.size)
                return _read_exactly(file, key, end - start, start)
            finally:
                os.close(file)

        return await self._run(call, f"reading {shown(key)}", failed=CorruptError)

    @asynccontextmanager
    async def open(self, key: str, range: ByteRange = WHOLE) -> AsyncIterator[ObjectReader]:  # noqa: A002 - as above
        """See `ObjectStore.open`."""
        run = partial(self._run, what=f"reading {shown(key)}", failed=CorruptError)
        file, info = await self._run(
            partial(_open, self._target(key), key), f"reading {shown(key)}", failed=CorruptError
        )
        try:
            yield _Reader(run, file, info, range)
        finally:
            self._workers.run_later(partial(os.close, file))

    async def write(
        self,
        key: str,
        data: bytes | AsyncIterable[bytes],
        *,
        size: int | None = None,
        persist: bool = True,
        create_only: bool = False,
    ) -> None:
        """See `ObjectStore.write`."""
        target, what = self._target(key), f"writing {shown(key)}"
        pieces = Pieces(data, key=key, size=size)
        piece = await pieces.take(PIECE)
        if len(piece) < PIECE:
            whole = partial(self._write_whole, target, piece, persist=persist, create_only=create_only)
            created = await self._run(whole, what, failed=WriteFailedError)
        else:
            created = await self._write_pieces(target, piece, pieces, what, persist=persist, create_only=create_only)
        if not created:
            raise AlreadyExistsError(f"there is an object {shown(key)} already")

    async def stat(self, key: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        target = self._target(key)
        return await self._run(lambda: _info(key, target.lstat()), f"looking at {shown(key)}")

    async def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        await self._run(partial(remove, self._target(key), self._root), f"deleting {shown(key)}")

    async def list(self, prefix: str = "", *, start_after: str = "", limit: int = MAX_PAGE) -> list[ObjectInfo]:
        """See `ObjectStore.list`."""
        begin, after, most = text_bytes(prefix), text_bytes(start_after), page_limit(limit)

        found = await self._run(
            partial(page, self._root, prefix=begin, after=after, limit=most),
            f"listing {shown(prefix)}",
            failed=CorruptError,
        )
        return [ObjectInfo(each.key, each.size, datetime.fromtimestamp(each.modified, UTC)) for each in found]

    async def presign(
        self,
        key: str,
        *,
        expires_seconds: int = 900,  # noqa: ARG002 - files have no URLs
        put: Announced | None = None,  # noqa: ARG002 - as above
    ) -> SignedRequest | None:
        """See `ObjectStore.presign`."""
        key_bytes(key)
        return None

    async def probe(self) -> None:
        """See `ObjectStore.probe`."""
        name = f"the object storage's directory {self._base}"
        made: list[Path] = []
        try:
            with self._waits.on(f"preparing {name}"):
                await self._workers.run(partial(self._prepare, made), f"preparing {name}")
            newest = await probe_store(self, name)
        except UnavailableError:
            raise  # what was made stays: nothing is known of it
        except (OSError, OstError) as error:
            await self._workers.run(partial(_remove_empty, made), f"giving up {name}")
            if not isinstance(error, OSError | DeniedError):
                raise
            raise UnsuitableError(
                f"{name} cannot be used ({error}): make it a directory that user {os.geteuid()} may write"
            ) from error
        older_than = newest.timestamp() - LEFTOVER_SECONDS
        await self._run(partial(remove_leftovers, self._tmp, older_than=older_than), f"cleaning {self._tmp}")

    async def close(self) -> None:
        """See `ObjectStore.close`."""
        self._workers.close()

    def _prepare(self, made: MutableSequence[Path]) -> None:
        """Make the folders; those that were not there are added to `made`, also if this fails."""
        if not self._base.is_absolute() or len(os.fsencode(self._base)) > LONGEST_BASE:
            raise UnsuitableError(f"{self._base} is no absolute path of at most {LONGEST_BASE} bytes")
        for folder in (*reversed(self._base.parents), self._base, self._root, self._tmp):
            if not folder.is_dir():
                try:
                    folder.mkdir(mode=0o750 if folder in (self._root, self._tmp) else 0o777)
                    made.append(folder)
                except FileExistsError:
                    if not folder.is_dir():
                        raise
        sync_folders(self._root, self._base)

    def _write_whole(self, target: Path, data: bytes, *, persist: bool, create_only: bool) -> bool:
        """Write a small object by one turn of a thread; return whether it was created or replaced."""
        if create_only and self._settled(target, persist=persist):
            return False
        draft = Draft(self._tmp)
        try:
            draft.write(data, persist=False)
            return self._publish(draft, target, persist=persist, create_only=create_only)
        finally:
            draft.discard()

    async def _write_pieces(
        self, target: Path, piece: bytes, pieces: Pieces, what: str, *, persist: bool, create_only: bool
    ) -> bool:
        """Write a large object piece by piece; return whether it was created or replaced."""
        if create_only and await self._run(partial(self._settled, target, persist=persist), what):
            return False
        draft = await self._run(partial(Draft, self._tmp), what)
        try:
            while piece:
                await self._run(partial(draft.write, piece, persist=persist), what, failed=WriteFailedError)
                piece = await pieces.take(PIECE)
            publish = partial(self._publish, draft, target, persist=persist, create_only=create_only)
            return await self._run(publish, what, failed=WriteFailedError)
        except BaseException:
            self._workers.run_later(draft.discard)
            raise

    def _publish(self, draft: Draft, target: Path, *, persist: bool, create_only: bool) -> bool:
        """Give a draft its name; return whether it has it. An object that others created is on the disk, too, then."""
        if persist:
            draft.sync()
        if not create_only:
            draft.replace(target, self._root)
        elif not draft.create(target, self._root):
            draft.discard()
            self._settled(target, persist=persist)
            return False
        draft.discard()
        if persist:
            sync_folders(target.parent, self._root)
        return True

    def _settled(self, target: Path, *, persist: bool) -> bool:
        """Whether there is an object already; one that somebody else created survives a loss of power then, too.

        He may have died before he had it synced, and who learns here that there is one goes on as if it was stored.
        """
        if not os.path.lexists(target):
            return False
        if persist:
            sync_existing(target, self._root)
        return True

    def _target(self, key: str) -> Path:
        names, name = path(key_bytes(key))
        return self._root.joinpath(*names, name)

    async def _run(self, call: Callable[[], T], what: str, *, failed: type[OstError] = UnavailableError) -> T:
        """Return what `call` returns; OSErrors become ours, an error of the device becomes `failed`."""

        def translated() -> T:
            try:
                return call()
            except OSError as error:
                raise self._translate(error, what, failed) from error

        with self._waits.on(f"{what} in {self._base}"):
            return await self._workers.run(translated, what)

    def _translate(self, error: OSError, what: str, failed: type[OstError]) -> OstError:
        said = f"{what} in {self._base}: {error.strerror or error}"
        match error.errno:
            case errno.ENOENT | errno.ENOTDIR if self._root.is_dir() and self._tmp.is_dir():
                return NotFoundError(said)
            case errno.ENOENT | errno.ENOTDIR:
                return UnavailableError(f"{said}; is its volume mounted?")
            case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
                return FullError(f"{said}; make room")
            case errno.EACCES | errno.EPERM | errno.EROFS:
                return DeniedError(f"{said}; user {os.geteuid()} must be able to read and write there")
            case errno.ENAMETOOLONG:
                return InvalidKeyError(said)
            case errno.EIO | errno.EUCLEAN:
                return failed(f"{said}; check the disk")
        return UnavailableError(said)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, the last one first, as long as they are empty."""
    with suppress(OSError):
        for each in reversed(folders):
            each.rmdir()


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    if not modes.S_ISREG(status.st_mode):
        raise CorruptError(f"what stands in the place of {shown(key)} is no file: somebody else put it there")
    return ObjectInfo(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _open(target: Path, key: str) -> tuple[int, ObjectInfo]:
    _info(key, target.lstat())  # a pipe would block when it is opened
    file = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return file, _info(key, os.fstat(file))
    except BaseException:
        os.close(file)
        raise


def _read_exactly(file: int, key: str, length: int, at: int) -> bytes:
    pieces: list[bytes] = []
    missing = length
    while missing:
        piece = os.pread(file, missing, at)
        if not piece:
            raise CorruptError(f"{shown(key)} is shorter than its file said: {missing} bytes are missing")
        pieces.append(piece)
        missing -= len(piece)
        at += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
