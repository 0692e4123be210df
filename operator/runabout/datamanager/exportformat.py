"""The folder that an export is: data files, and what says which they are.

    documents/<type>/<number, 6 digits>.parquet   as `datafile`: documents of one type, sorted by key
    runabout-export.json                          what the export is of, and its files with sizes and SHA-256s
    SHA256SUMS                                    of all other files, as `sha256sum --check` reads it; written last

A folder without the last one is an export that did not come to its end.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from runabout.datamanager.datafile import MAX_FILE, read_rows
from runabout.datamanager.errors import BrokenLog, StoreError
from runabout.datamanager.manifest import DataFile, folder_of

FORMAT = "runabout-export"
VERSION = 1
DESCRIPTION = "runabout-export.json"
SUMS = "SHA256SUMS"
DOCUMENTS = "documents"
MAX_DESCRIPTION = 64 * 1024 * 1024
"""Bytes; a file takes about 300 of them."""
CHAIN_SIZE = 16


class ExportError(StoreError):
    """An export that cannot be written there, or that is damaged, not whole, or of a newer format."""


@dataclass(frozen=True, slots=True)
class Export:
    """What an export holds; names of `files` are relative to its folder, sorted by type and key."""

    store_id: bytes
    number: int
    incarnation: bytes
    epoch: int
    sequence: int
    """The batch after which the documents are like this."""
    chain: bytes
    """The one after that batch: it stands for everything before."""
    made_at: str
    numbers: Mapping[str, int] = field(default_factory=dict)
    """The last number that was given to an append of each type."""
    files: tuple[DataFile, ...] = ()

    @property
    def documents(self) -> dict[str, int]:
        """How many of each type."""
        counts = Counter[str]()
        for each in self.files:
            counts[each.type] += each.count
        return dict(sorted(counts.items()))

    def encode(self) -> bytes:
        """Return the bytes of the description."""
        body = {
            "format": FORMAT,
            "version": VERSION,
            "store": {
                "id": self.store_id.hex(),
                "number": self.number,
                "incarnation": self.incarnation.hex(),
                "epoch": self.epoch,
            },
            "sequence": self.sequence,
            "chain": self.chain.hex(),
            "madeAt": self.made_at,
            "numbers": dict(self.numbers),
            "documents": self.documents,
            "files": [
                {
                    "name": each.object,
                    "type": each.type,
                    "size": each.size,
                    "sha256": each.sha256.hex(),
                    "first": each.first,
                    "last": each.last,
                    "count": each.count,
                }
                for each in self.files
            ],
        }
        return orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n"

    def sums(self, description: bytes) -> bytes:
        """Return the bytes of the list of checksums."""
        lines = [f"{each.sha256.hex()}  {each.object}\n" for each in self.files]
        return "".join([*lines, _line(description)]).encode()


def name_of(kind: str, number: int) -> str:
    """Return the name of a type's data file."""
    return f"{DOCUMENTS}/{folder_of(kind)}/{number:06}.parquet"


def _line(description: bytes) -> str:
    return f"{hashlib.sha256(description).hexdigest()}  {DESCRIPTION}\n"


def read_export(folder: Path) -> Export:
    """Return what an export says it holds; its data files have not been looked at.

    Raises:
        ExportError: there is none, or it is not whole, or damaged, or of a newer format.
    """
    if not folder.is_dir():
        raise ExportError(f"{folder} is no folder: name one that `runabout data export` has written")
    description = _read(folder / DESCRIPTION, MAX_DESCRIPTION)
    sums = _read(folder / SUMS, MAX_DESCRIPTION)
    if not sums.endswith(_line(description).encode()):
        raise ExportError(f"{folder / DESCRIPTION} is damaged: its SHA-256 is not the one in {SUMS}")
    try:
        found = _decode(orjson.loads(description), folder / DESCRIPTION)
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ExportError(f"{folder / DESCRIPTION} cannot be read: {error}") from error
    if found.sums(description) != sums:
        raise ExportError(f"{folder / SUMS} is damaged: it says something else than {DESCRIPTION}")
    return found


def _read(path: Path, most: int) -> bytes:
    try:
        if path.stat().st_size > most:
            raise ExportError(f"{path} has {path.stat().st_size} bytes; no export has")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ExportError(
            f"{path} is missing: this is no export, or one that did not come to its end or lost a file"
        ) from error
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror or error}") from error


def _decode(body: dict[str, Any], where: Path) -> Export:
    if body["format"] != FORMAT:
        raise ValueError(f"its format is {body['format']!r}")
    if body["version"] > VERSION:
        raise ExportError(
            f"{where} has version {body['version']} of the format; this program reads {VERSION}: use a newer one"
        )
    store = body["store"]
    export = Export(
        _exactly(store["id"], CHAIN_SIZE),
        int(store["number"]),
        _exactly(store["incarnation"], CHAIN_SIZE),
        int(store["epoch"]),
        int(body["sequence"]),
        _exactly(body["chain"], CHAIN_SIZE),
        str(body["madeAt"]),
        {str(kind): int(number) for kind, number in body["numbers"].items()},
        tuple(_file(item) for item in body["files"]),
    )
    for one, other in pairwise(export.files):
        if (one.type, one.last) >= (other.type, other.first):
            raise ValueError(f"{other.object} does not come after {one.object}")
    if not 0 <= export.sequence < 2**63 or export.documents != body["documents"]:
        raise ValueError("its counts do not fit its files")
    return export


def _file(item: dict[str, Any]) -> DataFile:
    file = DataFile(
        item["name"],
        item["type"],
        int(item["size"]),
        bytes.fromhex(item["sha256"]),
        item["first"],
        item["last"],
        int(item["count"]),
    )
    if Path(file.object).parent.as_posix() != f"{DOCUMENTS}/{folder_of(file.type)}" or file.size > MAX_FILE:
        raise ValueError(f"a data file is described as {item!r}")
    if file.count < 1 or file.first > file.last:
        raise ValueError(f"{file.object} is said to have {file.count} documents")
    return file


def _exactly(text: str, size: int) -> bytes:
    found = bytes.fromhex(text)
    if len(found) != size:
        raise ValueError(f"{text!r} has not {size} bytes")
    return found


def read_data(folder: Path, file: DataFile) -> bytes:
    """Return the bytes of a data file, which are as described.

    Raises:
        ExportError: they are not.
    """
    data = _read(folder / file.object, MAX_FILE)
    try:
        file.check(data)
    except BrokenLog as error:
        raise ExportError(f"{folder}: {error}: the export is damaged") from error
    return data


def check_data(folder: Path, file: DataFile) -> None:
    """Verify a data file with all of its documents.

    Raises:
        ExportError: it is not as described.
    """
    try:
        for _ in read_rows(read_data(folder, file), file):
            pass
    except BrokenLog as error:
        raise ExportError(f"{folder}: {error}: the export is damaged") from error
