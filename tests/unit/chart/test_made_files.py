"""The chart's copies and tables are current, and the check for that would notice."""

import shutil
from pathlib import Path

import pytest

import chartfiles
from chartfiles import Value


def test_the_charts_copies_and_its_table_of_values_are_current() -> None:
    assert chartfiles.stale() == [], "hack/chart update"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    shutil.copytree(chartfiles.REPOSITORY / "charts", tmp_path / "charts")
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds" / "runs.yaml").write_text("kind: CustomResourceDefinition\n")
    (tmp_path / "crds" / "approvals-policy.yaml").write_text("kind: ValidatingAdmissionPolicy\n")
    chartfiles.update(tmp_path)
    return tmp_path


def test_an_update_leaves_nothing_stale(repository: Path) -> None:
    chart = repository / "charts" / "runabout"
    assert chartfiles.stale(repository) == []
    assert [path.name for path in (chart / "crds").glob("*.yaml")] == ["runs.yaml"]
    assert [path.name for path in (chart / "files").glob("*.yaml")] == ["approvals-policy.yaml"]


@pytest.mark.parametrize("change", ["crds/runs.yaml", "charts/runabout/crds/runs.yaml", "charts/runabout/values.yaml"])
def test_a_changed_file_is_noticed(repository: Path, change: str) -> None:
    file = repository / change
    file.write_text(file.read_text().replace("kind: C", "kind: D").replace("replicas: 1 ", "replicas: 2 "))
    assert len(chartfiles.stale(repository)) == 1
    chartfiles.update(repository)
    assert chartfiles.stale(repository) == []


def test_a_definition_that_is_no_more_is_removed(repository: Path) -> None:
    (repository / "crds" / "runs.yaml").unlink()
    copy = repository / "charts" / "runabout" / "crds" / "runs.yaml"
    assert chartfiles.update(repository) == [copy]
    assert not copy.exists()


def test_values_are_documented_by_the_comment_on_their_line() -> None:
    values = "a: 1 # -- First.\nb: # unrelated\n  c2: {x: y} # -- Second.\n  d: [] # -- Third.\n"
    assert chartfiles.documented(values) == [
        Value("a", "1", "First."),
        Value("b.c2", "{x: y}", "Second."),
        Value("b.d", "[]", "Third."),
    ]


def test_a_value_without_a_comment_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"a\.b has no comment"):
        chartfiles.documented("a:\n  b: 1\n")
