"""Layers of images: uncompressed tars that are the same bytes whenever their content is the same.

Entries are sorted, times are zero, owners are numbers. A layer lives in a store under the SHA-256 of its bytes, so
that images share layers and unchanged content costs nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from localcluster.settings import cache_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a layer. `path` is relative; `content` is bytes, or a file of this machine; `link` makes a link."""

    path: str
    mode: int = 0o644
    content: bytes | Path | None = None
    link: str | None = None
    uid: int = 0
    gid: int = 0


class _Hashing(io.RawIOBase):
    """Passes bytes on and hashes them."""

    def __init__(self, sink: BinaryIO) -> None:
        self.sink = sink
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        block = bytes(data)  # type: ignore[call-overload]
        self.sha256.update(block)
        self.sink.write(block)
        self.size += len(block)
        return len(block)


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in the store: `sha256:<hex>` and their number."""

    digest: str
    size: int


def write_layer(entries: Iterable[Entry], sink: BinaryIO) -> Blob:
    """Write a layer's tar. Folders above an entry are added where they are not entries themselves."""
    output = _Hashing(sink)
    by_path = {entry.path.strip("/"): entry for entry in entries}
    for path in list(by_path):
        for parent in Path(path).parents:
            name = parent.as_posix()
            if name != ".":
                by_path.setdefault(name, Entry(path=name, mode=0o755))
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:
        for path in sorted(by_path, key=lambda name: name.split("/")):
            _add(tar, path, by_path[path])
    return Blob(digest=f"sha256:{output.sha256.hexdigest()}", size=output.size)


def _add(tar: tarfile.TarFile, path: str, entry: Entry) -> None:
    info = tarfile.TarInfo(path)
    info.mode, info.uid, info.gid, info.mtime = entry.mode, entry.uid, entry.gid, 0
    if entry.link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
        tar.addfile(info)
    elif entry.content is None:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif isinstance(entry.content, bytes):
        info.size = len(entry.content)
        tar.addfile(info, io.BytesIO(entry.content))
    else:
        info.size = entry.content.stat().st_size
        with entry.content.open("rb") as file:
            tar.addfile(info, file)


def tree(root: Path, *, at: str = "", leave_out: Callable[[str], bool] = lambda _: False) -> Iterator[Entry]:
    """Everything below a folder, with its owners and modes; devices and sockets are left out.

    `at` is where it goes in the image; `leave_out` is asked with the path relative to `root`.
    """
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        relative = here.relative_to(root)
        folders[:] = [name for name in folders if not leave_out((relative / name).as_posix())]
        for name in (*folders, *files):
            inner = (relative / name).as_posix()
            if leave_out(inner):
                continue
            source = here / name
            status = source.lstat()
            entry = _entry(source, status, f"{at}/{inner}".strip("/"))
            if entry is not None:
                yield entry


def _entry(source: Path, status: os.stat_result, path: str) -> Entry | None:
    mode, uid, gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
    if stat.S_ISLNK(status.st_mode):
        return Entry(path=path, mode=0o777, link=str(source.readlink()), uid=uid, gid=gid)
    if stat.S_ISDIR(status.st_mode):
        return Entry(path=path, mode=mode, uid=uid, gid=gid)
    if stat.S_ISREG(status.st_mode):
        return Entry(path=path, mode=mode, content=source, uid=uid, gid=gid)
    return None


@dataclass(frozen=True, slots=True)
class Store:
    """Blobs by digest, and notes by key (what was built from which input)."""

    root: Path

    @classmethod
    def of_user(cls) -> Store:
        """The store in the cache."""
        return cls(root=cache_root() / "images")

    def path(self, digest: str) -> Path:
        """Where a blob is."""
        return self.root / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        return self.path(digest).is_file()

    def put(self, data: bytes) -> Blob:
        """Store bytes."""
        blob = Blob(digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data))
        if not self.has(blob.digest):
            with self._draft() as (file, path):
                file.write(data)
                file.flush()
                path.replace(self.path(blob.digest))
        return blob

    def put_layer(self, entries: Iterable[Entry]) -> Blob:
        """Write a layer into the store."""
        with self._draft() as (file, path):
            blob = write_layer(entries, file)
            file.flush()
            path.replace(self.path(blob.digest))
        return blob

    def layer(self, key: str, make: Callable[[Path], Iterable[Entry]]) -> Blob:
        """The layer that was made under this key before, or make it. `key` must name everything that goes in.

        `make` gets an empty folder that is there until the layer is written.
        """
        note = self.root / "keys" / hashlib.sha256(key.encode()).hexdigest()
        if note.exists():
            digest = note.read_text().strip()
            if self.has(digest):
                return Blob(digest=digest, size=self.path(digest).stat().st_size)
        scratch = self.root / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            blob = self.put_layer(make(Path(folder)))
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(blob.digest + "\n")
        return blob

    def _draft(self) -> _Draft:
        folder = self.root / "blobs" / "sha256"
        folder.mkdir(parents=True, exist_ok=True)
        return _Draft(folder)


class _Draft:
    """A file beside the blobs that is gone at the end unless it was renamed."""

    def __init__(self, folder: Path) -> None:
        handle, name = tempfile.mkstemp(prefix=".draft-", dir=folder)
        self.path = Path(name)
        self.path.chmod(0o644)
        self.file = os.fdopen(handle, "wb")

    def __enter__(self) -> tuple[BinaryIO, Path]:
        return self.file, self.path

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.path.unlink(missing_ok=True)
