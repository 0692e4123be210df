"""The protocol's model keeps every promise in all of its states, and without any one rule it breaks one."""

import pytest

from models.store_protocol import MUTANTS, Bounds, explore

SMALL = Bounds(transactions=1, epochs=2, losses=1)
LARGE = Bounds(transactions=2, epochs=3, losses=1)


def test_no_reachable_state_breaks_a_promise() -> None:
    verdict = explore(bounds=SMALL)
    assert verdict.promise == "", verdict.way
    assert verdict.states > 40_000


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_without_any_one_rule_a_promise_is_broken(mutant: str) -> None:
    assert explore(mutant=mutant, bounds=LARGE).promise != ""
