"""A manifest: all documents of a store as they were after some batch, as a list of data files.

    magic "RUNM" · format 1 (u8) · store id (16 B) · covers (u64) · epoch (u64) · incarnation (16 B)
    · zstd frame of JSON · CRC32C of all that stands before it (u32)

Integers are big-endian. Covers is the last sequence that is in the documents; it is always the end of a segment. Epoch
and incarnation say who wrote it. The JSON has the segment with which it ends (`sealed`), the last numbers of appends
(`numbers`), the data files (`files`) and their ends (`footers`, in the same order), the index files (`index`, if the
writer kept an index), and the manifest before (`previous`); bytes are hexadecimal. What a manifest says follows from
the log alone: two with the same covers, of one store, say the same. Older versions wrote none with an index or footers,
and do not mind them.
"""

import hashlib
import re
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import google_crc32c
import orjson
import zstandard

from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.formats import refuse_newer
from runabout.datamanager.head import NOTHING_SEALED, Sealed, decode_sealed
from runabout.records import RunId, parse_run_id
from runabout.runindex import FileInfo

MAX_MANIFEST = 64 * 1024 * 1024
"""Bytes that a manifest may have, packed or not; more is damage. A data file takes about 400 of them."""
LONGEST_FOLDER = 200
"""Bytes of an element of a key; a longer type goes by its checksum."""
MAGIC = b"RUNM\x01"
"""Letters and number with which a manifest begins."""
_HEADER = struct.Struct(">5s16sQQ16s")
_POINTER_MAGIC = b"RUNC\x01"
_POINTER = struct.Struct(">5sQQ16s16sQ32s")
_CRC = struct.Struct(">I")
_INDEX_NAME = re.compile(r"[0-9a-v]{13}-[1-9][0-9]*-[0-9a-f]{8}-([0-9a-f]{16})-[0-9a-f]{32}\.parquet")


@dataclass(frozen=True, slots=True)
class Footer:
    """The end of a data file, which says where its row groups are: with it, each can be read and checked alone."""

    size: int
    sha256: bytes

    def check(self, key: str, data: bytes) -> None:
        """Make sure that these are the last bytes of the object.

        Raises:
            BrokenLog: they are not.
        """
        if len(data) != self.size or hashlib.sha256(data).digest() != self.sha256:
            raise BrokenLog(f"the end of {key} is not the one in its manifest")


@dataclass(frozen=True, slots=True)
class DataFile:
    """One object with documents of one type, sorted by key; ranges of a type's files do not overlap."""

    object: str
    type: str
    size: int
    sha256: bytes
    first: str
    last: str
    count: int
    footer: Footer | None = None
    """None: an older version wrote the file; it can only be checked as a whole."""

    def check(self, data: bytes) -> None:
        """Make sure that these are the bytes of the object.

        Raises:
            BrokenLog: they are not.
        """
        _check(self.object, data, self.size, self.sha256)
        if self.footer is not None:
            self.footer.check(self.object, data[-self.footer.size :])


@dataclass(frozen=True, slots=True)
class IndexFile:
    """One object with rows of the index."""

    object: str
    info: FileInfo

    def check(self, data: bytes) -> None:
        """Make sure that these are the bytes of the object.

        Raises:
            BrokenLog: they are not.
        """
        _check(self.object, data, self.info.size, self.info.sha256)


@dataclass(frozen=True, slots=True)
class IndexFiles:
    """All rows of the index, by id in files that do not overlap; `labels` are those that every row was asked for."""

    labels: tuple[str, ...] = ()
    files: tuple[IndexFile, ...] = ()
    unreadable: frozenset[RunId] | None = None
    """Runs whose record cannot be read, and which have no row; None: an older version did not say."""


def _check(key: str, data: bytes, size: int, sha256: bytes) -> None:
    if len(data) != size:
        raise BrokenLog(f"{key} has {len(data)} bytes, its manifest says {size}")
    if hashlib.sha256(data).digest() != sha256:
        raise BrokenLog(f"the SHA-256 of {key} is not the one in its manifest")


@dataclass(frozen=True, slots=True)
class Pointer:
    """Names a manifest and says what its bytes are: the value of the manifest key in etcd."""

    covers: int
    epoch: int
    id: bytes
    chain: bytes
    size: int
    sha256: bytes

    @property
    def name(self) -> str:
        """The end of the object's key."""
        return Name(self.covers, self.epoch, self.id).text

    def encode(self) -> bytes:
        """Return the value of the manifest key."""
        value = _POINTER.pack(_POINTER_MAGIC, self.covers, self.epoch, self.id, self.chain, self.size, self.sha256)
        return value + _CRC.pack(google_crc32c.value(value))


