"""Which executor gets which task: the rules one by one."""

from collections.abc import Mapping
from typing import Any

import pytest

from runabout.records import Reason, RunId
from runabout.scheduling.offers import MAX_NAMES
from runabout.scheduling.placement import Ask, Place, Placement

R1, R2, R3 = (RunId(f"run-{number}") for number in (1, 2, 3))


def ask(task: str = "a", run: RunId = R1, **more: Any) -> Ask:  # noqa: ANN401 - fields of Ask
    return Ask(run=run, task=task, **{"group": f"/ci/{run}", "namespace": "ci", **more})


def place(name: str = "linux", **more: Any) -> Place:  # noqa: ANN401 - fields of Place
    return Place(name, **{"archs": ("amd64",), **more})


def placement(*places: Place, **namespaces: Mapping[str, str]) -> Placement:
    found = Placement()
    for item in places:
        found.set_place(item)
    for name, labels in namespaces.items():
        found.set_namespace(name, labels)
    return found


def placed(where: Placement, *asks: Ask) -> list[tuple[str, str]]:
    where.ask(asks)
    return [(item.task, executor) for item, executor in where.place()]


FITS: list[tuple[str, Place, Ask, str]] = [
    ("no arch runs anywhere", place(archs=("s390x",)), ask(), ""),
    ("an arch that is served", place(archs=("amd64", "arm64")), ask(arch="arm64"), ""),
    ("another arch", place(), ask(arch="arm64"), "no ready executor serves arch arm64 (linux: amd64)"),
    (
        "an arch as a label is none",
        place(labels={"arch": "arm64"}),
        ask(arch="arm64"),
        "no ready executor serves arch arm64",
    ),
    (
        "not ready",
        place(ready=False, why_not_ready="no nodes"),
        ask(),
        "no executor is ready (linux is not ready: no nodes)",
    ),
    (
        "not ready, with an arch",
        place(ready=False),
        ask(arch="amd64"),
        "no ready executor serves arch amd64 (linux: not ready)",
    ),
    ("paused", place(paused=True), ask(), "every ready executor is paused (linux: amd64)"),
    (
        "paused, with an arch",
        place(paused=True),
        ask(arch="amd64"),
        "every ready executor for arch amd64 is paused",
    ),
    ("privilege that is allowed", place(allow_privileged=True), ask(privileged=True), ""),
    ("no privilege where it is allowed", place(allow_privileged=True), ask(), ""),
    ("privilege", place(), ask(privileged=True), "no ready executor allows privileged containers and hostPath volumes"),
    ("an empty namespace selector", place(namespace_selector={}), ask(), ""),
    ("the namespace's labels", place(namespace_selector={"matchLabels": {"team": "web"}}), ask(), ""),
    (
        "other labels of the namespace",
        place(namespace_selector={"matchLabels": {"team": "db"}}),
        ask(),
        "no such executor takes tasks of namespace ci",
    ),
    ("a selector that matches", place(labels={"disk": "fast"}), ask(selector={"matchLabels": {"disk": "fast"}}), ""),
    (
        "a selector that does not match",
        place(labels={"disk": "slow"}),
        ask(selector={"matchLabels": {"disk": "fast"}}),
        "no such executor matches the task's executorSelector",
    ),
]


@pytest.mark.parametrize(("executor", "task", "why"), [row[1:] for row in FITS], ids=[row[0] for row in FITS])
def test_a_task_goes_only_where_it_fits_and_else_says_why(executor: Place, task: Ask, why: str) -> None:
    where = placement(executor, ci={"team": "web"})
    where.ask([task])
    reason, message = where.why(task)
    taken = where.place()
    assert taken == (() if why else ((task, "linux"),))
    if why:
        assert reason is Reason.NO_EXECUTOR
        assert why in message


def test_without_executors_the_reason_says_what_to_do() -> None:
    where = placement()
    where.ask([ask()])
    assert where.place() == ()
    assert where.why(ask()) == (Reason.NO_EXECUTOR, "there is no Executor; create one")


