"""What an installation says about its gateway: to tasks, and to people whose Runs need one that is not there."""

import os
from pathlib import Path
from typing import Any

import pytest

from fixtures.states import NOW, RUN, task_spec
from runabout.control.config import checked_config
from runabout.control.gatewaysettings import GatewaySettingsError, KnownGateway, gateway_access
from runabout.control.objects import run_object
from runabout.control.settings import Settings
from runabout.executors.gatewayaccess import KINDS, GatewayAccess

STEPS: dict[str, Any] = {
    "saveToWorkspace": {"contents": [{}]},
    "restoreWorkspace": {},
    "saveCache": {"key": "k", "contents": [{}]},
    "restoreCache": {"keys": ["k"]},
}
PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----"


def errors(*steps: dict[str, Any], gateway: bool) -> list[str]:
    body = {
        "metadata": {"name": "a", "namespace": "ci", "uid": "u"},
        "spec": {"tasks": [task_spec("a"), task_spec("b", steps=list(steps), depends=[{"task": "a"}])]},
    }
    config = checked_config(run_object(body), id=RUN, created=NOW, gateway=gateway)
    return [error for error in config.setup_errors if "gateway" in error]


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_that_needs_a_gateway_is_a_setup_error_where_there_is_none(kind: str) -> None:
    steps = ({"run": "true"}, {kind: STEPS[kind]})
    where = f"spec.tasks[1].steps[1].{kind}"
    assert errors(*steps, gateway=False) == [f"{where}: needs the gateway: set gateway.enabled in the chart"]
    assert errors(*steps, gateway=True) == []


def test_results_need_a_gateway() -> None:
    where = "spec.tasks[1].steps[0].run"
    assert errors({"run": "echo {{ tasks.a.results.KEY }}"}, gateway=False) == [
        f"{where}: needs the gateway: set gateway.enabled in the chart"
    ]


def test_a_run_that_needs_none_is_sound_without_a_gateway() -> None:
    assert errors({"run": "true"}, gateway=False) == []


def test_tasks_trust_the_authorities_of_the_gateway_and_of_the_bucket(tmp_path: Path) -> None:
    files = {"gateway_ca_file": tmp_path / "gateway", "s3_ca_file": tmp_path / "s3"}
    for name, file in files.items():
        file.write_text(PEM.format(name))
    access = gateway_access(Settings(gateway_url="https://gateway:8443/", **files))  # type: ignore[arg-type] # fields
    assert access is not None
    assert access.planned() == {
        "url": "https://gateway:8443",
        "ca": f"{PEM.format('gateway_ca_file')}\n{PEM.format('s3_ca_file')}\n",
        "tokenFile": "/runabout/token/token",
    }


def test_a_renewed_authority_is_told_to_the_next_task_and_a_bad_one_to_none(tmp_path: Path) -> None:
    file = tmp_path / "ca"
    file.write_text(PEM.format("old"))
    known = KnownGateway(Settings(gateway_url="https://gateway", gateway_ca_file=file))
    for moment, text, told in ((1, "new", "new"), (2, None, "new"), (3, "newer", "newer")):
        file.write_text(PEM.format(text) if text else "nonsense")
        os.utime(file, (moment, moment))
        access = known.access()
        assert access is not None
        assert access.ca == f"{PEM.format(told)}\n"
    file.unlink()
    assert known.access() == access


def test_an_installation_without_a_gateway_tells_tasks_of_none() -> None:
    assert gateway_access(Settings()) is None
    assert gateway_access(Settings(gateway_url="http://gateway")) == GatewayAccess("http://gateway")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gateway_url": "gateway:8443"}, "RUNABOUT_GATEWAY_URL: expected https://HOST"),
        ({"gateway_url": "https://"}, "RUNABOUT_GATEWAY_URL: expected https://HOST"),
        ({"gateway_url": "https://g:x[/"}, "RUNABOUT_GATEWAY_URL: expected https://HOST"),
        ({"gateway_ca_file": Path("/dev/null")}, "RUNABOUT_GATEWAY_URL: needed when"),
        ({"gateway_url": "https://g", "gateway_ca_file": Path("/dev/null")}, "RUNABOUT_GATEWAY_CA_FILE: there is no"),
        ({"gateway_url": "https://g", "gateway_ca_file": Path("/none")}, "RUNABOUT_GATEWAY_CA_FILE: .*No such file"),
        ({"gateway_url": "https://g", "s3_ca_file": Path("/none")}, "RUNABOUT_S3_CA_FILE: .*No such file"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_in_a_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(GatewaySettingsError, match=said):
        gateway_access(Settings(**given))
