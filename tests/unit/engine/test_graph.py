"""Graphs: levels, descendants, and everything that can be wrong with one, found at once."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.engine.cycles import find_cycles
from runabout.engine.graph import Graph, check
from runabout.records import Dependency, TaskConfig


def task(name: str, *parents: str) -> TaskConfig:
    return TaskConfig(name, tuple(Dependency(parent) for parent in parents))


DIAMOND = (task("d", "b", "c"), task("b", "a"), task("c", "a"), task("a"), task("e", "a", "d"), task("f"))


def test_a_level_is_one_more_than_the_highest_among_the_parents() -> None:
    graph = Graph(DIAMOND)
    assert {name: graph.level(name) for name in "abcdef"} == {"a": 0, "b": 1, "c": 1, "d": 2, "e": 3, "f": 0}
    assert graph.order == ("a", "f", "b", "c", "d", "e")
    assert [graph.rank(name) for name in graph.order] == list(range(6))


def test_descendants_are_found_however_indirect() -> None:
    graph = Graph(DIAMOND)
    assert graph.descendants(["b"]) == {"d", "e"}
    assert graph.descendants(["a"]) == {"b", "c", "d", "e"}
    assert graph.descendants(["f"]) == frozenset()
    assert (graph.parents("d"), graph.children("a")) == (("b", "c"), ("b", "c", "e"))


@pytest.mark.parametrize(
    ("tasks", "errors"),
    [
        (DIAMOND, []),
        ((), []),
        ((task("a", "x"), task("b", "y")), ["spec.tasks[0].depends[0].task", "spec.tasks[1].depends[0].task"]),
        ((task("a"), task("a"), task("a")), ["spec.tasks[1].name", "spec.tasks[2].name"]),
        ((task("a", "a"),), ["spec.tasks[0].depends[0].task"]),
        ((task("a"), task("b", "a", "a")), ["spec.tasks[1].depends[1].task"]),
        ((task("a", "b"), task("b", "a")), ["spec.tasks[0].depends"]),
        ((task("a", "b"), task("b", "c"), task("c", "a"), task("d", "c")), ["spec.tasks[0].depends"]),
        (
            (task("a", "b"), task("b", "a"), task("c", "d"), task("d", "c"), task("e", "x")),
            ["spec.tasks[4].depends[0].task", "spec.tasks[0].depends", "spec.tasks[2].depends"],
        ),
    ],
    ids=str,
)
def test_every_error_of_a_graph_is_found_with_its_path(tasks: tuple[TaskConfig, ...], errors: list[str]) -> None:
    assert [error.split(": ")[0] for error in check(tasks)] == errors


def test_an_unknown_condition_is_an_error() -> None:
    unknown: frozenset[str] = frozenset({"on_error"})
    (error,) = check((task("a"), TaskConfig("b", (Dependency("a", unknown),))))  # type: ignore[arg-type] # as foreign records may have it
    assert error == (
        'spec.tasks[1].depends[0].conditions: unknown condition "on_error"; '
        "there are on_success, on_failure, on_skipped"
    )


def test_a_cycle_is_shown_by_its_members_from_the_first_in_the_spec_on() -> None:
    (error,) = check((task("x"), task("c", "a"), task("a", "b"), task("b", "c", "x")))
    assert error == "spec.tasks[1].depends: cycle: c -> a -> b -> c; remove one of these dependencies"


EDGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20)


@given(EDGES)
def test_there_is_a_cycle_exactly_where_a_node_reaches_itself(pairs: list[tuple[int, int]]) -> None:
    edges: dict[str, list[str]] = {str(node): [] for node in range(8)}
    for one, other in pairs:
        edges[str(one)].append(str(other))
    reach = {node: set(targets) for node, targets in edges.items()}
    for _ in edges:
        reach = {node: near.union(*(reach[target] for target in near)) for node, near in reach.items()}
    found = find_cycles(edges)
    assert bool(found) is any(node in near for node, near in reach.items())
    for cycle in found:
        assert all(after in edges[node] for node, after in zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        assert len(set(cycle)) == len(cycle)
    knots = {frozenset(o for o in edges if o in reach[n] and n in reach[o]) for n in edges if n in reach[n]}
    assert len(found) == len(knots), "one for each knot"


@pytest.mark.parametrize("closed", [False, True])
def test_a_chain_or_ring_of_ten_thousand_tasks_is_no_matter_of_depth_or_patience(closed: bool) -> None:
    number = 10_000
    first = task("t0", f"t{number - 1}") if closed else task("t0")
    tasks = (first, *(task(f"t{each}", f"t{each - 1}") for each in range(1, number)))
    begin = process_time()
    errors = check(tasks)
    graph = Graph(tasks)
    assert process_time() - begin < 5
    assert len(errors) == closed
    assert closed or graph.level(f"t{number - 1}") == number - 1