def test_a_reason_names_a_few_executors_and_counts_the_others() -> None:
    where = placement(*(place(f"e{number}") for number in range(MAX_NAMES + 3)))
    _, message = where.why(ask(arch="arm64"))
    assert message.count("amd64") == MAX_NAMES
    assert "and 3 more" in message


def test_a_namespace_that_is_not_known_has_no_labels() -> None:
    where = placement(place(namespace_selector={"matchLabels": {"team": "web"}}))
    assert placed(where, ask()) == []
    where.set_namespace("ci", {"team": "web"})
    assert where.place() == ((ask(), "linux"),)


def test_a_namespace_that_lost_its_label_is_taken_no_more() -> None:
    where = placement(place(namespace_selector={"matchLabels": {"team": "web"}}), ci={"team": "web"})
    where.ask([ask()])
    where.set_namespace("ci", None)
    assert where.place() == ()


def test_the_least_loaded_executor_is_chosen_and_equal_ones_by_name() -> None:
    where = placement(place("c"), place("a"), place("b"))
    assert placed(where, *(ask(str(number), order=(0, str(number))) for number in range(4))) == [
        ("0", "a"),
        ("1", "b"),
        ("2", "c"),
        ("3", "a"),
    ]


def test_the_least_loaded_one_without_a_free_slot_is_passed_over() -> None:
    where = placement(place("a", max_active=1), place("b", max_active=5))
    for number in range(3):
        where.occupy(ask(f"old{number}"), "b")
    where.occupy(ask("old"), "a")
    assert placed(where, ask("new")) == [("new", "b")]


def test_no_executor_gets_more_tasks_than_it_may_have_and_0_is_no_limit() -> None:
    limited = placement(place(max_active=2))
    assert len(placed(limited, *(ask(str(number)) for number in range(5)))) == 2
    assert limited.place() == ()
    assert len(placed(placement(place()), *(ask(str(number)) for number in range(50)))) == 50


def test_a_slot_that_becomes_free_goes_to_the_next_one() -> None:
    where = placement(place(max_active=1))
    assert placed(where, ask("a"), ask("b")) == [("a", "linux")]
    assert where.why(ask("b")) == (Reason.NO_FREE_SLOT, "executor linux has no free slot (1 of 1)")
    where.release(R1, "a")
    assert where.place() == ((ask("b"), "linux"),)


def test_releasing_twice_frees_one_slot_and_occupying_twice_takes_one() -> None:
    where = placement(place(max_active=2))
    where.occupy(ask("a"), "linux")
    where.occupy(ask("a"), "linux")
    where.occupy(ask("b"), "linux")
    assert where.active("linux") == 2
    where.release(R1, "a")
    where.release(R1, "a")
    assert where.active("linux") == 1


def test_a_lower_limit_ends_nothing_and_places_nothing_until_there_is_room() -> None:
    where = placement(place(max_active=3))
    placed(where, *(ask(str(number)) for number in range(3)))
    where.set_place(place(max_active=1))
    assert placed(where, ask("more")) == []
    assert where.why(ask("more")) == (Reason.NO_FREE_SLOT, "executor linux has no free slot (3 of 1)")
    for number in range(2):
        where.release(R1, str(number))
        assert where.place() == ()
    where.release(R1, "2")
    assert where.place() == ((ask("more"), "linux"),)


def test_an_executor_that_comes_back_still_counts_what_is_on_it() -> None:
    where = placement(place(max_active=1))
    placed(where, ask("a"))
    where.remove_place("linux")
    where.set_place(place(max_active=1))
    assert placed(where, ask("b")) == []


@pytest.mark.parametrize(
    "first",
    [ask("first", arch="arm64"), ask("first", privileged=True), ask("first", run_limit=1)],
    ids=["fits nowhere", "no privilege", "its run has as many as it may"],
)
def test_a_task_that_cannot_be_placed_blocks_nobody(first: Ask) -> None:
    where = placement(place(max_active=2))
    where.occupy(ask("running"), "linux")
    assert placed(where, first, ask("second", run=R2)) == [("second", "linux")]


