"""Figures of tasks: what is taken for one of many, what stands beside it, and that half a measurement is none."""

import statistics
import zlib

import pytest

from benchmarks import archives, logs, tasks
from benchmarks.figures import Figure
from benchmarks.logserver import PIECE, beginning
from benchmarks.simulated import marker
from localcluster.console import LocalClusterError
from runabout.executors.steplog import StepLogSplitter
from runabout.resources import ExecutorSpec, RunSpec


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def times(*, save: float, restore: float) -> archives.Times:
    seconds = {"tar | zstd": [2.0, 1.0, 9.0], "zstd | tar": [3.0], archives.SAVE: [save], archives.RESTORE: [restore]}
    gateway = {archives.SAVE: [0.5], archives.RESTORE: [0.2]}
    cpu = {what: [2.0, 3.0, 9.0] for what in seconds}
    memory = {archives.SAVE: 70.0, archives.RESTORE: 60.0}
    packed = {"toolbox": 60_000_000, "tar | zstd": 61_000_000}
    return archives.Times(seconds, memory, cpu, gateway, [2.5], packed)


SIZES = archives.Sizes(files=100, bytes=100_000_000, rounds=3)


@pytest.mark.parametrize(("save", "met"), [(3.9, True), (4.1, False)])
def test_the_toolbox_may_take_twice_as_long_as_the_median_of_tar_and_zstd(save: float, met: bool) -> None:
    found = by_name(archives.figures(SIZES, times(save=save, restore=6.0)))
    assert found["save beside tar | zstd"].met is met
    assert found["save by the toolbox"].value == pytest.approx(100 / save)
    assert found["restore beside zstd | tar"].value == 0.5
    assert found["save, CPU of toolbox and gateway"].value == 3.5
    assert found["save, CPU of toolbox and gateway"].beside == "the gateway 0.5 s; tar | zstd: 3.0 s"
    assert found["packed, of what there was"].value == 0.6


def test_the_contents_of_an_archive_are_half_texts_and_half_noise_and_add_up() -> None:
    sizes = archives.Sizes(files=7, bytes=70_003)
    made = dict(archives.contents(sizes))
    assert (len(made), sum(map(len, made.values()))) == (7, 70_003)
    shares = sorted(len(zlib.compress(data)) / len(data) for data in made.values())
    assert statistics.mean(shares[:4]) < 0.5
    assert shares[4] > 0.99
    assert made == dict(archives.contents(sizes))


def test_a_reader_of_logs_is_shown_beside_one_that_reads_and_drops_them() -> None:
    used = {
        "plain": logs.Used(opening=1.0, following=2.0, ending=0.1, memory=50.0),
        "collector": logs.Used(opening=1.5, following=3.0, ending=1.0, memory=100.0),
        "gateway": logs.Used(opening=2.0, following=8.0, ending=0.2, memory=75.0),
    }
    found = by_name(logs.figures(logs.Sizes(streams=1000, seconds=20), used))
    assert found["gateway, CPU of a core"].value == 40
    assert found["gateway, CPU of a core"].beside == "4.0 of plain HTTP's"
    assert found["operator's collector, CPU per piece"].value == pytest.approx(150)
    assert found["operator's collector, memory per stream"].value == pytest.approx(102.4)
    assert found["operator's collector, CPU to open a stream"].beside == "1.5 of plain HTTP's; ending one 1.0 ms"


def test_a_served_log_is_one_of_a_toolbox() -> None:
    splitter = StepLogSplitter(("step",))
    given = [*splitter.feed(beginning() + PIECE + marker(f"at 0 {len(PIECE)}")), *splitter.flush()]
    assert b"".join(chunk.data for chunk in given if chunk.step == 0) == PIECE
    assert not any(chunk.notice for chunk in given)


def test_a_task_is_shown_beside_the_bare_pods_of_the_same_turns() -> None:
    alone = tasks.Times(bare=[1.0, 2.0, 9.0], task=[3.0, 3.0, 9.0], run=[4.0, 4.0, 4.0])
    together = tasks.Times(bare=[4.0], task=[5.0], run=[6.0])
    found = by_name(tasks.figures(alone, together, shell=[1.0], toolbox=[14.0, 15.0, 90.0]))
    one = found["task of one step, one after the other, until its pod is over, p50"]
    assert (one.value, one.beside) == (3.0, "+1.00 s, 1.50 of a bare pod")
    assert found["task of one step, 8 at once, until its Run is Completed, p50"].beside == "+2.00 s, 1.50 of a bare pod"
    assert found["toolbox's memory, its peak, p50"].value == 15.0


def test_the_memory_of_process_1_is_what_the_command_prints() -> None:
    assert tasks.peak("VmHWM: 14336\nVmRSS: 13000\n[runabout: a notice]\n") == 14.0
    with pytest.raises(LocalClusterError, match="and printed 'nothing'"):
        tasks.peak("nothing")


def seen(name: str, *, phase: str, namespace: str = tasks.SPACE) -> tasks.Seen:
    made = tasks.Seen()
    made.pod_changed(None, {"metadata": {"name": name, "namespace": namespace}, "phase": phase})
    return made


def test_what_is_measured_is_what_the_operator_takes() -> None:
    spec = RunSpec.model_validate(tasks.task("alone-0")["spec"])
    assert [task.name for task in spec.tasks] == ["alone-0"]
    assert ExecutorSpec.model_validate(tasks.executor("bench")["spec"]).namespace_selector is not None


async def test_a_pod_that_fails_ends_the_measurement() -> None:
    with pytest.raises(LocalClusterError, match="the pod bare-1 has failed"):
        await seen("bare-1", phase="Failed").until(lambda: False, "a bare pod")
    others = seen("bare-1", phase="Failed", namespace="team")
    await others.until(lambda: not others.failed, "a bare pod")
