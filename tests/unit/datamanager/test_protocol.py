"""The protocol's model keeps every promise in all of its states, and without any one rule it breaks one."""

from dataclasses import replace

import pytest

from models import store_checkpoints
from models.store_protocol import BY_REVISION, DURABLE_MUTANTS, MUTANTS, Bounds, explore

SMALL = Bounds(transactions=1, epochs=2, losses=1)
LARGE = Bounds(transactions=2, epochs=3, losses=1)
DAMAGED = store_checkpoints.Bounds(damages=1, parts=True, collect=False)


@pytest.mark.parametrize(("durable", "states"), [(False, 40_000), (True, 35_000)], ids=["etcd", "object"])
def test_no_reachable_state_breaks_a_promise(durable: bool, states: int) -> None:
    verdict = explore(bounds=replace(SMALL, durable=durable))
    assert verdict.promise == "", verdict.way
    assert verdict.states > states


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_without_any_one_rule_a_promise_is_broken(mutant: str) -> None:
    assert explore(mutant=mutant, bounds=LARGE).promise != ""


@pytest.mark.parametrize("mutant", sorted(DURABLE_MUTANTS))
def test_without_any_one_rule_of_what_is_told_when_it_is_sealed_the_loss_of_etcd_loses_it(mutant: str) -> None:
    verdict = explore(mutant=mutant, bounds=replace(LARGE, durable=True))
    assert verdict.promise == "what is acknowledged is there"
    assert "etcd is wiped" in verdict.way


@pytest.mark.parametrize(
    ("bounds", "states"),
    [
        (store_checkpoints.Bounds(), 15_000),
        (store_checkpoints.Bounds(sealed=2, late=True), 8_000),
        (store_checkpoints.Bounds(sealed=2, losses=1, collect=False), 6_000),
        (DAMAGED, 25_000),
    ],
    ids=["collecting", "late publications", "losses of etcd", "lost files and checkpoints of parts"],
)
def test_no_reachable_state_of_checkpoints_breaks_a_promise(bounds: store_checkpoints.Bounds, states: int) -> None:
    verdict = store_checkpoints.explore(bounds=bounds)
    assert verdict.promise == "", verdict.way
    assert verdict.states > states


@pytest.mark.parametrize("mutant", sorted(store_checkpoints.MUTANTS))
def test_without_any_one_rule_of_checkpoints_a_promise_is_broken(mutant: str) -> None:
    publishing = mutant.startswith("publish")
    bounds = store_checkpoints.Bounds(late=publishing, collect=not publishing)
    assert store_checkpoints.explore(mutant=mutant, bounds=bounds).promise != ""


def test_a_writer_that_has_slept_through_a_new_etcd_finds_its_revision_but_not_its_value() -> None:
    verdict = explore(mutant=BY_REVISION, bounds=replace(SMALL, epochs=3, backups=False))
    assert verdict.promise == "what is acknowledged is there"
    assert "etcd is wiped" in verdict.way


def test_a_checkpoint_that_begins_with_an_older_one_covers_no_less_than_the_lost_one() -> None:
    verdict = store_checkpoints.explore(mutant=store_checkpoints.COVER_LESS, bounds=DAMAGED)
    assert verdict.promise == "covers never goes back"
    assert "a data file is lost" in verdict.way
