"""The engine alone: decisions on large runs, the most that one fact can lead to."""

import gc
import time

from benchmarks.figures import Figure
from runabout.engine.create import create_run
from runabout.engine.decide import Assignment, Facts, TaskEnd, decide
from runabout.engine.graph import Graph
from runabout.engine.state import State
from runabout.records import Condition, Dependency, RunConfig, RunId, Status, TaskConfig

SIZES = {1_000: 10.0, 10_000: 150.0}
"""tasks → milliseconds that one decision may take"""
WIDTH = 25
PARENTS = 3
REPEATS = 7


def layered(number: int) -> RunConfig:
    """Return a run of layers: one task, then layers of 25 with three parents each in the layer before."""
    tasks: list[TaskConfig] = [TaskConfig("root")]
    before = ["root"]
    while len(tasks) < number:
        layer = [f"t{len(tasks) + place}" for place in range(min(WIDTH, number - len(tasks)))]
        for place, name in enumerate(layer):
            parents = dict.fromkeys(before[(place + step) % len(before)] for step in range(PARENTS))
            depends = tuple(Dependency(parent, frozenset({Condition.ON_SUCCESS})) for parent in parents)
            tasks.append(TaskConfig(name, depends))
        before = layer
    return RunConfig(
        RunId("1il7g1c000001"), "ci", "bench", "c0ffee", "/ci/run/bench", "/ci/run/bench", 0, tasks=tuple(tasks)
    )


def running(config: RunConfig, graph: Graph) -> State:
    """Return the run with its first task on an executor."""
    state = create_run(config, counter=1, now=0).state
    begun = decide(graph, state, Facts(now=1, start=True))
    assigned = {"root": Assignment("linux", "pod-root-1")}
    return decide(graph, begun.state, Facts(now=2, assigned=assigned)).state


def milliseconds(number: int) -> tuple[float, float]:
    """Return how long the decision takes that starts a layer, and the one by which a failure skips all other tasks."""
    config = layered(number)
    graph = Graph(config.tasks)
    state = running(config, graph)
    return (
        _best(graph, state, Facts(now=3, ended={"root": TaskEnd(Status.SUCCESS, ended=3)})),
        _best(graph, state, Facts(now=3, ended={"root": TaskEnd(Status.FAILED, ended=3)})),
    )


def _best(graph: Graph, state: State, facts: Facts) -> float:
    """Return the best of several times: what the code needs, without what else the machine did."""
    times = []
    gc.collect()
    for _ in range(REPEATS):
        begin = time.perf_counter()
        decide(graph, state, facts)
        times.append((time.perf_counter() - begin) * 1000)
    return min(times)


def measure() -> list[Figure]:
    """Return the engine's figures."""
    figures = []
    worst: dict[int, float] = {}
    for number, limit in SIZES.items():
        start, cascade = milliseconds(number)
        worst[number] = max(start, cascade)
        figures += [
            Figure(f"decide, {number:,} tasks, a layer starts", start, "ms", limit),
            Figure(f"decide, {number:,} tasks, all others are skipped", cascade, "ms", limit),
        ]
    small, large = sorted(worst)
    growth = worst[large] / worst[small] / (large / small)
    return [*figures, Figure("growth of decide beside linear", growth, "times", 1.5)]
