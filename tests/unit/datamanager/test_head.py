"""The bytes of a head and the keys of a store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.datamanager import BrokenLog, NewerFormat
from runabout.datamanager.head import (
    FORMAT,
    Head,
    Keys,
    Meta,
    Sealed,
    decode_head,
    decode_meta,
    decode_sealed,
    number_of,
)

BYTES = (
    b"IIIIIIIIIIIIIIII"  # incarnation
    b"\x00\x00\x00\x00\x00\x00\x00\x03"  # epoch
    b"\x00\x00\x00\x00\x00\x00\x01\x02"  # sequence
    b"CCCCCCCCCCCCCCCC"  # chain
)
NUMBERS = st.integers(0, 2**64 - 1)
SIXTEEN = st.binary(min_size=16, max_size=16)


def test_the_bytes_of_a_head_are_as_documented() -> None:
    head = Head(b"I" * 16, 3, 258, b"C" * 16)
    assert head.encode() == BYTES
    assert decode_head(BYTES, where="here") == head


@given(st.builds(Head, SIXTEEN, NUMBERS, NUMBERS, SIXTEEN))
def test_a_head_is_read_back(head: Head) -> None:
    assert decode_head(head.encode(), where="here") == head


@given(st.builds(Head, SIXTEEN, NUMBERS, NUMBERS, SIXTEEN), st.builds(Head, SIXTEEN, NUMBERS, NUMBERS, SIXTEEN))
def test_different_heads_have_different_bytes(one: Head, other: Head) -> None:
    """A commit compares the bytes: two writers must not have the same."""
    assert (one.encode() == other.encode()) == (one == other)


@pytest.mark.parametrize("size", [0, 1, 47, 49, 96])
def test_another_size_is_refused(size: int) -> None:
    with pytest.raises(BrokenLog, match=f"store/0/head has {size} bytes, a head has 48"):
        decode_head((BYTES * 2)[:size], where="store/0/head")


def test_the_keys_of_a_store_are_as_documented() -> None:
    keys = Keys(7)
    assert (keys.meta, keys.head, FORMAT) == (b"store/7/meta", b"store/7/head", b"runabout-store-2")
    assert keys.sealed == b"store/7/sealed"
    assert keys.wal(0xABC) == b"store/7/wal/0000000000000abc"
    assert keys.wal_end == b"store/7/wal0"
    assert keys.identity == "store/7/identity"
    assert keys.epoch(0xABC) == "store/7/epochs/0000000000000abc"
    assert keys.segment(0xABC) == "store/7/wal/0000000000000abc"
    assert keys.quarantine(1, 0xABC) == "store/7/quarantine/0000000000000001-0000000000000abc"


def test_one_read_of_head_to_sealed_shows_meta_too() -> None:
    keys = Keys(7)
    assert keys.head < keys.meta < keys.sealed < keys.wal(0)


META = (
    b"runabout-store-2"  # format
    b"SSSSSSSSSSSSSSSS"  # store id
    b"\x00\x00\x00\x00\x00\x00\x00\x03"  # the epoch in which this life began
    b"IIIIIIIIIIIIIIII"  # incarnation
)


def test_the_bytes_of_meta_are_as_documented() -> None:
    meta = Meta(b"S" * 16, 3, b"I" * 16)
    assert meta.encode() == META
    assert decode_meta(META, where="here") == meta


def test_the_format_before_is_read_and_its_incarnation_is_the_stores_id() -> None:
    assert decode_meta(b"runabout-store-1" + b"I" * 16, where="here") == Meta(b"I" * 16, 1, b"I" * 16)


@pytest.mark.parametrize(
    "value", [b"", b"runabout-store-0" + META[16:], META[:-1], META + b"x", b"runabout-store-1", b"x" * 56]
)
def test_meta_of_another_format_or_size_is_refused(value: bytes) -> None:
    with pytest.raises(BrokenLog, match=r"^here "):
        decode_meta(value, where="here")


@pytest.mark.parametrize("size", [16, len(META), len(META) + 8])
def test_meta_of_a_newer_format_is_told_from_damage_however_long_it_is(size: int) -> None:
    with pytest.raises(NewerFormat, match=r"^here has the format 3, which this version cannot read"):
        decode_meta((b"runabout-store-3" + META[16:] + bytes(8))[:size], where="here")


SEALED = (
    b"RUNP\x01"  # magic and format
    b"\x00\x00\x00\x00\x00\x00\x00\x05"  # first sequence
    b"\x00\x00\x00\x00\x00\x00\x00\x09"  # last
    b"CCCCCCCCCCCCCCCC"  # chain
    b"\x00\x00\x00\x00\x00\x00\x01\x02"  # size
    b"DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD"  # SHA-256
)


def test_the_bytes_of_sealed_are_as_documented_and_any_other_is_refused() -> None:
    sealed = Sealed(5, 9, b"C" * 16, 258, b"D" * 32)
    value = sealed.encode()
    assert value[:-4] == SEALED
    assert decode_sealed(value, where="here") == sealed
    for place in range(len(value)):
        with pytest.raises(BrokenLog, match=r"^here "):
            decode_sealed(value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :], where="here")
        with pytest.raises(BrokenLog, match=r"^here "):
            decode_sealed(value[:place], where="here")


@pytest.mark.parametrize("key", ["store/0/wal/", "store/0/wal/1", "store/0/wal/00000000000000AB", "store/0/wal/x/y"])
def test_an_object_with_a_foreign_name_is_nobodys_segment(key: str) -> None:
    assert number_of(key, "store/0/wal/") is None


@given(NUMBERS)
def test_a_segments_name_says_where_it_begins(first: int) -> None:
    keys = Keys(3)
    assert number_of(keys.segment(first), keys.segments) == first


@given(NUMBERS, NUMBERS)
def test_keys_of_batches_sort_as_their_sequences_within_the_range_of_the_log(one: int, other: int) -> None:
    keys = Keys(0)
    assert (keys.wal(one) < keys.wal(other)) == (one < other)
    assert keys.wal(0) <= keys.wal(one) < keys.wal_end
    assert not keys.wal(0) <= keys.head < keys.wal_end
    assert not keys.wal(0) <= keys.meta < keys.wal_end


@pytest.mark.parametrize(("one", "other"), [(1, 10), (1, 11), (0, 100)])
def test_the_logs_of_two_stores_do_not_overlap(one: int, other: int) -> None:
    first, second = Keys(one), Keys(other)
    assert not first.wal(0) <= second.wal(5) < first.wal_end
    assert not second.wal(0) <= first.wal(5) < second.wal_end
