"""`runabout run` with tasks as containers of Podman: images, services, and that nothing is left."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.local_runs import LocalRuns, task, until
from fixtures.podman_home import IMAGE, SECONDS, PodmanHome, program
from runabout.records import Reason, Status

STEPS = {"image": IMAGE}


def service(script: str, **fields: object) -> dict[str, object]:
    return {"name": "web", "image": IMAGE, "command": ["/bin/sh", "-c", script], **fields}


@pytest.fixture(autouse=True)
def nothing_is_left(podman: PodmanHome) -> Iterator[None]:
    yield
    assert podman.left() == []


def test_a_service_is_ready_on_localhost_before_the_steps_and_files_go_on_from_task_to_task(here: LocalRuns) -> None:
    serving = service("trap exit TERM; httpd -f -p 8080 -h /etc & wait", readiness={"tcpSocket": {"port": 8080}})
    build = task(
        "build",
        "",
        containers=[STEPS],
        steps=[{"run": "echo made > f"}, {"saveToWorkspace": {"contents": [{"paths": ["f"]}]}}],
    )
    use = task(
        "use",
        "",
        "build",
        containers=[STEPS, serving],
        steps=[{"restoreWorkspace": {}}, {"run": "cat f; wget -qO- http://127.0.0.1:8080/group; id -un"}],
    )
    ended = here.run(here.file(build, use))
    assert ended.code == 0, ended.out + ended.err
    assert ended.out.splitlines()[0].endswith("as containers of Podman: task use has services")
    assert {"use   | made", "use   | root:x:0:", "use   | root"} <= set(ended.out.splitlines())


def test_no_task_can_take_the_way_to_the_gateway_from_the_others(here: LocalRuns) -> None:
    greedy = task("greedy", "! rm -f /runabout/gateway/socket && ! touch /runabout/gateway/other", containers=[STEPS])
    saving = task(
        "saving",
        "",
        "greedy",
        containers=[STEPS],
        steps=[{"run": "echo made > f"}, {"saveToWorkspace": {"contents": [{"paths": ["f"]}]}}],
    )
    ended = here.run(here.file(greedy, saving), "--in", "containers")
    assert ended.code == 0, ended.out + ended.err


async def test_a_service_that_dies_fails_its_task_with_its_name_and_its_last_lines(here: LocalRuns) -> None:
    dying = service("echo no database; exit 3", readiness={"tcpSocket": {"port": 8080}})
    ended = here.run(here.file(task("a", "true", containers=[STEPS, dying])))
    assert ended.code == 1
    found = (await here.tasks(ended.run))["a"]
    assert (found.status, found.reason) == (Status.FAILED, Reason.SERVICE_FAILED)
    assert "service web ended with exit code 3" in found.message
    assert "no database" in found.message


async def test_a_program_that_is_not_in_the_image_is_the_tasks_fault(here: LocalRuns) -> None:
    missing = {"name": "web", "image": IMAGE, "command": ["/does/not/exist"]}
    ended = here.run(here.file(task("a", "true", containers=[STEPS, missing])))
    assert ended.code == 1
    assert (await here.tasks(ended.run))["a"].reason is Reason.CONFIG_ERROR


async def test_an_image_that_is_never_pulled_and_not_here_is_called_as_on_a_cluster(here: LocalRuns) -> None:
    absent = {"image": "localhost/absent:1", "imagePullPolicy": "Never"}
    ended = here.run(here.file(task("a", "true", containers=[absent])), "--in", "containers")
    assert ended.code == 1
    assert (await here.tasks(ended.run))["a"].reason is Reason.IMAGE_PULL


def test_what_a_killed_process_has_started_ends_without_it(here: LocalRuns, podman: PodmanHome) -> None:
    serving = service("sleep 600")
    file = here.file(task("a", "echo begun; sleep 600", containers=[STEPS, serving]))
    process = here.start(file)
    until(process, "a | begun")
    assert len(podman.left()) == 4  # both, what holds their network, and their pod
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = os.times().elapsed + SECONDS
    while podman.left():
        assert os.times().elapsed < deadline


WRITING_PODMAN = """#!/bin/sh
echo "$*" >> {folder}/said
exec {podman} "$@"
"""


def test_the_second_interrupt_ends_services_too_that_do_not_listen(
    here: LocalRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = "trap '' TERM; while :; do sleep 0.1; done"
    two = [service(deaf), service(deaf, name="db")]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "podman").write_text(WRITING_PODMAN.format(folder=tmp_path, podman=program()))
    (tmp_path / "bin" / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    process = here.start(here.file(task("a", f"echo begun; {deaf}", containers=[STEPS, *two])))
    until(process, "a | begun")
    process.send_signal(signal.SIGINT)
    until(process, "once more")
    process.send_signal(signal.SIGINT)
    assert here.end(process).code == 130
    said = (tmp_path / "said").read_text().splitlines()
    patience = [line.split()[2] for line in said if line.startswith("stop -t ")]
    assert set(patience) <= {"0"}, "seconds that a service has to end"


def test_without_podman_a_service_is_refused_and_the_way_out_is_said(
    here: LocalRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = here.file(task("a", "true", containers=[STEPS, service("true")]))
    with monkeypatch.context() as nowhere:
        nowhere.setenv("PATH", str(tmp_path))
        refused, wanted = here.run(file), here.run(file, "--in", "containers")
    assert (refused.code, refused.out) == (2, "")
    assert "spec.tasks[0].containers[1]" in refused.err
    assert "install Podman" in refused.err
    assert "install Podman" in wanted.err
