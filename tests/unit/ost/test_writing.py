"""Data in pieces, the sizes of parts, and trying again."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.ost import ByteRange, NotFoundError, SizeMismatchError, UnavailableError
from runabout.ost.pieces import Pieces
from runabout.ost.retry import FIRST_DELAY, LONGEST_DELAY, delay, retried
from runabout.ost.s3 import MOST_PARTS, PART, part_size

TIB = 1024**4
T = TypeVar("T")


def finished(coroutine: Coroutine[None, None, T]) -> T:
    """Return the result of a coroutine that waits for nothing outside."""
    try:
        coroutine.send(None)
    except StopIteration as result:
        return cast("T", result.value)
    raise AssertionError("it waits")


async def _each(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@given(st.lists(st.binary(max_size=20)), st.integers(1, 30), st.booleans())
def test_pieces_are_the_data_in_the_length_asked_for(parts: list[bytes], length: int, streamed: bool) -> None:
    async def taken() -> list[bytes]:
        pieces = Pieces(_each(parts) if streamed else b"".join(parts), key="k", size=None)
        found = []
        while piece := await pieces.take(length):
            found.append(piece)
        return found

    found = finished(taken())
    assert b"".join(found) == b"".join(parts)
    assert all(len(piece) == length for piece in found[:-1])


@given(st.lists(st.binary(max_size=20)), st.integers(-3, 3), st.booleans())
def test_another_size_than_announced_is_noticed_before_the_end_is_reported(
    parts: list[bytes], difference: int, streamed: bool
) -> None:
    size = sum(map(len, parts))
    announced = max(0, size + difference)

    async def take_all() -> None:
        pieces = Pieces(_each(parts) if streamed else b"".join(parts), key="k", size=announced)
        while await pieces.take(7):
            pass

    if announced == size:
        finished(take_all())
    else:
        with pytest.raises(SizeMismatchError, match=str(announced)):
            finished(take_all())


@pytest.mark.parametrize("size", [PART + 1, 100 * PART, 80_000 * 1024**2, 4 * TIB, 5 * TIB])
def test_an_object_of_known_size_fits_into_the_parts_there_may_be(size: int) -> None:
    each = part_size(1, size)
    assert each >= PART
    assert each * MOST_PARTS >= size


def test_an_object_of_unknown_size_can_grow_to_the_largest_there_is() -> None:
    sizes = [part_size(number, None) for number in range(1, MOST_PARTS + 1)]
    assert sizes[0] == PART
    assert sizes == sorted(sizes)
    assert sum(sizes) >= 5 * TIB


def test_delays_grow_and_differ_within_bounds() -> None:
    for attempt in range(1, 40):
        some = {delay(attempt) for _ in range(20)}
        assert len(some) > 1
        assert min(some) >= FIRST_DELAY / 10
        assert max(some) <= min(LONGEST_DELAY, FIRST_DELAY * 2 ** (attempt - 1))


async def test_a_call_is_tried_again_and_told_so() -> None:
    told: list[bool] = []

    async def call(again: bool) -> str:
        told.append(again)
        if len(told) < 3:
            raise UnavailableError("not yet")
        return "done"

    assert await retried(call, seconds=10) == "done"
    assert told == [False, True, True]


async def test_a_call_is_not_tried_after_its_time() -> None:
    async def call(_again: bool) -> None:
        raise UnavailableError("never")

    with pytest.raises(UnavailableError, match="never"):
        await asyncio.wait_for(retried(call, seconds=0.3), 60)


async def test_a_permanent_error_is_not_tried_again() -> None:
    calls = 0

    async def call(_again: bool) -> None:
        nonlocal calls
        calls += 1
        raise NotFoundError("no")

    with pytest.raises(NotFoundError):
        await retried(call, seconds=10)
    assert calls == 1


@given(st.integers(0, 50), st.one_of(st.none(), st.integers(0, 50)), st.integers(0, 50))
def test_a_range_is_what_a_slice_is(start: int, length: int | None, size: int) -> None:
    data = bytes(range(size))
    begin, end = ByteRange(start, length).within(size)
    assert data[begin:end] == data[start : None if length is None else start + length]
    assert 0 <= begin <= end <= size


@pytest.mark.parametrize(("start", "length"), [(-1, None), (0, -1)])
def test_a_range_with_a_negative_number_is_refused(start: int, length: int | None) -> None:
    with pytest.raises(ValueError, match="negative"):
        ByteRange(start, length)
