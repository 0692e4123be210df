"""Keys of caches as keys of objects: no two are one, and what a key begins with is what its object's begins with."""

from hypothesis import given
from hypothesis import strategies as st

from runabout.control.archivekeys import cache_key, cache_place, parse_cache_object
from runabout.ost import MAX_KEY_BYTES

GROUP = "/ci/project/web"
KEYS = st.text(st.sampled_from("ab.%/+2EF ü~\u00a0\u3000😀"), min_size=1, max_size=130)


@given(KEYS, KEYS)
def test_two_keys_are_never_one_object(one: str, other: str) -> None:
    assert (cache_key(GROUP, one) == cache_key(GROUP, other)) == (one == other)


@given(KEYS, KEYS)
def test_a_key_begins_with_another_exactly_if_its_object_does(one: str, other: str) -> None:
    for longer in (other, one + other):
        assert cache_key(GROUP, longer).startswith(cache_key(GROUP, one)) == longer.startswith(one)


@given(KEYS)
def test_every_object_can_be_had_on_every_storage_and_tells_its_group(key: str) -> None:
    stored = cache_key(GROUP, key)
    elements = stored.split("/")
    assert not {"", ".", ".."} & set(elements)
    assert max(len(each.encode()) for each in elements) <= 255
    parsed = parse_cache_object(stored)
    assert parsed is not None
    assert parsed[:2] == (cache_place(GROUP), "keys")


def test_the_longest_key_in_the_longest_group_leaves_room_for_a_prefix() -> None:
    longest = cache_key(f"/ns/{'g' * 1020}", "k" * 512)
    assert len(longest.encode()) + 90 <= MAX_KEY_BYTES
    assert cache_key(f"/ns/{'g' * 246}", "k" * 512) != longest
