"""Listing of a directory tree of objects in the order of their keys.

What always holds: folders that cannot hold a wanted key are not read, a folder's names are held only `limit` at a time,
symbolic links are never followed, and files that are nobody's key are passed over.
"""

import heapq
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runabout.ost.filenames import Entry, entry, folders


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is an object; `modified` in seconds since 1970."""

    key: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class _Folder:
    place: str
    base: bytes
    """What the keys of everything inside begin with."""


def page(root: Path, *, prefix: bytes, after: bytes, limit: int) -> list[Found]:
    """Return the first `limit` objects below `root` whose key begins with `prefix` and comes after `after`.

    Raises:
        FileNotFoundError: there is no `root`.
        OSError: a directory cannot be read.
    """
    root.lstat()  # a volume that is not mounted is no empty store
    names, rest = folders(prefix)
    first = _Folder(str(root.joinpath(*names)), prefix[: len(prefix) - len(rest)])
    found: list[Found] = []
    open_folders = [_ordered(first, prefix, after, limit)]
    while open_folders and len(found) < limit:
        step = next(open_folders[-1], None)
        if step is None:
            open_folders.pop()
        elif isinstance(step, Found):
            found.append(step)
        else:
            open_folders.append(_ordered(step, prefix, after, limit))
    return found


def _ordered(folder: _Folder, prefix: bytes, after: bytes, batch: int) -> Iterator[Found | _Folder]:
    floor: bytes | None = None
    while True:
        entries = heapq.nsmallest(batch, _wanted(folder, prefix, after, floor))
        for each in entries:
            key, place = folder.base + each.part, f"{folder.place}/{each.name}"
            if each.is_folder:
                yield _Folder(place, key)
            elif (found := _describe(key, place)) is not None:
                yield found
        if len(entries) < batch:
            return
        floor = entries[-1].part


def _wanted(folder: _Folder, prefix: bytes, after: bytes, floor: bytes | None) -> Iterator[Entry]:
    try:
        scan = os.scandir(folder.place)
    except FileNotFoundError:
        return
    with scan:
        for item in scan:
            each = entry(item.name, is_folder=item.is_dir(follow_symlinks=False))
            if each is None or (floor is not None and each.part <= floor):
                continue
            key = folder.base + each.part
            if each.is_folder:
                may_match = key.startswith(prefix) or prefix.startswith(key)
                if may_match and key >= after[: len(key)]:
                    yield each
            elif key.startswith(prefix) and key > after:
                yield each


def _describe(key: bytes, place: str) -> Found | None:
    try:
        text, status = key.decode(), os.lstat(place)
    except (UnicodeDecodeError, FileNotFoundError):
        return None
    return Found(text, status.st_size, status.st_mtime) if stat.S_ISREG(status.st_mode) else None
