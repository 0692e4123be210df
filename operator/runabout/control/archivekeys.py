"""Where things are on the object storage. The gateway alone chooses keys; tasks never see them.

    archives/<run>/<task>/<attempt>/<step>/manifest          a workspace archive of one step
    archives/<run>/<task>/<attempt>/<step>/parts/<part>
    archives/<run>/<task>/<attempt>/results
    caches<cache group>/%/keys/<key>                         a cache's manifest
    caches<cache group>/%/parts/<upload>/<part>

`<part>` is its number and the SHA-256 of its bytes, so that a part can only be what was announced. A lone percent sign
is no element of a group, so no group reaches into another one's. A key of a cache is written so that what it begins
with is what its object's key begins with.
"""

import hashlib
import re

from runabout.executors.names import PodKey
from runabout.records import RunId

LONGEST_GROUP = 250
"""Characters of a group that stand in a key; a longer one is written by its hash, to stay within a key's 1,024."""
LONGEST_CACHE_KEY = 640
"""Bytes of a cache's key as it is written."""
PIECE = 60
"""Characters of a cache's key in one element of the object's key, which has at most 255 bytes."""
_PART = re.compile(r"(\d{5})-([0-9a-f]{64})")
_RESULTS = re.compile(r"archives/[^/]+/[^/]+/\d+/results")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ufffe\uffff]")
_DIVIDER = "/%"


def archive_place(run: RunId, task: str, attempt: int, step: int) -> str:
    """Return what the keys of one step's archive begin with."""
    return f"archives/{run}/{task}/{attempt}/{step}"


def results_key(run: RunId, task: str, attempt: int) -> str:
    """Return the object with an attempt's results."""
    return f"archives/{run}/{task}/{attempt}/results"


def is_results(key: str) -> bool:
    """Whether an object is an attempt's results."""
    return _RESULTS.fullmatch(key) is not None


def manifest_key(place: str) -> str:
    """Return the object that says what an archive consists of."""
    return f"{place}/manifest"


def part_name(number: int, sha256: str) -> str:
    """Return the name of a part among those of its archive."""
    return f"{number:05d}-{sha256}"


def parse_part_name(name: str) -> tuple[int, str] | None:
    """Return number and SHA-256 (hex) of a part, None for what is no name of one."""
    found = _PART.fullmatch(name)
    return None if found is None else (int(found[1]), found[2])


def cache_place(group: str) -> str:
    """Return what the keys of a cache group (effective: it begins with the namespace) begin with."""
    if len(group) > LONGEST_GROUP:
        namespace = group.split("/")[1]
        group = f"/{namespace}{_DIVIDER}/{hashlib.sha256(group.encode()).hexdigest()}"
    return f"caches{group}{_DIVIDER}"


def cache_group(place: str) -> str:
    """Return the cache group whose place this is; one that is written by its hash is seen by its namespace alone."""
    return place.removeprefix("caches").removesuffix(_DIVIDER)


def cache_key(group: str, key: str) -> str:
    """Return the object of a cache's manifest; one that begins like it, for the beginning of a key.

    Raises:
        ValueError: the key is empty or too long.
    """
    if not key or _CONTROL.search(key):
        raise ValueError("a cache's key is not empty and has no control characters")
    pieces = [_written(key[at : at + PIECE]) for at in range(0, len(key), PIECE)]
    # Some servers cannot have an object and others below it: a piece that goes on is called differently.
    written = "+/".join(pieces)
    size = len(written.encode())
    if size > LONGEST_CACHE_KEY:
        raise ValueError(
            f"a cache's key has at most {LONGEST_CACHE_KEY} bytes, in which each slash, plus and percent sign takes "
            f"three, not {size}: hash what is long in it"
        )
    return f"{cache_place(group)}/keys/{written}"


def _written(piece: str) -> str:
    """Return a piece of a cache's key as an element of an object's, which is not `.` or `..`.

    How a character is written depends on nothing that follows it.
    """
    escaped = piece.replace("%", "%25").replace("/", "%2F").replace("+", "%2B")
    return f"%2E{escaped[1:]}" if escaped.startswith(".") else escaped


def cache_upload(key: PodKey, name: str) -> str:
    """Return the id of what one attempt uploads for one key of a cache: nobody else writes there."""
    return hashlib.sha256(f"{key.run}/{key.task}/{key.attempt}/{name}".encode()).hexdigest()[:32]


def cache_parts(group: str, upload: str) -> str:
    """Return the folder of an upload's parts."""
    return f"{cache_place(group)}/parts/{upload}"


def parse_cache_object(stored: str) -> tuple[str, str, str] | None:
    """Return of an object of caches its group's place, `keys` or `parts`, and what follows, None if it is none."""
    place, divider, rest = stored.partition(f"{_DIVIDER}/keys/")
    kind = "keys"
    if not divider:
        place, divider, rest = stored.partition(f"{_DIVIDER}/parts/")
        kind = "parts"
    return (place + _DIVIDER, kind, rest) if divider and rest else None