def test_a_full_executor_does_not_block_tasks_of_another_one() -> None:
    where = placement(place("full", max_active=1), place("arm", archs=("arm64",), max_active=1))
    where.occupy(ask("running"), "full")
    waiting = [ask(str(number), arch="amd64", priority=9) for number in range(3)]
    assert placed(where, *waiting, ask("arm", run=R2, arch="arm64")) == [("arm", "arm")]


def test_the_group_with_the_fewest_tasks_comes_first_then_priority_then_age() -> None:
    where = placement(place(max_active=3))
    where.occupy(ask("running", run=R1), "linux")
    asks = (ask("a", run=R1, priority=100), ask("b", run=R2), ask("c", run=R3, priority=1))
    assert placed(where, *asks) == [("c", "linux"), ("b", "linux")]


def test_within_a_group_priority_then_the_older_run_then_level_then_name() -> None:
    where = placement(place(max_active=6))
    rows = [
        ask("z", run=R1, group="/ci/g", order=(0, "z")),
        ask("a", run=R1, group="/ci/g", order=(1, "a")),
        ask("b", run=R1, group="/ci/g", order=(0, "b")),
        ask("new", run=R2, group="/ci/g"),
        ask("urgent", run=R3, group="/ci/g", priority=5),
        ask("idle", run=R3, group="/ci/g", priority=-5),
    ]
    assert [task for task, _ in placed(where, *rows)] == ["urgent", "b", "z", "a", "new", "idle"]


def test_groups_take_turns() -> None:
    where = placement(place(max_active=4))
    rows = [ask(f"{run}/{number}", run=run, order=(0, str(number))) for run in (R1, R2) for number in range(3)]
    assert [task for task, _ in placed(where, *rows)] == ["run-1/0", "run-2/0", "run-1/1", "run-2/1"]


def test_a_run_has_no_more_tasks_on_executors_than_it_may_and_says_so() -> None:
    where = placement(place())
    rows = [ask(str(number), run_limit=2) for number in range(4)]
    assert placed(where, *rows) == [("0", "linux"), ("1", "linux")]
    assert where.why(rows[2]) == (Reason.NO_FREE_SLOT, "the run has 2 of at most 2 tasks on executors")
    where.release(R1, "0")
    assert where.place() == ((rows[2], "linux"),)


def test_what_waits_its_turn_or_for_several_executors_says_so() -> None:
    where = placement(place("a", max_active=1), place("b", max_active=2))
    where.ask([ask("new")])
    assert where.why(ask("new")) == (Reason.NO_FREE_SLOT, "waits its turn for executor a, b")
    for number in range(3):
        where.occupy(ask(f"old{number}"), "ab"[number > 0])
    assert where.why(ask("new")) == (Reason.NO_FREE_SLOT, "no executor has a free slot: a (1 of 1), b (2 of 2)")


def test_withdrawing_leaves_those_named() -> None:
    where = placement(place())
    where.ask([ask("a"), ask("b"), ask("c", run=R2)])
    where.withdraw(R1, keep=["b"])
    assert len(where) == 2
    assert sorted(item.task for item, _ in where.place()) == ["b", "c"]
    where.withdraw(R3)


def test_a_task_on_an_executor_cannot_wait_for_another_one() -> None:
    where = placement(place())
    where.occupy(ask("a"), "linux")
    assert placed(where, ask("a")) == []
    assert len(where) == 0


def test_an_executor_knows_how_many_wait_for_it() -> None:
    where = placement(place(max_active=1), place("arm", archs=("arm64",), max_active=1))
    placed(where, *(ask(str(number), arch="amd64") for number in range(4)), ask("arm", arch="arm64"))
    assert (where.active("linux"), where.waiting("linux")) == (1, 3)
    assert (where.active("arm"), where.waiting("arm")) == (1, 0)