def decode_pointer(value: bytes, *, where: str) -> Pointer:
    """Return the pointer in `value`.

    Raises:
        BrokenLog: it is damaged or of another format. NewerFormat: a newer version wrote it.
    """
    refuse_newer(value, _POINTER_MAGIC, where=where)
    if len(value) != _POINTER.size + _CRC.size or not value.startswith(_POINTER_MAGIC):
        raise BrokenLog(f"{where} says {value[:32]!r}: damaged, or a format that this version cannot read")
    if google_crc32c.value(value[: -_CRC.size]) != _CRC.unpack(value[-_CRC.size :])[0]:
        raise BrokenLog(f"{where} is damaged: its checksum does not fit its bytes")
    return Pointer(*_POINTER.unpack(value[: -_CRC.size])[1:])


def folder_of(kind: str) -> str:
    """Return the element of a data file's key that stands for its type; any type has one of its own."""
    quoted = quote(kind, safe="").replace(".", "%2E")
    return quoted if len(quoted) <= LONGEST_FOLDER else f"%{hashlib.sha256(kind.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Name:
    """What the end of a manifest's or data file's key says."""

    covers: int
    epoch: int
    id: bytes

    @property
    def text(self) -> str:
        """The last element of a manifest's key."""
        return f"{self.covers:016x}-{self.epoch:016x}-{self.id.hex()}"


def parse_name(text: str) -> Name | None:
    """Return what the last element of a key says, None if it is not one of ours."""
    parts = text.removesuffix(".parquet").split("-")
    try:
        name = Name(int(parts[0], 16), int(parts[1], 16), bytes.fromhex(parts[2]))
    except (ValueError, IndexError):
        return None
    again = {name.text, f"{name.text}.parquet"}
    return name if len(name.id) == len(uuid.UUID(int=0).bytes) and text in again else None


def data_name(kind: str, *, covers: int, epoch: int) -> str:
    """Return the end of a new data file's key: its type's folder, and a name that never comes twice."""
    return f"{folder_of(kind)}/{Name(covers, epoch, uuid.uuid4().bytes).text}.parquet"


def index_name(info: FileInfo, *, epoch: int, id: bytes) -> str:  # noqa: A002 - the word for it
    """Return the last element of an index file's key: what is in it, and, as no name may come twice, whose it is."""
    return f"{info.name.removesuffix('.parquet')}-{epoch:016x}-{id.hex()}.parquet"


