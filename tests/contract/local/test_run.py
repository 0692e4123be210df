"""`runabout run`: what a run is without a cluster, from the file to the exit code, with real processes."""

import os
import pty
import signal
import time
from pathlib import Path

import pytest

from fixtures.local_runs import LocalRuns, gone, task, until
from fixtures.tools import REPOSITORY
from runabout.client.simulate import played
from runabout.records import Reason, Status

EXAMPLES = REPOSITORY / "docs" / "examples"
FOREVER = "trap '' TERM; while :; do sleep 1; done"


@pytest.mark.parametrize(("example", "code"), [("hello", 0), ("failing", 1)])
async def test_an_example_ends_here_as_the_simulation_says(here: LocalRuns, example: str, code: int) -> None:
    outcomes = EXAMPLES / "outcomes" / f"{example}.yaml"
    simulation, _ = played(EXAMPLES / f"{example}.yaml", outcomes if outcomes.exists() else None)
    ended = here.run(EXAMPLES / f"{example}.yaml")
    assert ended.code == code, ended.err
    tasks = await here.tasks(ended.run)
    assert {name: each.status for name, each in tasks.items()} == {
        name: each.status for name, each in simulation.tasks.items()
    }
    assert f"): {simulation.result.value} after" in ended.out


def test_the_first_line_comes_before_what_takes_long_is_loaded(here: LocalRuns) -> None:
    began = time.monotonic()
    process = here.start(EXAMPLES / "hello.yaml")
    read = until(process, "run hello: 4 tasks")
    took = time.monotonic() - began
    assert read.count("\n") == 1
    assert took - starved_seconds(process.pid) < 2  # however many others want the processors
    assert here.end(process).code == 0


def starved_seconds(pid: int) -> float:
    """Return for how long a process's first thread could have gone on and had no processor."""
    _, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(waited) / 1e9


def test_what_is_wrong_with_a_file_is_said_at_once_and_nothing_runs(here: LocalRuns) -> None:
    ended = here.run(EXAMPLES / "setuperror.yaml")
    assert (ended.code, ended.out) == (2, "")
    for part in ("prepare", "duplicate", "cycle", "RUNABOUT_"):
        assert part in ended.err
    assert not here.store.exists()


def test_logs_are_stored_as_on_a_cluster_and_shown_while_they_come(here: LocalRuns) -> None:
    ended = here.run(here.file(task("a", "printf 'one\\ntwo'; echo err >&2")))
    assert [line for line in ended.out.splitlines() if line.startswith("a | ")] == ["a | one", "a | twoerr"]
    assert here.logs(ended.run).endswith("== step run-1\none\ntwoerr\n")


async def test_a_task_has_a_home_of_its_own_and_sees_no_files_of_others(here: LocalRuns, tmp_path: Path) -> None:
    script = "pwd; ls -A; echo left > file"
    ended = here.run(here.file(task("a", script), task("b", script, "a")))
    assert ended.code == 0
    places = [line.partition("| ")[2] for line in ended.out.splitlines() if "| /" in line]
    assert len(set(places)) == 2
    assert all(place.startswith(str(tmp_path)) and place.endswith("/home/project") for place in places)
    assert "| file" not in ended.out
    assert not (here.store / "work" / places[0].split("/")[-3]).exists()  # what is left there goes with the run


async def test_a_task_that_fails_is_tried_again_as_its_file_says(here: LocalRuns, tmp_path: Path) -> None:
    script = f"test -e {tmp_path}/second && exit 0; touch {tmp_path}/second; exit 7"
    ended = here.run(here.file(task("a", script, retries={"limit": 1})))
    assert ended.code == 0
    found = (await here.tasks(ended.run))["a"]
    assert (found.attempt, [each.exit_code for each in found.attempts]) == (2, [7])


async def test_no_more_tasks_run_at_once_than_were_allowed(here: LocalRuns, tmp_path: Path) -> None:
    script = f"mkdir {tmp_path}/one && rmdir {tmp_path}/one"
    ended = here.run(here.file(*(task(f"a{number}", script) for number in range(6))), "--jobs", 1)
    assert ended.code == 0, ended.out


def test_a_run_goes_on_when_nobody_reads_its_lines_any_more(here: LocalRuns, tmp_path: Path) -> None:
    script = f"while test ! -e {tmp_path}/go; do sleep 0.1; done; echo more"
    process = here.start(here.file(task("a", script), task("b", f"touch {tmp_path}/done", "a")))
    until(process, "a ▸ started")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    (tmp_path / "go").touch()
    ended = here.end(process)
    assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err
    assert (tmp_path / "done").exists()


# stopping


