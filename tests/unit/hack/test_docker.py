"""Where a Docker engine answers, the cluster is kind's and Docker builds the images. Docker and kind are stubs here."""

import subprocess
from pathlib import Path

import pytest

from fixtures.stubs import Answers, Stubs
from fixtures.tools import REPOSITORY
from localcluster import gobuild, recipes

KUBECONFIG = "apiVersion: v1\n"
RUNNING: Answers = [
    (("get", "clusters"), (0, "other\nrunabout\n")),
    (("get", "nodes"), (0, "runabout-control-plane\n")),
    (("get", "kubeconfig"), (0, KUBECONFIG)),
]
ABSENT: Answers = [(("get", "clusters"), (0, "other\n")), *RUNNING]


class Machine:
    """One with a Docker engine and kind, and nothing in its cache but kind."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache" / "runabout"
        self.kubeconfig = self.cache / "cluster" / "runabout" / "kubeconfig"
        self._stubs = Stubs(folder)
        self._environment = {"XDG_CACHE_HOME": str(folder / "cache"), "RUNABOUT_ENGINE": "", "RUNABOUT_CLUSTER": ""}
        self.docker()
        self.kind(ABSENT)

    def docker(self, answers: Answers = ()) -> None:
        """Have Docker answer like this; otherwise everything succeeds."""
        self._stubs.program("docker", answers)

    def kind(self, answers: Answers) -> None:
        """Have kind answer like this."""
        self._stubs.program("kind", answers, at=self.cache / "bin" / f"kind-{gobuild.KIND.version}" / "kind")

    def calls(self, name: str) -> list[str]:
        """Return how the program was called, but for the questions whether it is there."""
        lines = [" ".join(words[1:]) for words in self._stubs.calls(name)]
        return [line for line in lines if line not in {"info", "get clusters"}]

    def hack(self, program: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one of the commands in hack/."""
        merged = {**self._environment, **environment}
        return self._stubs.run(REPOSITORY / "hack" / program, *words, environment=merged)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_cluster_is_made_where_there_is_none_and_its_kubeconfig_kept(machine: Machine) -> None:
    answer = machine.hack("cluster", "up")
    assert answer.returncode == 0, answer.stderr
    assert machine.calls("kind")[0] == (f"create cluster --name=runabout --wait=120s --kubeconfig={machine.kubeconfig}")
    assert machine.kubeconfig.read_text() == KUBECONFIG
    assert machine.kubeconfig.stat().st_mode & 0o077 == 0
    assert "next: export KUBECONFIG=" in answer.stderr
    assert machine.hack("cluster", "kubeconfig").stdout == f"{machine.kubeconfig}\n"


def test_up_again_makes_nothing_and_starts_what_is_stopped(machine: Machine) -> None:
    machine.kind(RUNNING)
    assert machine.hack("cluster", "up").returncode == 0
    started, asked = machine.calls("docker")
    assert started == "start runabout-control-plane"
    assert asked.startswith("exec runabout-control-plane kubectl ")
    assert machine.hack("cluster", "up").returncode == 0
    assert not [line for line in machine.calls("kind") if line.startswith("create")]


@pytest.mark.parametrize(
    ("kind", "docker", "code", "words"),
    [
        (RUNNING, (), 0, "runabout: up"),
        (ABSENT, (), 1, "runabout: not there"),
        (RUNNING, [(("exec",), (1, ""))], 1, "NOT READY"),
    ],
    ids=["up", "absent", "half dead"],
)
def test_the_status_says_what_is_and_what_to_do_next(
    machine: Machine, kind: Answers, docker: Answers, code: int, words: str
) -> None:
    machine.kind(kind)
    machine.docker(docker)
    answer = machine.hack("cluster", "status")
    assert answer.returncode == code
    assert words in answer.stderr
    assert "next: " in answer.stderr


def test_down_deletes_the_cluster_and_what_was_kept_of_it(machine: Machine) -> None:
    machine.hack("cluster", "up")
    machine.calls("kind")
    assert machine.hack("cluster", "down").returncode == 0
    assert machine.calls("kind") == ["delete cluster --name=runabout"]
    assert not machine.kubeconfig.parent.exists()


def test_what_kind_cannot_do_is_an_error_with_its_words(machine: Machine) -> None:
    machine.kind([(("create",), (1, "")), *ABSENT])
    answer = machine.hack("cluster", "up")
    assert answer.returncode == 1
    assert "`kind create cluster" in answer.stderr


def test_a_client_without_an_engine_is_no_docker(machine: Machine) -> None:
    machine.docker([(("info",), (1, ""))])
    answer = machine.hack("cluster", "status", "--name", "trial")
    assert "cluster trial: not there" in answer.stderr
    assert machine.calls("kind") == []


@pytest.mark.parametrize(("engine", "asked"), [("docker", True), ("native", False)])
def test_the_engine_can_be_chosen(machine: Machine, engine: str, asked: bool) -> None:
    machine.docker([(("info",), (1 if asked else 0, ""))])
    answer = machine.hack("cluster", "status", "--name", "trial", RUNABOUT_ENGINE=engine)
    assert ("(kind)" in answer.stderr) is asked


def test_an_engine_that_there_is_not_is_answered_with_those_there_are(machine: Machine) -> None:
    answer = machine.hack("cluster", "up", RUNABOUT_ENGINE="podman")
    assert answer.returncode == 1
    assert "'podman'" in answer.stderr
    assert "`native` or `docker`" in answer.stderr


@pytest.mark.parametrize("target", sorted(recipes.RECIPES))
def test_docker_builds_every_image_and_kind_brings_it_to_the_nodes(machine: Machine, target: str) -> None:
    machine.kind(RUNNING)
    answer = machine.hack("images", "load", target)
    assert answer.returncode == 0, answer.stderr
    image = recipes.IMAGES[target]
    dockerfile = REPOSITORY / "operator" / "Dockerfile"
    assert f"build --file {dockerfile} --target {target} --tag {image} {REPOSITORY}" in machine.calls("docker")
    assert machine.hack("images", "load", target).returncode == 0
    assert machine.calls("kind") == [f"load docker-image {image} --name=runabout"]


def test_an_image_has_dockers_digest_once_it_is_built(machine: Machine) -> None:
    machine.docker([(("image", "inspect"), (0, "sha256:abc\n"))])
    assert machine.hack("images", "digest", "operator").stdout == "sha256:abc\n"
    machine.docker([(("image", "inspect"), (1, "\n"))])
    answer = machine.hack("images", "digest", "operator")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "runabout/operator:dev has not been built\n  hack/images build" in answer.stderr


def test_an_archive_is_loaded_as_one(machine: Machine, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archive.touch()
    assert machine.hack("cluster", "load-image", str(archive)).returncode == 0
    assert machine.calls("kind") == [f"load image-archive {archive} --name=runabout"]


def test_the_shim_becomes_kind_with_the_same_words(machine: Machine) -> None:
    machine.kind(RUNNING)
    words = ["create", "cluster", "--name=a", "--kubeconfig=/x", "--config", "kind.yaml", "--retain"]
    assert machine.hack("kind", *words).returncode == 0
    assert machine.calls("kind") == [" ".join(words)]
    assert machine.hack("kind", "get", "clusters").stdout == "other\nrunabout\n"
