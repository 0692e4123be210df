"""Manifests: what is written is read again, what is none is refused, and many parts take little memory and time."""

import sys

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.control.archivemanifests import (
    LARGEST_PART,
    MOST_PARTS,
    DamagedManifestError,
    Manifest,
    Part,
    Parts,
    decode_manifest,
    encode_manifest,
)

PARTS = st.lists(
    st.builds(
        Part, size=st.integers(1, LARGEST_PART), sha256=st.binary(min_size=32, max_size=32).map(lambda raw: raw.hex())
    ),
    max_size=5,
)


@given(parts=PARTS, first=st.integers(0, 6), count=st.integers(0, 6))
def test_parts_are_what_they_were_made_of(parts: list[Part], first: int, count: int) -> None:
    made = Parts.of(parts)
    assert list(made) == parts
    assert list(made[first : first + count]) == parts[first : first + count]
    assert len(made) == len(parts)
    assert made == Parts.of(list(made))
    assert (made == Parts.of(parts[1:])) == (not parts)


@given(parts=PARTS)
def test_a_manifest_is_read_as_it_was_written(parts: list[Part]) -> None:
    made = Manifest("folder", Parts.of(parts), 3, 1000, created=5, name="key")
    read = decode_manifest(encode_manifest(made), key="k")
    assert read == made
    assert read.same_archive(Manifest("elsewhere", parts, 4, 1))
    assert read.size == sum(part.size for part in parts)


GOOD = {"version": 1, "folder": "f", "name": "n", "files": 1, "bytes": 1, "created": 1, "parts": [[1, "0" * 64]]}


@pytest.mark.parametrize(
    "parts",
    [
        [[0, "0" * 64]],
        [[LARGEST_PART + 1, "0" * 64]],
        [[1.0, "0" * 64]],
        [[True, "0" * 64]],
        [["1", "0" * 64]],
        [[1, "0" * 63]],
        [[1, "0" * 63], [1, "0" * 65]],
        [[1, "A" * 64]],
        [[1, "g" * 64]],
        [[1, 5]],
        [[1, "0" * 64, 1]],
        [[1, "0" * 64], [1]],
        [1],
        ["00"],
        {"a": "b"},
        {},
        None,
        5,
    ],
)
def test_parts_that_are_none_are_no_manifest(parts: object) -> None:
    assert len(decode_manifest(orjson.dumps(GOOD), key="k").parts) == 1
    with pytest.raises(DamagedManifestError, match=r"^k is no manifest of an archive: "):
        decode_manifest(orjson.dumps({**GOOD, "parts": parts}), key="k")


def test_the_largest_archive_has_its_parts_in_less_than_a_megabyte() -> None:
    parts = Parts([1] * MOST_PARTS, bytes(32 * MOST_PARTS))
    read = decode_manifest(encode_manifest(Manifest("f", parts, 1, 1)), key="k").parts
    assert isinstance(read, Parts)
    assert sys.getsizeof(read.sizes) + sys.getsizeof(read.hashes) < 1_000_000
