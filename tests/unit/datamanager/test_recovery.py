"""What an opening makes of what it finds: every combination of heads, ends and batches that can be found."""

from datetime import UTC, datetime

import pytest

from runabout.datamanager import BrokenLog, Case, Recovery
from runabout.datamanager.batch import NO_CHAIN, Link
from runabout.datamanager.head import NOTHING_SEALED, Head, Keys, Sealed
from runabout.datamanager.recovery import judge

KEYS = Keys(0)
OURS, OTHER = b"o" * 16, b"x" * 16


def head(sequence: int, chain: bytes = OURS) -> Head:
    return Head(b"I" * 16, 3, sequence, chain)


def end(last: int, chain: bytes = OURS) -> Sealed:
    return Sealed(max(1, last - 2), last, chain, 100, bytes(32)) if last else NOTHING_SEALED


def following(end_: Sealed, chain: bytes = OURS) -> Link:
    return Link(end_.last + 1, chain, b"after" * 4)


@pytest.mark.parametrize(
    ("found", "known", "sealed", "pointer", "next_one", "case"),
    [
        (None, False, end(0), None, None, Case.NEW),
        (None, True, end(0), None, None, Case.WIPED),
        (None, True, end(5), None, None, Case.WIPED),
        # etcd and objects agree
        (head(0, NO_CHAIN), True, end(0), None, None, Case.NORMAL),
        (head(5), True, end(5), end(5), None, Case.NORMAL),
        (head(5), True, end(5), end(3), None, Case.NORMAL),  # killed between the segment and the pointer
        (head(5), True, end(5), None, None, Case.NORMAL),
        # etcd goes on
        (head(9), True, end(5), end(5), following(end(5)), Case.NORMAL),
        (head(9), True, end(0), None, following(end(0), NO_CHAIN), Case.NORMAL),  # nothing was ever sealed
        # etcd was set back
        (head(4), True, end(5), end(4), None, Case.SET_BACK),
        (head(0, NO_CHAIN), True, end(5), None, None, Case.SET_BACK),
        # etcd was set back and went on by itself
        (head(5, OTHER), True, end(5), end(4), None, Case.SET_BACK),
        (head(9), True, end(5), end(4), following(end(5), OTHER), Case.SET_BACK),
    ],
)
def test_each_state_is_told_from_the_others(
    found: Head | None, known: bool, sealed: Sealed, pointer: Sealed | None, next_one: Link | None, case: Case
) -> None:
    assert judge(KEYS, head=found, known=known, end=sealed, pointer=pointer, following=next_one) is case


def test_a_sealed_part_that_is_not_on_the_object_storage_is_missing_whatever_etcd_still_has() -> None:
    with pytest.raises(BrokenLog, match=r"store/0/wal/0000000000000006 is missing: .* up to sequence 8, .* with 5"):
        judge(
            KEYS,
            head=head(9),
            known=True,
            end=end(5),
            pointer=Sealed(6, 8, OURS, 1, bytes(32)),
            following=following(end(5)),
        )


def test_a_batch_that_is_in_neither_place_is_missing() -> None:
    with pytest.raises(BrokenLog, match="store/0/wal/0000000000000006 is missing: the head says 9"):
        judge(KEYS, head=head(9), known=True, end=end(5), pointer=end(5), following=None)


def test_a_report_says_what_goes_on_what_is_lost_and_what_was_put_aside() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert str(Recovery(Case.WIPED, 8, at, None)) == (
        "etcd was wiped: it had nothing, the object storage goes up to sequence 8, sealed at 2026-01-02T03:04:05Z, "
        "and that is what goes on. Whatever was committed after it is lost"
    )
    aside = Recovery(Case.SET_BACK, 8, at, head(9), (7, 9), ("store/0/quarantine/a", "store/0/quarantine/b"))
    assert str(aside).endswith(
        "is lost; its sequences 7 to 9 are of another history and were put aside in "
        "store/0/quarantine/a, store/0/quarantine/b"
    )
    assert "sequence 9" in str(aside)
