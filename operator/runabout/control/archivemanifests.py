"""What an archive consists of: the small object that makes its parts one thing. Written once, never changed."""

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Self, overload

import orjson
from pydantic import BaseModel, ConfigDict, Field

LARGEST_PART = 64 * 1024 * 1024
"""Bytes."""
MOST_PARTS = 20_000
"""160 GB in the toolbox's parts of 8 MiB."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_HASH_BYTES = 32
_HASHES = re.compile("[0-9a-f]*")
Count = Annotated[int, Field(ge=0, le=2**62)]


class Part(BaseModel):
    """One piece of an archive's bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    size: Annotated[int, Field(ge=1, le=LARGEST_PART)]
    sha256: Sha256


class Parts(Sequence[Part]):
    """The parts of an archive in 36 bytes each; equal to others of the same sizes and hashes."""

    __slots__ = ("hashes", "sizes")

    def __init__(self, sizes: Iterable[int], hashes: bytes) -> None:
        self.sizes = array("I", sizes)
        """Bytes of each."""
        self.hashes = hashes
        """The SHA-256 of each, 32 bytes."""
        if len(hashes) != _HASH_BYTES * len(self.sizes):
            raise ValueError(f"{len(self.sizes)} parts have {len(hashes)} bytes of hashes")

    @classmethod
    def of(cls, parts: Sequence[Part]) -> "Parts":
        """Return the same parts."""
        if isinstance(parts, Parts):
            return parts
        return cls([part.size for part in parts], bytes.fromhex("".join(part.sha256 for part in parts)))

    @classmethod
    def checked(cls, rows: object) -> "Parts":
        """Return the parts of pairs of sizes and hashes as they were read from JSON.

        Raises:
            ValueError, TypeError: they are no parts.
        """
        if not isinstance(rows, list):
            raise TypeError("the parts are no list")
        sizes, hashes = zip(*rows, strict=True) if rows else ((), ())
        joined = "".join(hashes)
        # Of all of them at once: there are thousands, and the event loop waits.
        if not {*map(type, sizes)} <= {int} or (sizes and not 1 <= min(sizes) <= max(sizes) <= LARGEST_PART):
            raise ValueError("the size of a part is none")
        if not {*map(len, hashes)} <= {2 * _HASH_BYTES} or not _HASHES.fullmatch(joined):
            raise ValueError("the hash of a part is none")
        return cls(sizes, bytes.fromhex(joined))

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, at: int) -> Part: ...
    @overload
    def __getitem__(self, at: slice) -> "Parts": ...
    def __getitem__(self, at: int | slice) -> "Part | Parts":
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step != 1:
                raise ValueError("parts are taken one after the other")
            return Parts(self.sizes[start:stop], self.hashes[_HASH_BYTES * start : _HASH_BYTES * max(start, stop)])
        number = at + len(self) if at < 0 else at
        size = self.sizes[at]
        sha256 = self.hashes[_HASH_BYTES * number : _HASH_BYTES * (number + 1)].hex()
        return Part.model_construct(size=size, sha256=sha256)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parts):
            return NotImplemented
        return self.sizes == other.sizes and self.hashes == other.hashes

    def __hash__(self) -> int:
        return hash(self.hashes)


@dataclass(frozen=True, slots=True)
class Manifest:
    """An archive: its parts in order, how many files are in it and how many bytes they have unpacked.

    `folder` is what the keys of the parts begin with. `created` is milliseconds since 1970, by the clock of who wrote
    it; it only orders what the object storage's clock does not.
    """

    folder: str
    parts: Sequence[Part]
    files: int
    bytes: int
    created: int = 0
    name: str = ""
    """A cache's key."""

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(Parts.of(self.parts).sizes)

    def same_archive(self, other: Self) -> bool:
        """Whether two are about the same bytes."""
        return Parts.of(self.parts) == Parts.of(other.parts)


class DamagedManifestError(Exception):
    """An object that should be a manifest is none; the message has its key."""


def encode_manifest(manifest: Manifest) -> bytes:
    """Return a manifest as it is stored."""
    return orjson.dumps(
        {
            "version": 1,
            "folder": manifest.folder,
            "name": manifest.name,
            "files": manifest.files,
            "bytes": manifest.bytes,
            "created": manifest.created,
            "parts": [[part.size, part.sha256] for part in manifest.parts],
        }
    )


def decode_manifest(body: bytes, *, key: str) -> Manifest:
    """Return the manifest that is stored under `key`.

    Raises:
        DamagedManifestError
    """
    try:
        found = orjson.loads(body)
        if found["version"] != 1:
            raise DamagedManifestError(f"{key} is of version {found['version']}, newer than this program")
        return Manifest(
            folder=str(found["folder"]),
            parts=Parts.checked(found["parts"]),
            files=int(found["files"]),
            bytes=int(found["bytes"]),
            created=int(found["created"]),
            name=str(found["name"]),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise DamagedManifestError(f"{key} is no manifest of an archive: {error}") from error
