"""Large runs: a decision's time grows with the number of tasks, not with its square.

The limits here are wide, for machines that do other things, too; the figures stand in the benchmark of the engine.
"""

from collections.abc import Callable
from time import process_time

import pytest

from runabout.engine.create import create_run
from runabout.engine.decide import decide
from runabout.engine.facts import Assignment, Facts, TaskEnd
from runabout.engine.graph import Graph
from runabout.engine.state import State
from runabout.records import Approval, Condition, Dependency, Phase, RunConfig, RunId, Status, TaskConfig

Shape = Callable[[int], tuple[TaskConfig, ...]]


def wide(number: int) -> tuple[TaskConfig, ...]:
    """Roots, every other of which needs approval, and a task that joins them all."""
    roots = [TaskConfig(f"t{each}", needs_approval=each % 2 == 1) for each in range(number - 1)]
    return (*roots, TaskConfig("join", tuple(Dependency(root.name) for root in roots)))


def chain(number: int) -> tuple[TaskConfig, ...]:
    """One after the other, each only if the one before was skipped or succeeded."""
    either = frozenset({Condition.ON_SUCCESS, Condition.ON_SKIPPED})
    return tuple(
        TaskConfig(f"t{each}", (Dependency(f"t{each - 1}", either),) if each else (), skip=0 < each < number - 1)
        for each in range(number)
    )


def play(tasks: tuple[TaskConfig, ...]) -> tuple[State, float]:
    """Play a run in as few and as large decisions as possible; return its end and the longest decision in seconds."""
    config = RunConfig(RunId("0" * 13), "n", "r", "u", "/n/run/r", "/n/run/r", 0, tasks=tasks)
    graph = Graph(tasks)
    state = create_run(config, counter=1, now=0).state
    longest = 0.0
    facts = Facts(now=0, start=True, approvals=tuple(Approval(task.name, "anna") for task in tasks))
    while True:
        times = []
        for _ in range(3):
            begin = process_time()
            decision = decide(graph, state, facts)
            times.append(process_time() - begin)
        longest = max(longest, min(times))
        state = decision.state
        if state.run.phase is Phase.FINISHED:
            return state, longest
        if decision.ready:
            facts = Facts(now=1, assigned={name: Assignment("e", name) for name in decision.ready})
        else:
            on = [name for name, task in state.tasks.items() if task.executor is not None]
            ends = {name: TaskEnd(Status.SUCCESS, ended=2) for name in on}
            facts = Facts(now=2, ended=ends, stored=dict.fromkeys(on, ()))


@pytest.mark.parametrize("shape", [wide, chain])
def test_ten_thousand_tasks_take_about_ten_times_as_long_as_a_thousand(shape: Shape) -> None:
    _, small = play(shape(1_000))
    state, large = play(shape(10_000))
    assert {task.status for task in state.tasks.values()} <= {Status.SUCCESS, Status.SKIPPED}
    assert large < 1, "seconds, several times the limit of the benchmark"
    assert large < 40 * max(small, 0.001)
