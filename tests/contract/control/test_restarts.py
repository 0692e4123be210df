"""Restarts as the operator makes them: which run is meant, what is kept, what is refused. Stores in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.fake_kube import FakeKube
from fixtures.states import created, finished, task_spec, with_task
from lab.desk import Desk, desk
from lab.faulty_etcd import FaultyEtcd
from lab.kube_suite import until
from runabout.control.ledger import SHARED_BY, SHARING, Change
from runabout.engine.state import State
from runabout.etcd.memory import MemoryEtcd
from runabout.ost import MemoryObjectStore
from runabout.records import Counter, EnvVar, Phase, Result, RunId, Status, StepState

OLD, OTHER = RunId("1il7g1c000001"), RunId("1il7g1c000002")
CHAIN = (task_spec("a"), task_spec("b", depends=[{"task": "a"}]), task_spec("c", depends=[{"task": "b"}]))


def over(run: RunId = OLD, *, name: str = "web-1", namespace: str = "ci", result: Result = Result.FAILED) -> State:
    """Return a run that is over; of a failed one `a` had succeeded, `b` failed."""
    state = created(
        *CHAIN,
        run=run,
        name=name,
        namespace=namespace,
        group="/project/web/branch/main",
        cacheGroup="/project/all",
        environment=[{"name": "A", "value": "old"}],
        staticEnvironment=[{"name": "S", "value": "kept"}],
        concurrency="replaceQueued",
        maxActiveTasks=2,
        retries={"limit": 3},
    )
    ends = {"b": Status.SUCCESS, "c": Status.SUCCESS}
    if result is not Result.SUCCESS:
        ends = {"b": Status.FAILED, "c": Status.SKIPPED}
    state = with_task(state, "a", status=Status.SUCCESS, attempt=2, pod="p", steps=(StepState("x", Status.SUCCESS),))
    for task, status in ends.items():
        state = with_task(state, task, status=status, attempt=1)
    annotated = replace(state.config, labels={"l": "old", "m": "old"}, annotations={"forge": "old"})
    return finished(replace(state, config=annotated), result)


async def keep(here: Desk, *states: State) -> None:
    for state in states:
        counter = Counter("/ci/project/web", state.run.counter)
        await here.ledger.commit(Change(state.run, state.tasks.values(), (), state.config, counter))


@asynccontextmanager
async def scene(scratch: Path, *states: State) -> AsyncIterator[Desk]:
    async with FakeKube() as fake, desk(fake, scratch, etcd=MemoryEtcd(), ost=MemoryObjectStore()) as here:
        await keep(here, *states)
        yield here


async def restarted(here: Desk, name: str = "again", *, run: str = OLD, start: str = "failed", **spec: Any) -> State:  # noqa: ANN401 - fields of a spec
    """Return the record of a new restart."""
    await here.create(name, restartFrom={"run": run, "from": start}, **spec)
    await here.work(name)
    return await here.state(name)


def refusal(state: State) -> str:
    assert state.run.phase is Phase.SETUPERROR
    [error] = state.config.setup_errors
    return error


async def test_from_failed_keeps_what_succeeded_and_names_the_run_that_executed_it(tmp_path: Path) -> None:
    async with scene(tmp_path, over()) as here:
        new = await restarted(here)
        assert new.run.phase is Phase.RUNNING
        assert {name: task.status for name, task in new.tasks.items()} == {
            "a": Status.SUCCESS,
            "b": Status.NOTSTARTED,
            "c": Status.NOTSTARTED,
        }
        kept = new.tasks["a"]
        assert (kept.run, kept.executed_by, kept.attempt, kept.stored) == (new.run.id, OLD, 2, True)
        assert kept.steps == (StepState("x", Status.SUCCESS),)
        assert [row for kind in (SHARING, SHARED_BY) for row in await here.store.scan(kind)] == [
            (new.run.id, OLD.encode()),
            (f"{OLD}/{new.run.id}", b""),
        ]


SAVES = {"steps": [{"run": "true"}, {"saveToWorkspace": {"contents": [{"paths": ["*"]}]}}]}


@pytest.mark.parametrize("removed", ["archives", "logs", "nothing"])
@pytest.mark.parametrize("start", ["failed", "start"])
@pytest.mark.parametrize("saves", ["a", "b"])
async def test_what_is_kept_needs_its_archives(tmp_path: Path, saves: str, start: str, removed: str) -> None:
    """Otherwise the tasks behind it would begin without its files, and nobody would know."""
    tasks = [task_spec("a"), task_spec("b", depends=[{"task": "a"}])]
    tasks["ab".index(saves)] |= SAVES
    state = created(*tasks, run=OLD, name="web-1", namespace="ci", group="/project/web/branch/main")
    for task, status in (("a", Status.SUCCESS), ("b", Status.FAILED)):
        state = with_task(state, task, status=status, attempt=1)
    async with scene(tmp_path, finished(state, Result.FAILED)) as here:
        if removed != "nothing":
            await (here.ledger.remove_archives(OLD) if removed == "archives" else here.ledger.remove_logs(OLD))
        new = await restarted(here, start=start)
        if (saves, start, removed) == ("a", "failed", "archives"):
            assert refusal(new) == (
                f"spec.restartFrom.from: the files that run {OLD} has saved to its workspace were removed by "
                "retention, and task a, which would be kept, has some; use from: start"
            )
        else:
            assert new.run.phase is Phase.RUNNING


async def test_from_start_executes_everything_again_and_shares_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path, over(result=Result.SUCCESS)) as here:
        new = await restarted(here, start="start")
        assert {task.status for task in new.tasks.values()} == {Status.NOTSTARTED}
        assert await here.store.scan(SHARING) == await here.store.scan(SHARED_BY) == []


async def test_the_environment_is_the_restarts_and_the_rest_the_old_runs(tmp_path: Path) -> None:
    async with scene(tmp_path, over()) as here:
        old = await here.ledger.state(OLD)
        assert old is not None
        new = await restarted(here, environment=[{"name": "N", "value": "new"}], timeoutSeconds=60)
        config, run = new.config, new.run
        assert (config.environment, config.static_environment) == ((EnvVar("N", "new"),), (EnvVar("S", "kept"),))
        assert (config.group, config.cache_group) == ("/ci/project/web/branch/main", "/ci/project/all")
        assert [task.retries.limit for task in config.tasks] == [3, 3, 3]
        assert (config.concurrency, config.max_active_tasks, config.timeout_seconds) == ("replaceQueued", 2, 60)
        assert config.annotations == {"forge": "old"}
        assert config.labels == {"l": "old", "m": "old"}
        assert (run.name, run.counter, run.restarted_from) == ("again", 119, OLD)
        assert (await restarted(here, "empty")).config.environment == ()
        assert await here.ledger.state(OLD) == old  # untouched


LARGE = [{"name": "N", "value": "x" * 30_000}]
SERVICE = {"containers": [{"image": "x"}, {"image": "y"}]}


@pytest.mark.parametrize(("failed", "fits"), [("alone", True), ("served", False), ("first", False)])
async def test_an_environment_for_which_the_tasks_to_be_executed_have_no_room_is_a_setup_error(
    tmp_path: Path, failed: str, fits: bool
) -> None:
    tasks = (
        task_spec("first"),
        task_spec("served", depends=[{"task": "first"}], **SERVICE),
        task_spec("alone", depends=[{"task": "first"}]),
        *(task_spec(f"x{number}", depends=[{"task": "served"}], **SERVICE) for number in range(3)),
    )
    state = created(*tasks, run=OLD, name="web-1", namespace="ci", group="/project/web/branch/main")
    for task in state.tasks:
        state = with_task(state, task, status=Status.FAILED if task == failed else Status.SUCCESS, attempt=1)
    async with scene(tmp_path, finished(state, Result.FAILED)) as here:
        new = await restarted(here, environment=LARGE)
        if fits:
            assert (new.run.phase, new.config.setup_errors) == (Phase.RUNNING, ())
        else:
            error = refusal(new)
            assert error.startswith("spec.environment: with the old run's variables it takes more than the 57344 bytes")
            assert "served 60" in error
            assert "and 1 more. Move long values" in error
            assert (new.tasks, new.run.group) == ({}, "/ci/project/web/branch/main")


async def test_a_restart_of_a_restart_names_the_run_that_executed_a_task(tmp_path: Path) -> None:
    async with scene(tmp_path, over()) as here:
        await here.create("second", restartFrom={"run": OLD, "from": "failed"}, suspend=True)
        await here.work("second")
        await here.change("second", stop=True, suspend=False)
        await here.work("second")
        second = await here.state("second")
        assert second.run.phase is Phase.CANCELLED
        assert refusal(await restarted(here, "wrong", run="second")).startswith("spec.restartFrom.from: run second was")
        ended = with_task(finished(second, Result.STOPPED), "b", status=Status.STOPPED, attempt=1)
        await here.ledger.commit(Change(ended.run, ended.tasks.values()))
        third = await restarted(here, "third", run="second")
        assert third.tasks["a"].executed_by == OLD
        assert third.run.restarted_from == second.run.id
        assert (third.run.id, OLD.encode()) in await here.store.scan(SHARING)


RUNS: dict[str, tuple[str, RunId]] = {
    "by its id": (OLD, OLD),
    "by its name": ("web-1", OLD),
    "the newest of a name": ("twice", RunId("1il7g1c000004")),
}


@pytest.mark.parametrize(("run", "expected"), RUNS.values(), ids=RUNS)
async def test_a_run_is_found_in_the_records_whose_run_is_gone(tmp_path: Path, run: str, expected: RunId) -> None:
    ids = [RunId(f"1il7g1c00000{number}") for number in (3, 4, 5)]
    twice = [over(ids[0], name="twice"), over(ids[1], name="twice"), over(ids[2], name="twice", namespace="other")]
    async with scene(tmp_path, over(), *twice) as here:
        assert (await restarted(here, run=run)).run.restarted_from == expected


async def test_a_run_may_restart_the_one_whose_name_it_has_now(tmp_path: Path) -> None:
    async with scene(tmp_path, over()) as here:
        assert (await restarted(here, "web-1", run="web-1")).run.restarted_from == OLD


async def test_a_name_means_the_run_that_exists_and_not_an_older_one_of_that_name(tmp_path: Path) -> None:
    async with scene(tmp_path, over()) as here:
        await here.create("web-1", tasks=[task_spec("a")], group="/a/b")
        new = await restarted(here, run="web-1")
        assert refusal(new) == (
            "spec.restartFrom.run: run web-1 has no record yet; create this Run again when it is over"
        )
        await here.work("web-1")
        new = await restarted(here, "later", run="web-1")
        assert refusal(new).startswith("spec.restartFrom.run: run web-1 is running; ")
        assert new.run.group == "/ci/a/b"


REFUSED: dict[str, tuple[Mapping[str, Any], str]] = {
    "no such id": ({"run": "1il7g1c00000f"}, 'spec.restartFrom.run: unknown run "1il7g1c00000f" in namespace ci'),
    "no such name": ({"run": "web"}, 'spec.restartFrom.run: unknown run "web" in namespace ci'),
    "another namespace's id": ({"run": OTHER}, f'spec.restartFrom.run: unknown run "{OTHER}" in namespace ci'),
    "another namespace's name": ({"run": "far"}, 'spec.restartFrom.run: unknown run "far" in namespace ci'),
    "a success": (
        {"run": "1il7g1c000003"},
        "spec.restartFrom.from: run 1il7g1c000003 was a success; use from: start",
    ),
    "a group": ({"group": "/a/b"}, "spec.group: a restart keeps the old run's: remove it, or create a new run"),
    "a cache group": (
        {"cacheGroup": "/a/b"},
        "spec.cacheGroup: a restart keeps the old run's: remove it, or create a new run",
    ),
    "retries": (
        {"retries": {"limit": 1}},
        "spec.retries: a restart keeps the old run's: remove it, or create a new run",
    ),
    "the client's error": ({"setupErrors": ["no file"]}, "no file"),
}


@pytest.mark.parametrize(("spec", "error"), REFUSED.values(), ids=REFUSED)
async def test_a_restart_that_is_not_legal_is_a_setup_error(
    tmp_path: Path, spec: Mapping[str, Any], error: str
) -> None:
    others = [over(OTHER, name="far", namespace="other"), over(RunId("1il7g1c000003"), result=Result.SUCCESS, name="x")]
    async with scene(tmp_path, over(), *others) as here:
        new = await restarted(here, **spec)
        assert refusal(new) == error
        assert new.tasks == {}


@pytest.mark.parametrize("removed", ["run", "archives"])
async def test_what_is_removed_while_it_is_restarted_is_gone_then(tmp_path: Path, removed: str) -> None:
    etcd, paused, go_on = FaultyEtcd(MemoryEtcd()), asyncio.Event(), asyncio.Event()

    async def pause(call: str, when: str) -> None:
        if (call, when) == ("txn", "before"):
            paused.set()
            await go_on.wait()

    async with FakeKube() as fake, desk(fake, tmp_path, etcd=etcd, ost=MemoryObjectStore()) as here:
        old = over()
        saving = replace(old.config.tasks[0], body={**old.config.tasks[0].body, **SAVES})
        await keep(here, replace(old, config=replace(old.config, tasks=(saving, *old.config.tasks[1:]))))
        await here.create("again", restartFrom={"run": OLD, "from": "failed"})
        [uid] = here.parts.objects.uids()
        etcd.fault = pause
        async with asyncio.TaskGroup() as group:
            group.create_task(here.ledger.remove(old.run) if removed == "run" else here.ledger.remove_archives(OLD))
            await paused.wait()
            group.create_task(here.parts.reconciler.reconcile(uid))  # reads what is being removed
            await until(lambda: here.store.queued > 0)
            go_on.set()
        assert not here.parts.reconciler.lives
        await here.work("again")
        words = "unknown run" if removed == "run" else "were removed by retention"
        assert words in refusal(await here.state("again"))
        assert await here.store.scan(SHARED_BY) == []


async def test_tasks_of_a_matrix_are_restarted_as_they_were_expanded(tmp_path: Path) -> None:
    state = over()
    names = {"a": "a-1", "b": "b-2", "c": "c-3"}
    tasks = {names[name]: replace(task, name=names[name]) for name, task in state.tasks.items()}
    config = replace(
        state.config,
        tasks=tuple(
            replace(
                task,
                name=names[task.name],
                depends=tuple(replace(parent, task=names[parent.task]) for parent in task.depends),
            )
            for task in state.config.tasks
        ),
    )
    async with scene(tmp_path, State(config, state.run, tasks)) as here:
        new = await restarted(here)
        assert [task.name for task in new.config.tasks] == ["a-1", "b-2", "c-3"]
        assert new.tasks["a-1"].executed_by == OLD
