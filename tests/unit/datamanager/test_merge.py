"""What a checkpoint makes again: every change has one place, ranges stay apart, what is not touched stays."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from runabout.datamanager.manifest import DataFile
from runabout.datamanager.merge import Part, plan

SMALL = 100
KEYS = st.text("abcdef", max_size=4)


def file(first: str, last: str, size: int = SMALL) -> DataFile:
    return DataFile(f"{first}-{last}", "doc", size, b"", first, last, 1)


@st.composite
def files(draw: st.DrawFn) -> list[DataFile]:
    keys = sorted(draw(st.sets(KEYS, max_size=12)))
    pairs = zip(keys[::2], keys[1::2], strict=False)
    return [file(first, last, draw(st.sampled_from([1, SMALL - 1, SMALL, 1000]))) for first, last in pairs]


@given(files(), st.dictionaries(KEYS, st.none() | st.binary(max_size=1), max_size=12))
def test_every_file_and_change_has_one_place_in_order(
    given_files: list[DataFile], changes: dict[str, bytes | None]
) -> None:
    found = plan(given_files, changes, small=SMALL)
    order = [each for part in found for each in (part.files if isinstance(part, Part) else (part,))]
    assert order == given_files
    keys = [key for part in found if isinstance(part, Part) for key in part.keys]
    inside = {key for key in changes if any(each.first <= key <= each.last for each in given_files)}
    assert keys == sorted(key for key, body in changes.items() if body is not None or key in inside)
    spans = [_span(part) for part in found]
    assert all(one[1] < other[0] for one, other in itertools.pairwise(spans))


def _span(part: Part | DataFile) -> tuple[str, str]:
    if isinstance(part, DataFile):
        return part.first, part.last
    ends = [*part.keys, *(each.first for each in part.files), *(each.last for each in part.files)]
    return min(ends), max(ends)


@given(files(), st.dictionaries(KEYS, st.none() | st.binary(max_size=1), max_size=12))
def test_a_large_file_is_made_again_only_if_its_range_is_touched(
    given_files: list[DataFile], changes: dict[str, bytes | None]
) -> None:
    for part in plan(given_files, changes, small=SMALL):
        if isinstance(part, Part):
            for each in part.files:
                assert each.size < SMALL or any(each.first <= key <= each.last for key in changes)
                assert each.size < SMALL or part.files == (each,)


@given(files(), st.dictionaries(KEYS, st.binary(max_size=1), max_size=12))
def test_no_two_small_neighbours_are_left(given_files: list[DataFile], changes: dict[str, bytes]) -> None:
    for one, other in itertools.pairwise(plan(given_files, changes, small=SMALL)):
        small = [isinstance(each, DataFile) and each.size < SMALL for each in (one, other)]
        assert small != [True, True]


def test_new_keys_at_the_end_leave_large_files_as_they_are() -> None:
    large, small = file("a", "b", 1000), file("c", "d", 1)
    assert plan([large], {"e": b""}, small=SMALL) == [large, Part((), ("e",))]
    assert plan([large, small], {"e": b""}, small=SMALL) == [large, Part((small,), ("e",))]
    assert plan([large, small], {}, small=SMALL) == [large, small]
    assert plan([large, small], {"bb": None, "x": None}, small=SMALL) == [large, small]
    assert plan([], {}, small=SMALL) == []
