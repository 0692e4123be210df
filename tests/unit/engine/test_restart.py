"""Restarts: which are legal, what is executed again, what is kept; and groups: how runs are ordered and numbered."""

import pytest

from fixtures.states import created, finished, task_spec, with_run, with_task
from runabout.engine.graph import Graph
from runabout.engine.groups import check_group, covers, effective_cache_group, effective_group, root_group
from runabout.engine.restart import check_restart, recreated, restart_config, restart_run
from runabout.records import EnvVar, Phase, RestartFrom, Result, RunId, Status

START, FAILED = RestartFrom.START, RestartFrom.FAILED
OLD = "1il7g1c000001"


@pytest.mark.parametrize(
    ("phase", "result", "from_start", "from_failed"),
    [
        (Phase.QUEUED, Result.UNKNOWN, False, False),
        (Phase.RUNNING, Result.UNKNOWN, False, False),
        (Phase.RUNNING, Result.FAILED, False, False),
        (Phase.SETUPERROR, Result.UNKNOWN, False, False),
        (Phase.CANCELLED, Result.UNKNOWN, True, False),
        (Phase.FINISHED, Result.SUCCESS, True, False),
        (Phase.FINISHED, Result.FAILED, True, True),
        (Phase.FINISHED, Result.STOPPED, True, True),
    ],
)
def test_which_runs_can_be_restarted(phase: Phase, result: Result, from_start: bool, from_failed: bool) -> None:
    old = with_run(created(task_spec("a")), phase=phase, result=result).run
    for start, legal in ((START, from_start), (FAILED, from_failed)):
        problem = check_restart(OLD, old, namespace="ci", start_from=start)
        assert (problem is None) is legal
        assert problem is None or problem.startswith("spec.restartFrom.")


def test_a_run_that_is_not_there_or_another_namespaces_is_unknown() -> None:
    old = finished(created(task_spec("a")), Result.FAILED).run
    assert "unknown run" in str(check_restart(OLD, None, namespace="ci", start_from=START))
    assert "unknown run" in str(check_restart(OLD, old, namespace="other", start_from=START))


def test_from_failed_executes_again_what_did_not_succeed_and_whatever_depends_on_it() -> None:
    def after(name: str, *parents: str) -> dict[str, object]:
        return task_spec(name, depends=[{"task": parent} for parent in parents])

    state = created(after("a"), after("b", "a"), after("c", "b"), after("d", "a"), after("e", "c", "d"), after("f"))
    statuses = {
        "a": Status.SUCCESS,
        "b": Status.FAILED,
        "c": Status.SUCCESS,  # its parent was a handler's, say: it succeeded and is executed again all the same
        "d": Status.SUCCESS,
        "e": Status.SUCCESS,
        "f": Status.SKIPPED,
    }
    for name, status in statuses.items():
        state = with_task(state, name, status=status, attempt=1)
    state = finished(state, Result.FAILED)
    graph = Graph(state.config.tasks)
    assert recreated(graph, state, FAILED) == {"b", "c", "e", "f"}
    assert recreated(graph, state, START) == set(statuses)
    config = restart_config(
        state.config, id=RunId("1il7g1c000002"), name="again", uid="v", created=9, start_from=FAILED
    )
    new = restart_run(graph, state, config, counter=7, now=9).state
    assert {name: task.status for name, task in new.tasks.items()} == {
        "a": Status.SUCCESS,
        "b": Status.NOTSTARTED,
        "c": Status.NOTSTARTED,
        "d": Status.SUCCESS,
        "e": Status.NOTSTARTED,
        "f": Status.NOTSTARTED,
    }
    assert {name for name, task in new.tasks.items() if task.executed_by == OLD} == {"a", "d"}


def test_the_requests_environment_replaces_the_old_one_also_if_it_is_empty_and_the_rest_is_kept() -> None:
    old = created(
        task_spec("a"),
        environment=[{"name": "A", "value": "1"}],
        staticEnvironment=[{"name": "B", "value": "2"}],
        group="/project/web",
        cacheGroup="/project/caches",
    ).config
    for environment in ((), (EnvVar("C", "3"),)):
        new = restart_config(
            old,
            id=RunId("1il7g1c000002"),
            name="n",
            uid="v",
            created=9,
            start_from=START,
            environment=environment,
        )
        assert new.environment == environment
        assert new.static_environment == old.static_environment
        assert (new.group, new.cache_group, new.tasks) == (old.group, old.cache_group, old.tasks)
        assert (new.restarted_from, new.restart_from) == (OLD, START)


@pytest.mark.parametrize(
    ("group", "good"),
    [
        ("/project/web", True),
        ("/project/web/branch/main", True),
        ("/project/a%2Fb", True),
        ("/project/a_b", True),
        ("/Project/Web", True),
        ("", False),
        ("/", False),
        ("/project", False),
        ("project/web", False),
        ("/project//web", False),
        ("/project/web/", False),
        ("/project/a b", False),
        ("/project/a%", False),
        ("/project/a%zz", False),
        ("/project/..", False),
    ],
)
def test_which_groups_there_can_be(group: str, good: bool) -> None:
    assert (check_group(group) is None) is good


@pytest.mark.parametrize(
    ("prefix", "group", "covered"),
    [
        ("/ci/project/a", "/ci/project/a", True),
        ("/ci/project/a", "/ci/project/a/branch/x", True),
        ("/ci/project/a", "/ci/project/ab", False),
        ("/ci/project/a", "/ci/project/A", False),
        ("/ci/project/a_", "/ci/project/ab", False),
        ("/ci/project/%25", "/ci/project/abc", False),
        ("/ci/project/a/branch", "/ci/project/a", False),
        ("/other/project/a", "/ci/project/a", False),
    ],
)
def test_groups_match_by_whole_elements(prefix: str, group: str, covered: bool) -> None:
    assert covers(prefix, group) is covered


def test_runs_are_numbered_by_the_root_of_their_group_in_their_namespace() -> None:
    assert effective_group("ci", "/project/web/branch/main") == "/ci/project/web/branch/main"
    assert root_group("/ci/project/web/branch/main") == "/ci/project/web"
    assert root_group("/ci/project/web") == "/ci/project/web"
    assert effective_cache_group("ci", "/project/web/branch/main") == "/ci/project/web"
    assert effective_cache_group("ci", "/project/web", "/team/shared/x") == "/ci/team/shared/x"
