"""From the path of a field to its place in a file: whatever the keys are, and soon however they are merged."""

from time import process_time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from runabout.client.places import Place, Places
from runabout.resources.problems import path_text

KEYS = st.text(min_size=1, max_size=400) | st.sampled_from(["a", "a-b", "a]", "a]b", "]", "a.b", "a[0]", "x" * 400])


@settings(max_examples=200, deadline=None)
@given(keys=st.lists(KEYS, min_size=1, max_size=4, unique_by=lambda key: path_text((key,))))
def test_every_key_is_found_by_the_path_that_an_error_would_name(keys: list[str]) -> None:
    text = yaml.safe_dump({"top": [{key: {"in": number}} for number, key in enumerate(keys)]}, width=10_000)
    places = Places(yaml.compose(text, yaml.CSafeLoader))
    found = []
    for number, key in enumerate(keys):
        field, inner = (path_text(("top", number, *rest)) for rest in ((key,), (key, "in")))
        found += [places.find(f"{path}: Invalid value") for path in (field, inner)]
    order = [(place.line, place.column) for place in found]
    assert order == sorted(set(order))  # each at a place of its own, in the file's order


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", Place(1, 1)),
        ("none", Place(1, 1)),
        ("a", Place(1, 1)),
        ("a.b", Place(2, 3)),
        ("a.none.b", Place(1, 1)),
        ("a.b[1]", Place(2, 10)),
        ("a.b[2]", Place(2, 3)),
        ("a.b.c", Place(2, 3)),
        ("a.b[0].c", Place(2, 7)),
        ("[x/y]", Place(3, 1)),
        ("[x/y].none", Place(3, 1)),
        ("[x/z]", Place(1, 1)),
    ],
)
def test_what_is_not_there_stands_at_what_it_would_be_part_of(path: str, place: Place) -> None:
    places = Places(yaml.compose("a:\n  b: [1, 2]\nx/y: {}\n", yaml.CSafeLoader))
    assert places.find(path) == place


def test_own_fields_are_stronger_than_merged_ones_and_earlier_sources_than_later_ones() -> None:
    text = "p: &p {a: 1, b: 1}\nq: &q {b: 2, c: 2}\nr:\n  <<: [*p, *q]\n  a: 3\n"
    places = Places(yaml.compose(text, yaml.CSafeLoader))
    found = {key: places.find(f"r.{key}").line for key in "abc"}
    assert found == {"a": 5, "b": 1, "c": 2}


def test_merges_of_merges_are_looked_through_once() -> None:
    text = "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 30)
    )
    places = Places(yaml.compose(text, yaml.CSafeLoader))
    begin = process_time()
    assert (places.find("a29.x").line, places.find("a29.y").line) == (1, 30)
    assert process_time() - begin < 1


def test_without_a_tree_only_the_first_line_is_known() -> None:
    assert str(Places(None).find("spec.stop")) == "1"
