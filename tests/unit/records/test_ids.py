"""Run ids: 64 bits as 13 characters, in the order in which they were given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.records import IdGenerator, RunId, parse_run_id, run_id_time

EPOCH = 1_577_836_800_000
LATEST = EPOCH + 2**41 - 1
TIMES = st.integers(EPOCH + 1, LATEST - 1)


@pytest.mark.parametrize(
    ("now", "store", "expected"),
    [
        (EPOCH + 1, 0, "0000000080000"),
        (EPOCH + 1, 1, "0000000081000"),
        (EPOCH + 1, 255, "00000000fv000"),
        (1_700_000_000_000, 0, "0se5v80000000"),
        (LATEST, 255, "fvvvvvvvvv000"),
    ],
)
def test_the_first_id_of_a_millisecond_is_as_documented(now: int, store: int, expected: str) -> None:
    assert IdGenerator(store=store).next(now) == expected


def test_ids_of_one_millisecond_are_counted() -> None:
    ids = IdGenerator(store=0)
    assert [ids.next(EPOCH + 1) for _ in range(3)] == ["0000000080000", "0000000080001", "0000000080002"]


@given(st.lists(TIMES, min_size=2, max_size=50), st.integers(0, 255))
def test_ids_increase_whatever_the_clock_does(times: list[int], store: int) -> None:
    ids = IdGenerator(store=store)
    given_out = [ids.next(now) for now in times]
    assert given_out == sorted(set(given_out))


@given(TIMES, TIMES, st.integers(0, 255))
def test_the_next_process_goes_on_above_the_last_id(before: int, now: int, store: int) -> None:
    last = IdGenerator(store=store).next(before)
    assert IdGenerator(store=store, last=last).next(now) > last


@given(TIMES, st.integers(0, 255))
def test_an_id_has_its_time_and_is_an_id(now: int, store: int) -> None:
    run = IdGenerator(store=store).next(now)
    assert run_id_time(run) == now
    assert parse_run_id(run) == run


@given(TIMES, TIMES)
def test_texts_sort_as_times_do(one: int, other: int) -> None:
    first, second = IdGenerator(store=0).next(one), IdGenerator(store=0).next(other)
    assert (first < second) == (one < other)


def test_ids_of_two_stores_are_never_the_same() -> None:
    first, second = IdGenerator(store=1), IdGenerator(store=2)
    ids = [generator.next(EPOCH + 1) for generator in (first, second) for _ in range(100)]
    assert len(set(ids)) == 200


def test_a_full_counter_goes_on_in_the_next_millisecond() -> None:
    ids = IdGenerator(store=3, last=RunId("000000008" + "3vvv"))
    assert run_id_time(ids.next(EPOCH + 1)) == EPOCH + 2
    assert run_id_time(ids.next(EPOCH + 2)) == EPOCH + 2


def test_a_clock_before_the_first_day_still_gives_ids() -> None:
    ids = IdGenerator(store=0)
    assert ids.next(0) < ids.next(0)


def test_a_clock_after_the_last_day_is_an_error_that_says_so() -> None:
    with pytest.raises(OverflowError, match="the clock is wrong"):
        IdGenerator(store=0).next(LATEST + 1)


@pytest.mark.parametrize("store", [-1, 256])
def test_a_store_that_does_not_fit_is_refused(store: int) -> None:
    with pytest.raises(ValueError, match="store must be 0 to 255"):
        IdGenerator(store=store)


@pytest.mark.parametrize("text", ["0000000000000", "fvvvvvvvvvvvv", "1il7g1c000001"])
def test_ids_are_parsed_to_themselves(text: str) -> None:
    assert parse_run_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "000000000000",
        "00000000000000",
        "g000000000000",
        "w000000000000",
        "000000000000w",
        "00000000000A0",
        "0 00000000000",
        "000000000000\n",
        "\u0660000000000000",
        "../0000000000",
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected 13 characters of 0-9 and a-v"):
        parse_run_id(text)