def parse_index_name(text: str) -> int | None:
    """Return the epoch in the last element of an index file's key, None if it is not one of ours."""
    found = _INDEX_NAME.fullmatch(text)
    return None if found is None else int(found[1], 16)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The documents after the segment `sealed`; `files` are sorted by type and key."""

    store_id: bytes
    epoch: int
    incarnation: bytes
    sealed: Sealed
    numbers: Mapping[str, int] = field(default_factory=dict)
    """The last number of each type that was ever appended to."""
    files: tuple[DataFile, ...] = ()
    previous: Pointer | None = None
    index: IndexFiles | None = None
    """None: whoever wrote this kept no index."""

    @property
    def covers(self) -> int:
        """The last sequence that is in the documents."""
        return self.sealed.last

    def of(self, kind: str) -> tuple[DataFile, ...]:
        """Return the files of a type."""
        return tuple(each for each in self.files if each.type == kind)

    @property
    def objects(self) -> tuple[str, ...]:
        """The keys of all objects that it needs beside the log."""
        indexed = () if self.index is None else self.index.files
        return (*(each.object for each in self.files), *(each.object for each in indexed))

    def encode(self) -> bytes:
        """Return the bytes of the object."""
        head = _HEADER.pack(MAGIC, self.store_id, self.covers, self.epoch, self.incarnation)
        body: dict[str, Any] = {
            "sealed": self.sealed.encode().hex(),
            "numbers": dict(self.numbers),
            "files": [
                [each.object, each.type, each.size, each.sha256.hex(), each.first, each.last, each.count]
                for each in self.files
            ],
            "previous": None if self.previous is None else self.previous.encode().hex(),
        }
        if any(each.footer is not None for each in self.files):
            footers = (each.footer for each in self.files)
            body["footers"] = [None if each is None else [each.size, each.sha256.hex()] for each in footers]
        if self.index is not None:
            body["index"] = {
                "labels": list(self.index.labels),
                "files": [
                    [
                        each.object,
                        each.info.first,
                        each.info.last,
                        each.info.rows,
                        each.info.size,
                        each.info.sha256.hex(),
                    ]
                    for each in self.index.files
                ],
                **({} if self.index.unreadable is None else {"unreadable": sorted(self.index.unreadable)}),
            }
        data = head + zstandard.ZstdCompressor().compress(orjson.dumps(body))
        return data + _CRC.pack(google_crc32c.value(data))

    def pointer(self, data: bytes, id: bytes) -> Pointer:  # noqa: A002 - the word for it
        """Return what names this manifest, whose bytes are `data`."""
        return Pointer(self.covers, self.epoch, id, self.sealed.chain, len(data), hashlib.sha256(data).digest())


def nothing_covered(store_id: bytes, incarnation: bytes) -> Manifest:
    """Return what stands for a manifest where there is none."""
    return Manifest(store_id, 0, incarnation, NOTHING_SEALED)


def decode_manifest(data: bytes, *, where: str) -> Manifest:
    """Return the manifest in `data`; `where` names it in errors.

    Raises:
        BrokenLog: the bytes are not whole, not of this format, or say two things. NewerFormat: a newer version wrote
            them.
    """
    if len(data) < _HEADER.size + _CRC.size or len(data) > MAX_MANIFEST:
        raise BrokenLog(f"{where} has {len(data)} bytes: no manifest has")
    if google_crc32c.value(data[: -_CRC.size]) != _CRC.unpack(data[-_CRC.size :])[0]:
        raise BrokenLog(f"{where} is damaged: its checksum does not fit its bytes")
    refuse_newer(data, MAGIC, where=where)
    magic, store_id, covers, epoch, incarnation = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise BrokenLog(f"{where} has the format {magic!r}, which this version cannot read")
    try:
        found = _manifest(data[_HEADER.size : -_CRC.size], store_id, epoch, incarnation, where=where)
    except (zstandard.ZstdError, orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise BrokenLog(f"{where} cannot be decoded: {error}") from error
    if found.covers != covers:
        raise BrokenLog(f"{where} says two things: covers {covers}, and {found.covers}")
    return found


def _manifest(frame: bytes, store_id: bytes, epoch: int, incarnation: bytes, *, where: str) -> Manifest:
    # The size in the frame is what decompression makes room for, whatever limit it is given.
    size = zstandard.frame_content_size(frame)
    if not 0 <= size <= MAX_MANIFEST:
        raise ValueError(f"a frame of {size} bytes, at most {MAX_MANIFEST} are possible")
    body: dict[str, Any] = orjson.loads(
        zstandard.ZstdDecompressor().decompress(frame, max_output_size=MAX_MANIFEST, allow_extra_data=False)
    )
    previous = body["previous"]
    return Manifest(
        store_id,
        epoch,
        incarnation,
        decode_sealed(bytes.fromhex(body["sealed"]), where=f"the end of {where}"),
        {str(kind): int(number) for kind, number in body["numbers"].items()},
        _files(body["files"], body.get("footers")),
        None if previous is None else decode_pointer(bytes.fromhex(previous), where=f"the one before {where}"),
        _index(body["index"]) if "index" in body else None,
    )


def _files(items: list[list[Any]], footers: list[list[Any] | None] | None) -> tuple[DataFile, ...]:
    return tuple(
        replace(_file(item), footer=None if footer is None else Footer(int(footer[0]), bytes.fromhex(footer[1])))
        for item, footer in zip(items, footers or [None] * len(items), strict=True)
    )


def _file(item: list[Any]) -> DataFile:
    key, kind, size, sha256, first, last, count = item
    if not all(isinstance(each, str) for each in (key, kind, first, last)) or size < 0 or count < 1 or first > last:
        raise ValueError(f"a data file is described as {item!r}")
    return DataFile(key, kind, int(size), bytes.fromhex(sha256), first, last, int(count))


def _index(item: dict[str, Any]) -> IndexFiles:
    files = tuple(_index_file(each) for each in item["files"])
    for before, after in pairwise(files):
        if before.info.last >= after.info.first:
            raise ValueError(f"two index files have the same runs: {before.object} and {after.object}")
    unreadable = frozenset(parse_run_id(each) for each in item["unreadable"]) if "unreadable" in item else None
    return IndexFiles(tuple(str(label) for label in item["labels"]), files, unreadable)


def _index_file(item: list[Any]) -> IndexFile:
    key, first, last, rows, size, sha256 = item
    if not all(isinstance(each, str) for each in (key, first, last)) or size < 0 or rows < 1 or first > last:
        raise ValueError(f"an index file is described as {item!r}")
    return IndexFile(key, FileInfo(RunId(first), RunId(last), int(rows), int(size), bytes.fromhex(sha256)))
