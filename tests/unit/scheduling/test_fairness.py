"""A crowd of one team delays nobody else by more than one task's slot, however it spreads over groups."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.records import RunId
from runabout.scheduling.placement import Ask, Place, Placement

CROWD = 5_000
SLOTS = 20
SECONDS = 5.0
"""Of processor time, many times what it takes on an idle machine: a cost that grows with the crowd's square fails."""


def ask(number: int, namespace: str, group: str, *, priority: int = 0) -> Ask:
    return Ask(RunId(f"run-{number:06}"), "a", f"/{namespace}{group}", namespace, priority=priority)


SPREADS: dict[str, Callable[[int], str]] = {
    "one group": lambda _number: "/project/web/branch/main",
    "a group each": lambda number: f"/project/web/pull/{number}",
    "a root group each": lambda number: f"/run/{number}",
}


def crowded(spread: Callable[[int], str], *, crowd: int = CROWD, slots: int = SLOTS, priority: int = 0) -> Placement:
    """Return a placement whose slots are all the crowd's, which has more tasks that wait."""
    where = Placement()
    where.set_place(Place("linux", ("amd64",), max_active=slots))
    where.ask(ask(number, "crowd", spread(number), priority=priority) for number in range(crowd))
    assert len(where.place()) == min(slots, crowd)
    return where


@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS)
def test_the_next_slot_is_the_other_teams_whatever_the_crowd_and_its_priority(spread: Callable[[int], str]) -> None:
    began = time.process_time()
    where = crowded(spread, priority=100)
    for number in range(SLOTS // 2):  # as long as the other team has fewer tasks than the crowd, it is its turn
        where.ask([ask(CROWD + number, "other", f"/project/api/pull/{number}")])
        where.release(RunId(f"run-{number:06}"), "a")
        [(placed, _)] = where.place()
        assert placed.run == f"run-{CROWD + number:06}"
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("spread", [SPREADS["one group"], SPREADS["a group each"]], ids=["one group", "a group each"])
def test_of_one_namespace_another_project_has_the_next_slot(spread: Callable[[int], str]) -> None:
    where = crowded(spread)
    where.ask([ask(CROWD, "crowd", "/project/api/branch/main")])
    where.release(RunId("run-000000"), "a")
    [(placed, _)] = where.place()
    assert placed.run == f"run-{CROWD:06}"


def test_a_crowd_that_has_the_executors_to_itself_has_all_of_them() -> None:
    began = time.process_time()
    where = crowded(SPREADS["a root group each"])
    for number in range(CROWD - SLOTS):
        where.release(RunId(f"run-{number:06}"), "a")
        [(placed, _)] = where.place()
        assert placed.run == f"run-{number + SLOTS:06}"
    assert time.process_time() - began < SECONDS


@given(
    crowd=st.integers(1, 30),
    slots=st.integers(1, 6),
    spread=st.sampled_from(list(SPREADS.values())),
    teams=st.integers(1, 6),
    each=st.integers(2, 5),
)
def test_every_team_that_has_nothing_gets_one_of_the_next_slots_one_after_the_other(
    crowd: int, slots: int, spread: Callable[[int], str], teams: int, each: int
) -> None:
    where = crowded(spread, crowd=crowd + slots + teams, slots=slots)
    where.ask(
        ask(1_000 + 100 * team + number, f"team-{team}", spread(number))
        for team in range(teams)
        for number in range(each)
    )
    found, running = ["crowd"], [f"run-{number:06}" for number in range(slots)]
    while len(found) <= teams:
        where.release(RunId(running.pop(0)), "a")
        [(placed, _)] = where.place()
        found.append(placed.namespace)
        running.append(placed.run)
    assert sorted(found) == ["crowd", *(f"team-{team}" for team in range(teams))]
