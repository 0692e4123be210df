"""Which variables of the environment are mistyped settings, and which are others' business."""

import re

import pytest

from fixtures.tools import REPOSITORY
from runabout.control.settings import Settings
from runabout.control.variables import unknown_variables


def test_every_setting_may_be_set() -> None:
    names = [f"RUNABOUT_{name.upper()}" for name in Settings.model_fields]
    assert len(names) > 20
    assert unknown_variables([*names, *(name.lower() for name in names)]) == []


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("RUNABOUT_WORKER", "RUNABOUT_WORKERS"),
        ("RUNABOUT_ETCD_ENDPOINT", "RUNABOUT_ETCD_ENDPOINTS"),
        ("RUNABOUT_LOGLEVEL", "RUNABOUT_LOG_LEVEL"),
        ("RUNABOUT_HEALT_PORT", "RUNABOUT_HEALTH_PORT"),
        ("RUNABOUT_TTL_SECONDS_AFTER_FINISH", "RUNABOUT_TTL_SECONDS_AFTER_FINISHED"),
        ("runabout_workerz", "RUNABOUT_WORKERS"),
    ],
)
def test_a_mistyped_setting_is_named_with_the_nearest_one(name: str, nearest: str) -> None:
    assert unknown_variables(["PATH", name]) == [f"{name}: no setting has this name; the nearest one is {nearest}"]


def test_a_file_that_is_left_empty_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name in Settings.model_fields if name.endswith("_file")]
    assert len(names) == 6
    for name in names:
        monkeypatch.setenv(f"RUNABOUT_{name.upper()}", "")
    assert {getattr(Settings(), name) for name in names} == {None}


def test_a_name_like_no_other_gets_no_bad_advice() -> None:
    [sentence] = unknown_variables(["RUNABOUT_QQQQQQ"])
    assert sentence == "RUNABOUT_QQQQQQ: no setting has this name; none is like it; docs/guides/operating.md lists them"


def test_the_guide_lists_exactly_the_settings() -> None:
    guide = (REPOSITORY / "docs" / "guides" / "operating.md").read_text()
    listed = re.findall(r"^\| `RUNABOUT_([A-Z0-9_]+)` \|", guide, re.MULTILINE)
    assert sorted(listed) == sorted(name.upper() for name in Settings.model_fields)


def test_the_guide_says_the_defaults() -> None:
    guide = (REPOSITORY / "docs" / "guides" / "operating.md").read_text()
    rows = re.findall(r"^\| `RUNABOUT_([A-Z0-9_]+)` \| `([^`]+)` \|", guide, re.MULTILINE)
    assert len(rows) > 20
    for name, written in rows:
        default = Settings.model_fields[name.lower()].default
        expected = {"True": "true", "False": "false", "()": "[]"}.get(str(default), str(default))
        assert written == expected, name


def test_all_are_named_at_once_in_order() -> None:
    said = unknown_variables(["RUNABOUT_WORKER", "RUNABOUT_OSTT"])
    assert [each.partition(":")[0] for each in said] == ["RUNABOUT_OSTT", "RUNABOUT_WORKER"]


def test_what_a_task_is_told_and_what_scripts_and_tests_use_is_no_mistake() -> None:
    of_a_task = [
        "RUN_ID",
        "RUN",
        "NAMESPACE",
        "GROUP",
        "COUNTER",
        "TASK",
        "ATTEMPT",
        "ENV_0",
        "ENV_17",
        "RESULTS",
        "RESULT_A_b",
    ]
    of_scripts = ["CLUSTER", "ENGINE", "SEED", "ROUNDS"]
    assert unknown_variables(f"RUNABOUT_{name}" for name in (*of_a_task, *of_scripts)) == []


def test_what_kubernetes_says_about_a_service_is_no_mistake() -> None:
    links = [
        "RUNABOUT_METRICS_SERVICE_HOST",
        "RUNABOUT_METRICS_SERVICE_PORT",
        "RUNABOUT_METRICS_SERVICE_PORT_HTTP",
        "RUNABOUT_METRICS_PORT_9090_TCP",
        "RUNABOUT_METRICS_PORT_9090_TCP_ADDR",
        "RUNABOUT_ETCD_SERVICE_HOST",
        "RUNABOUT_ETCD_PORT",
        "RUNABOUT_ETCD_PORT_2379_TCP_PROTO",
    ]
    assert unknown_variables(links) == []
    assert len(unknown_variables(["RUNABOUT_ETCD_PORT", "RUNABOUT_ETCD_PORT_2379_TCP_PROTO"])) == 2
