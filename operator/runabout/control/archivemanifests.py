"""What an archive consists of: the small object that makes its parts one thing. Written once, never changed."""

from dataclasses import dataclass
from typing import Annotated, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

LARGEST_PART = 64 * 1024 * 1024
"""Bytes."""
MOST_PARTS = 20_000
"""160 GB in the toolbox's parts of 8 MiB."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**62)]


class Part(BaseModel):
    """One piece of an archive's bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    size: Annotated[int, Field(ge=1, le=LARGEST_PART)]
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Manifest:
    """An archive: its parts in order, how many files are in it and how many bytes they have unpacked.

    `folder` is what the keys of the parts begin with. `created` is milliseconds since 1970, by the clock of who wrote
    it; it only orders what the object storage's clock does not.
    """

    folder: str
    parts: tuple[Part, ...]
    files: int
    bytes: int
    created: int = 0
    name: str = ""
    """A cache's key."""

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)

    def same_archive(self, other: Self) -> bool:
        """Whether two are about the same bytes."""
        return self.parts == other.parts


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
            parts=tuple(Part(size=size, sha256=sha256) for size, sha256 in found["parts"]),
            files=int(found["files"]),
            bytes=int(found["bytes"]),
            created=int(found["created"]),
            name=str(found["name"]),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, ValidationError) as error:
        raise DamagedManifestError(f"{key} is no manifest of an archive: {error}") from error
