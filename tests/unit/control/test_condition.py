"""Which state of the data layer keeps a replica from being ready, and which is only said."""

import re
from dataclasses import replace

import pytest

from runabout.control.condition import MIB, condition
from runabout.datamanager import CacheUse, IndexSize, Verdict, Vitals
from runabout.etcd import MemberSpace

WELL = Vitals(
    sequence=9,
    queued=0,
    stuck_seconds=0,
    unsealed=1,
    unsealed_bytes=100,
    most_unsealed_bytes=256 * MIB,
    lag_seconds=0.5,
    sealing_fails_seconds=0,
    sealing_trouble="",
    covers=5,
    uncovered_bytes=0,
    checkpoint_trouble="",
    changed=0,
    changed_bytes=0,
    groups=CacheUse(),
    footers=CacheUse(),
    index=IndexSize(),
    space=None,
    refusal="",
)
PRESSED = Verdict(MemberSpace("m", 9, 9, 10, full=False), 10, pressed=True, words="etcd at m has 9 of 10")
AWAY = "the bucket does not answer"


@pytest.mark.parametrize(
    ("now", "fails", "troubles", "notes"),
    [
        (WELL, 0, [], []),
        (replace(WELL, stuck_seconds=5), 0, [], []),
        (replace(WELL, stuck_seconds=7.4), 0, ["etcd at http://e:1 has not answered for 7 s"], []),
        (replace(WELL, space=PRESSED), 0, [], ["etcd at m has 9 of 10"]),
        (replace(WELL, space=PRESSED, refusal="no room"), 0, ["no room"], []),
        (WELL, 42, [], ["the object storage has taken no write for 42 s: the bucket does not answer"]),
        (WELL, 61, ["the object storage has taken no write for 61 s: the bucket does not answer"], []),
        (
            replace(WELL, sealing_fails_seconds=100, sealing_trouble="denied", unsealed_bytes=100 * MIB),
            0,
            ["the object storage has taken no write for 100 s: denied"],
            [],
        ),
        (
            replace(WELL, unsealed_bytes=205 * MIB, sealing_trouble="denied", sealing_fails_seconds=9),
            0,
            ["205 MiB of the log wait for the object storage, 256 MiB may; .*: denied"],
            ["no write for 9 s: denied"],
        ),
        (replace(WELL, unsealed_bytes=205 * MIB), 0, ["it is slower than what is written"], []),
        (replace(WELL, unsealed_bytes=205 * MIB, most_unsealed_bytes=0), 0, [], []),
        (replace(WELL, checkpoint_trouble="damaged"), 0, [], ["no checkpoint can be made: damaged"]),
        (
            replace(WELL, stuck_seconds=9, space=PRESSED, refusal="no room"),
            90,
            ["has not answered for 9 s", "no room", "no write for 90 s"],
            [],
        ),
    ],
)
def test_what_passes_by_itself_is_said_and_what_keeps_runs_from_going_on_is_a_reason_not_to_be_ready(
    now: Vitals, fails: float, troubles: list[str], notes: list[str]
) -> None:
    trouble = AWAY if fails else ""
    found = condition(now, endpoints="http://e:1", writes_fail_seconds=fails, writes_trouble=trouble)
    assert len(found.troubles) == len(troubles), found
    assert len(found.notes) == len(notes), found
    for words, said in zip([*troubles, *notes], [*found.troubles, *found.notes], strict=True):
        assert re.search(words, said), said
