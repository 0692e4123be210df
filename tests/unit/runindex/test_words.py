"""The sorted words of a column: ranges, filters, and the numbers of ids."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runabout.engine.groups import covers
from runabout.records import RunId
from runabout.runindex.row import id_of, number_of
from runabout.runindex.words import Hashes, Words, bucket, buckets, group_key

elements = st.text("ab-%/é\x01", min_size=1, max_size=3).map(lambda text: text.replace("/", "%2F"))
groups = st.lists(elements, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


def words_of(keys: list[bytes]) -> Words:
    data = np.frombuffer(b"".join(keys) + b"\0", np.uint8)[:-1]
    return Words(np.cumsum([0, *map(len, keys)]).astype(np.uint32), data)


@given(st.sets(groups, max_size=20), groups)
def test_what_a_prefix_covers_is_one_range(some: set[str], prefix: str) -> None:
    keys = sorted(group_key(group) for group in some)
    low, high = words_of(keys).span(group_key(prefix), group_key(prefix) + b"\x01")
    expected = [key for key in keys if covers(prefix, key.decode().replace("\0", "/"))]
    assert keys[low:high] == expected


@given(st.sets(groups, min_size=1, max_size=20), groups)
def test_a_word_is_found_alone(some: set[str], other: str) -> None:
    keys = sorted(group_key(group) for group in some)
    words = words_of(keys)
    for place, key in enumerate(keys):
        assert words.exact(key) == (place, place + 1)
    low, high = words.exact(group_key(other))
    assert (high > low) == (other in some)


@given(st.sets(groups, min_size=1, max_size=20))
def test_the_filter_knows_every_group_and_every_prefix(some: set[str]) -> None:
    keys = sorted(group_key(group) for group in some)
    hashes = Hashes(words_of(keys))
    known = {*buckets("group", hashes.whole()).tolist(), *buckets("group", hashes.prefixes()).tolist()}
    for group in some:
        parts = group.split("/")
        for count in range(2, len(parts) + 1):
            assert bucket("group", group_key("/".join(parts[:count]))) in known


def test_the_filter_tells_most_absent_words_apart() -> None:
    keys = sorted(group_key(f"/ci/project/{number}") for number in range(8_000))
    known = set(buckets("group", Hashes(words_of(keys)).whole()).tolist())
    wrong = sum(bucket("group", group_key(f"/dev/project/{number}")) in known for number in range(8_000))
    assert wrong < 400


@given(st.sets(groups, min_size=1, max_size=20), st.integers(1, 4))
def test_groups_of_one_root_have_one_root_hash(some: set[str], count: int) -> None:
    keys = sorted(group_key(group) for group in some)
    hashes = Hashes(words_of(keys)).roots(count).tolist()
    roots = [key.split(b"\0")[: count + 1] for key in keys]
    assert len(set(hashes)) == len({tuple(root) for root in roots})
    assert all((hashes[0] == each) == (roots[0] == root) for each, root in zip(hashes, roots, strict=True))


@given(st.integers(0, (1 << 64) - 1))
def test_an_id_and_its_number_are_the_same_thing(number: int) -> None:
    run = id_of(number)
    assert number_of(run) == number
    assert len(run) == 13
    assert run == RunId(run.lower())
