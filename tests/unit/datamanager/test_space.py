"""What the space of etcd's members means for a store: a table of moments."""

import re

import pytest

from runabout.datamanager.space import MIB, SpacePolicy, judge
from runabout.etcd import MemberSpace

GIB = 1024 * MIB
POLICY = SpacePolicy()


def member(size: int, in_use: int, *, quota: int | None = 2 * GIB, full: bool = False, name: str = "m") -> MemberSpace:
    """Return a member; sizes in MiB."""
    return MemberSpace(name, size * MIB, in_use * MIB, quota, full)


@pytest.mark.parametrize(
    ("space", "before", "pressed", "read_only", "words"),
    [
        (member(100, 90), False, False, False, ""),
        (member(1638, 1638), False, False, False, ""),
        (member(1639, 1639), False, True, False, "1639 MiB .* of the 2048 MiB .*; what is sealed is removed"),
        (member(1639, 300), False, True, False, "can be made smaller by etcdctl defrag"),
        (member(1950, 1940), False, True, False, "raise --quota-backend-bytes"),
        (member(1950, 1946), False, True, True, "read-only until there is room; if that lasts, raise --quota"),
        (member(1950, 1844), True, True, True, "read-only"),
        (member(1950, 1843), True, True, False, "what is sealed is removed"),
        (member(2043, 300), False, True, False, "defrag"),
        (member(2045, 300), False, True, True, "read-only .* defrag"),
        (member(100, 90, full=True), False, True, True, "its alarm NOSPACE is on; the store is read-only"),
        (member(1639, 1639, quota=None), False, True, False, "of the 2048 MiB"),
        (member(9000, 9000, quota=-1), False, False, False, ""),
        (member(9000, 9000, quota=-1, full=True), False, True, True, "NOSPACE"),
        (member(9000, 9000, quota=16 * GIB), False, False, False, ""),
    ],
)
def test_a_store_makes_room_from_four_fifths_on_and_is_read_only_before_etcd_is(
    space: MemberSpace, before: bool, pressed: bool, read_only: bool, words: str
) -> None:
    verdict = judge((space,), POLICY, was_read_only=before)
    assert (verdict.pressed, verdict.read_only) == (pressed, read_only)
    assert re.search(words, verdict.words) if words else not verdict.words


def test_the_fullest_member_counts() -> None:
    members = (member(100, 90, name="a"), member(1900, 90, name="b"), member(1000, 900, quota=1024 * MIB, name="c"))
    assert judge(members, POLICY, was_read_only=False).member.member == "c"
    alarmed = (*members, member(10, 10, full=True, name="d"))
    assert judge(alarmed, POLICY, was_read_only=False).member.member == "d"
