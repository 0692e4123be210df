"""The bytes of a head and the keys of a store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.datamanager import BrokenLog
from runabout.datamanager.head import FORMAT, Head, Keys, decode_head

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
    assert (keys.meta, keys.head, FORMAT) == (b"store/7/meta", b"store/7/head", b"runabout-store-1")
    assert keys.wal(0xABC) == b"store/7/wal/0000000000000abc"
    assert keys.wal_end == b"store/7/wal0"


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
