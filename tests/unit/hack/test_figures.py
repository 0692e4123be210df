import pytest

from benchmarks.cli import exit_code
from benchmarks.figures import Figure, table

FAST = Figure("runs", 1200.0, "runs/min", 1000, at_least=True, beside="0.3 of the bare pods")
SLOW = Figure("CPU", 20.0, "ms", 15)
FREE = Figure("memory", 180.0, "MB")


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (FAST, True),
        (SLOW, False),
        (FREE, None),
        (Figure("runs", 999.9, "", 1000, at_least=True), False),
        (Figure("CPU", 15.0, "ms", 15), True),
    ],
)
def test_a_target_is_met_from_its_own_side(figure: Figure, met: bool | None) -> None:
    assert figure.met is met
    assert figure.document()["met"] is met


def test_a_table_shows_each_figure_with_its_target_and_what_it_has_to_be_seen_with() -> None:
    header, fast, slow, free = table([FAST, SLOW, FREE]).splitlines()
    assert header.split() == ["figure", "value", "unit", "target", "beside"]
    assert fast.split() == ["runs", "1,200.00", "runs/min", "≥", "1000", "met", "0.3", "of", "the", "bare", "pods"]
    assert slow.split() == ["CPU", "20.00", "ms", "≤", "15", "MISSED"]
    assert free.split() == ["memory", "180.00", "MB"]


@pytest.mark.parametrize(("check", "code"), [(True, 1), (False, 0)])
def test_a_missed_target_fails_only_who_asks_for_it(check: bool, code: int) -> None:
    assert exit_code([FAST, SLOW, FREE], check=check) == code
    assert exit_code([FAST, FREE], check=check) == 0
