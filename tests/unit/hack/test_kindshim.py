"""Where Docker is missing, hack/kind answers each call of pytest-kind from the native cluster."""

from pathlib import Path

import pytest
from pytest_kind import KindCluster

from fixtures.stubs import Stubs
from fixtures.tools import REPOSITORY
from localcluster import kindshim, native
from localcluster.kindshim import parser, write_kubeconfig
from localcluster.settings import Places

CONFIG = "apiVersion: v1\nkind: Config\n"


@pytest.mark.parametrize("image", [None, "kindest/node:v1"])
@pytest.mark.parametrize("config", [None, "kind.yaml"])
def test_every_call_of_pytest_kind_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str | None, config: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    stubs = Stubs(tmp_path)
    stubs.program("kind", [(("get", "clusters"), (0, ""))])
    cluster = KindCluster("trial", tmp_path / "kubeconfig", image=image, kind_path=tmp_path / "bin" / "kind")
    with pytest.raises(TypeError):  # there is no API server behind this stub: the kubeconfig stays empty
        cluster.create(config)
    cluster.load_docker_image("runabout/steps:dev")
    cluster.delete()
    calls = [parser().parse_args(words[1:]) for words in stubs.calls("kind")]
    assert [(call.verb, call.thing) for call in calls] == [
        ("get", "clusters"),
        ("create", "cluster"),
        ("load", "docker-image"),
        ("delete", "cluster"),
    ]
    assert [call.name for call in calls[1:]] == ["trial"] * 3
    assert calls[1].kubeconfig == tmp_path / "kubeconfig"
    assert (calls[1].image, calls[1].config) == (image, config)
    assert calls[2].image == ["runabout/steps:dev"]


def shim(folder: Path, *words: str) -> tuple[int, str, str]:
    environment = {"RUNABOUT_ENGINE": "native", "XDG_CACHE_HOME": str(folder), "RUNABOUT_CLUSTER": ""}
    answer = Stubs(folder).run(REPOSITORY / "hack" / "kind", *words, environment=environment)
    return answer.returncode, answer.stdout, answer.stderr


def test_answers_are_for_programs_and_words_for_people(tmp_path: Path) -> None:
    assert shim(tmp_path, "version") == (0, f"{kindshim.VERSION}\n", "")
    code, answer, words = shim(tmp_path, "get", "kubeconfig", "--name=trial")
    assert (code, answer) == (1, "")
    assert words == "hack/kind get kubeconfig: cluster trial is not up\n  hack/cluster up\n"


def test_what_kind_has_and_the_shim_has_not_is_refused(tmp_path: Path) -> None:
    code, answer, words = shim(tmp_path, "export", "logs")
    assert (code, answer) == (2, "")
    assert "create" in words


def test_only_clusters_that_need_nothing_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kindshim, "RUN_ROOT", tmp_path)
    assert kindshim.up_and_healthy() == []
    for name in ("well", "broken"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(native, "is_up", lambda places: places.name == "well")
    assert kindshim.up_and_healthy() == ["well"]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(name="trial", home=tmp_path / "home", run=tmp_path / "run")
    found.home.mkdir()
    found.kubeconfig.write_text(CONFIG)
    return found


def test_the_kubeconfig_is_written_where_the_caller_wants_it_for_its_eyes_only(places: Places, tmp_path: Path) -> None:
    target = tmp_path / "new" / "kubeconfig"
    write_kubeconfig(places, target)
    assert target.read_text() == CONFIG
    assert target.stat().st_mode & 0o077 == 0
    target.write_text("")
    write_kubeconfig(places, target)
    assert target.read_text() == CONFIG


def test_the_clusters_own_kubeconfig_is_left_alone(places: Places) -> None:
    write_kubeconfig(places, places.kubeconfig)
    write_kubeconfig(places, None)
    assert places.kubeconfig.read_text() == CONFIG