async def test_the_first_interrupt_is_a_stop_that_tasks_can_answer(here: LocalRuns) -> None:
    script = "trap 'echo cleaned; exit 0' TERM; echo begun; while :; do sleep 0.1; done"
    process = here.start(here.file(task("a", script), task("b", "true", "a")))
    read = until(process, "a | begun")
    process.send_signal(signal.SIGINT)
    ended = here.end(process)
    assert ended.code == 130
    assert "a | cleaned" in read + ended.out
    tasks = await here.tasks(ended.run)
    assert {name: each.status for name, each in tasks.items()} == {"a": Status.STOPPED, "b": Status.SKIPPED}


def test_the_second_interrupt_ends_what_does_not_listen(here: LocalRuns, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    process = here.start(here.file(task("a", f"echo $$ > {pid}; echo begun; {FOREVER}")))
    until(process, "a | begun")
    process.send_signal(signal.SIGINT)
    until(process, "once more")
    process.send_signal(signal.SIGINT)
    assert here.end(process).code == 130
    assert gone(int(pid.read_text()))


async def test_a_kill_leaves_no_process_and_the_next_run_ends_what_it_left(here: LocalRuns, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    process = here.start(here.file(task("a", f"echo $$ > {pid}; echo begun; exec sleep 600"), name="killed"))
    until(process, "a | begun")
    [attempt] = [each.name for each in (here.store / "work").iterdir()]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert gone(int(pid.read_text()))

    ended = here.run(here.file(task("a", "true")))
    assert ended.code == 0
    killed = attempt.removesuffix("-a-1")
    found = (await here.tasks(killed))["a"]
    assert (found.status, found.attempt) == (Status.STOPPED, 1)  # it was not executed again
    assert "begun\n" in here.logs(killed)


def test_a_folder_in_use_is_said_to_be_so(here: LocalRuns, tmp_path: Path) -> None:
    first = here.start(here.file(task("a", f"echo begun; while test ! -e {tmp_path}/go; do sleep 0.1; done")))
    until(first, "a | begun")
    second = here.run(here.file(task("a", "true"), name="other"))
    assert second.code == 2
    assert f"process {first.pid}" in second.err
    assert "--store" in second.err
    (tmp_path / "go").touch()
    assert here.end(first).code == 0


# approvals


async def test_an_approval_is_given_beforehand_or_the_run_is_refused(here: LocalRuns) -> None:
    file = here.file(task("a", "true"), task("b", "true", "a", needsApproval=True, approvers={"min": 2}))
    refused = here.run(file)
    assert refused.code == 2
    assert "spec.tasks[1].needsApproval" in refused.err
    assert "--approve b" in refused.err
    ended = here.run(file, "--approve", "b")
    assert ended.code == 0
    assert [each.verdict.value for each in (await here.tasks(ended.run))["b"].approvals] == ["approved"]


@pytest.mark.parametrize(("answer", "status"), [("y", Status.SUCCESS), ("n", Status.FAILED)])
async def test_on_a_terminal_the_person_is_asked(here: LocalRuns, answer: str, status: Status) -> None:
    ours, theirs = pty.openpty()
    process = here.start(here.file(task("a", "true", needsApproval=True)), "--plain", stdin=theirs)
    os.close(theirs)
    until(process, "approve it? [y/n]")
    os.write(ours, b"what\n" + answer.encode() + b"\n")
    ended = here.end(process)
    os.close(ours)
    found = (await here.tasks(ended.run))["a"]
    assert (ended.code, found.status) == (0 if answer == "y" else 1, status)
    assert found.reason is (None if answer == "y" else Reason.REFUSED)


async def test_a_restart_that_nobody_can_approve_is_refused_instead_of_waiting_for_ever(here: LocalRuns) -> None:
    first = here.run(here.file(task("a", "false"), task("b", "true", needsApproval=True)), "--approve", "b")
    assert first.code == 1
    path = here.folder / "again.yaml"
    path.write_text(
        "apiVersion: runabout.dev/v1alpha1\nkind: Run\nmetadata: {name: again}\n"
        f"spec: {{restartFrom: {{run: {first.run}, from: start}}}}\n"
    )
    again = here.run(path)
    assert "give --approve b" in again.out
    assert (await here.tasks(again.run))["b"].reason is Reason.REFUSED
    approved = here.run(path, "--approve", "b")
    assert (await here.tasks(approved.run))["b"].status is Status.SUCCESS


# what a cluster has


def test_archives_caches_and_results_go_from_task_to_task(here: LocalRuns) -> None:
    def steps(name: str, *parents: str, **fields: object) -> dict[str, object]:
        return {**task(name, "", *parents), **fields}

    file = here.file(
        steps(
            "build",
            steps=[
                {"run": 'echo made > file; echo ANSWER=42 >> "$RUNABOUT_RESULTS"'},
                {"saveToWorkspace": {"contents": [{"paths": ["file"]}]}},
                {"saveCache": {"key": "deps-1", "contents": [{"paths": ["file"]}]}},
            ],
        ),
        steps(
            "use",
            "build",
            steps=[
                {"restoreWorkspace": {}},
                {"restoreCache": {"keys": ["deps-"], "destDir": "cached"}},
                {"run": "cat file cached/file; echo {{ tasks.build.results.ANSWER }}"},
            ],
        ),
    )
    ended = here.run(file)
    assert ended.code == 0, ended.out + ended.err
    said = here.logs(ended.run, "--task", "use")
    assert said.endswith("made\nmade\n42\n")


async def test_secrets_are_files_of_a_folder_and_one_that_is_missing_is_named(here: LocalRuns, tmp_path: Path) -> None:
    source = {"valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}
    file = here.file(
        task("a", 'test "$PASSWORD" = sesame && echo "it is $PASSWORD"', environment=[{"name": "PASSWORD", **source}])
    )
    without = here.run(file)
    assert without.code == 1
    assert "login/password" in without.out
    assert "--secrets" in without.out
    (tmp_path / "secrets" / "login").mkdir(parents=True)
    (tmp_path / "secrets" / "login" / "password").write_text("sesame")
    ended = here.run(file, "--secrets", tmp_path / "secrets")
    assert ended.code == 0
    assert "it is ***" in here.logs(ended.run)


def test_what_a_clone_logs_in_with_is_asked_for_where_it_belongs(here: LocalRuns, tmp_path: Path) -> None:
    clone = {"url": "https://127.0.0.1:1/x.git", "credentials": {"name": "git-login"}}
    file = here.file(task("a", "", steps=[{"clone": clone}]))
    without = here.run(file)
    assert without.code == 1
    for part in ("git-login", "ssh-privatekey", "--secrets"):
        assert part in without.out
    (tmp_path / "secrets").mkdir()
    assert str(tmp_path / "secrets" / "git-login") in here.run(file, "--secrets", tmp_path / "secrets").out


def test_without_a_toolbox_it_says_how_to_build_one(here: LocalRuns, tmp_path: Path) -> None:
    here.toolbox = tmp_path / "nowhere"
    ended = here.run(here.file(task("a", "true")))
    assert ended.code == 2
    assert "hack/toolbox" in ended.err
    assert f"at {here.toolbox}, as RUNABOUT_TOOLBOX says" in ended.err


def test_a_restart_keeps_what_had_succeeded(here: LocalRuns, tmp_path: Path) -> None:
    script = f"test -e {tmp_path}/mended"
    first = here.run(here.file(task("a", "echo once"), task("b", script, "a"), name="first"))
    assert first.code == 1
    (tmp_path / "mended").touch()
    path = tmp_path / "again.yaml"
    path.write_text(
        "apiVersion: runabout.dev/v1alpha1\nkind: Run\nmetadata: {name: again}\n"
        f"spec: {{restartFrom: {{run: {first.run}, from: failed}}}}\n"
    )
    again = here.run(path)
    assert again.code == 0, again.out + again.err
    assert "| once" not in again.out
    assert f"a ✓ success, kept from run {first.run}" in again.out
    assert "once\n" in here.logs(again.run)


def test_a_restart_of_what_is_not_there_is_refused_and_ends(here: LocalRuns) -> None:
    path = here.folder / "again.yaml"
    path.write_text(
        "apiVersion: runabout.dev/v1alpha1\nkind: Run\nmetadata: {name: again}\n"
        "spec: {restartFrom: {run: nosuch, from: failed}}\n"
    )
    again = here.run(path)
    assert again.code == 2
    assert 'spec.restartFrom.run: unknown run "nosuch"' in again.err.splitlines()[-1]
    assert "{" not in again.err


def test_on_a_terminal_the_tasks_stand_as_a_tree_below_the_lines(here: LocalRuns, tmp_path: Path) -> None:
    waiting = f"echo hello; while test ! -e {tmp_path}/go; do sleep 0.1; done"
    ours, theirs = pty.openpty()
    process = here.start(here.file(task("a", waiting), task("b", "true", "a")), terminal=theirs)
    os.close(theirs)
    shown = b""
    while "▸ a".encode() not in shown or b"hello" not in shown:
        shown += os.read(ours, 65536)
    assert "  · b".encode() in shown  # below its parent
    (tmp_path / "go").touch()
    assert process.wait() == 0
    os.close(ours)
