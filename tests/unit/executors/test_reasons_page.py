"""The page of reasons and the closed list agree."""

import re
from pathlib import Path

import pytest

from runabout.records import Reason

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "reasons.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| `")
]


def test_every_reason_has_exactly_one_row_and_every_row_is_a_reason() -> None:
    assert sorted(row[0].strip("`") for row in ROWS) == sorted(Reason)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_says_what_it_means_whose_failure_it_is_and_what_to_do(row: list[str]) -> None:
    _, meaning, whose, what_to_do = row

    assert whose in {"the task's", "the machinery's", "nobody's"}
    assert meaning.endswith(".")
    assert re.fullmatch(r".*\.", what_to_do)
