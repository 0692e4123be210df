"""What `runabout restart`, `stop`, `approve` and `refuse` ask the API server for, and what they say."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fixtures.fake_kube import USER, FakeKube, Fault
from lab.played import Obj, kubeconfig
from runabout.__main__ import app
from runabout.client.verbs import TRIES, current_namespace

DEFAULT = "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
"""What KUBECONFIG says, which the package reads once."""


@dataclass(frozen=True)
class Desk:
    """The command line on a cluster with one Run."""

    fake: FakeKube

    async def say(self, *words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, [*words, "-n", "ci"])

    def spec(self, name: str = "web-1") -> Obj:
        [found] = [item for item in self.fake.items("runs") if item["metadata"]["name"] == name]
        spec: Obj = found["spec"]
        return spec


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    async with FakeKube() as fake:
        await fake.put("namespaces", {"metadata": {"name": "ci"}})
        await fake.put(
            "runs", {"metadata": {"name": "web-1", "namespace": "ci", "generation": 1}, "spec": {"tasks": []}}
        )
        config = tmp_path / "kubeconfig"
        config.write_text(json.dumps(kubeconfig(fake.url)))
        monkeypatch.setattr(DEFAULT, str(config))
        yield Desk(fake)


async def test_a_restart_is_a_new_run_with_a_name_made_of_the_old_one(desk: Desk) -> None:
    result = await desk.say("restart", "web-1", "--env", "A=1=2")
    assert result.exit_code == 0, result.stderr
    [name] = [item["metadata"]["name"] for item in desk.fake.items("runs") if item["metadata"]["name"] != "web-1"]
    assert name.startswith("web-1-")
    assert desk.spec(name) == {
        "restartFrom": {"run": "web-1", "from": "failed"},
        "environment": [{"name": "A", "value": "1=2"}],
    }
    assert result.stdout.splitlines() == [
        f"run ci/{name} restarts web-1 from failed",
        f"watch it: kubectl -n ci get run {name} --watch",
    ]


async def test_a_restart_from_start_can_have_a_name(desk: Desk) -> None:
    result = await desk.say("restart", "1il7g1c000001", "--from", "start", "--name", "again")
    assert result.exit_code == 0, result.stderr
    assert desk.spec("again") == {"restartFrom": {"run": "1il7g1c000001", "from": "start"}}


async def test_a_variable_without_a_value_is_refused_and_nothing_is_created(desk: Desk) -> None:
    result = await desk.say("restart", "web-1", "--env", "A")
    assert result.exit_code == 2
    assert "NAME=VALUE" in result.stderr
    assert len(desk.fake.items("runs")) == 1


async def test_a_run_is_told_to_stop(desk: Desk) -> None:
    result = await desk.say("stop", "web-1")
    assert (result.exit_code, desk.spec()["stop"]) == (0, True)
    assert result.stdout.startswith("run ci/web-1 is told to stop\n")


@pytest.mark.parametrize(("verb", "verdict"), [("approve", "approved"), ("refuse", "refused")])
async def test_an_answer_is_given_in_ones_own_name_and_added_to_those_of_others(
    desk: Desk, verb: str, verdict: str
) -> None:
    other = {"task": "release", "by": "ben", "verdict": "approved"}
    run = {
        "metadata": {"name": "web-1", "namespace": "ci", "generation": 1},
        "spec": {"tasks": [], "approvals": [other]},
    }
    await desk.fake.put("runs", run)
    desk.fake.faults.append(Fault("patch", "runs", code=409, reason="Conflict"))
    result = await desk.say(verb, "web-1", "release", "--group", "release-team")
    assert result.exit_code == 0, result.stderr
    own = {"task": "release", "by": USER, "verdict": verdict, "groups": ["release-team"]}
    assert desk.spec()["approvals"] == [other, own]
    assert result.stdout.startswith(f"task release of run ci/web-1 is {verdict} by {USER}\n")
    assert (await desk.say(verb, "web-1", "release", "--group", "release-team")).exit_code == 0
    assert desk.spec()["approvals"] == [other, own]  # saying it again says nothing more


@pytest.mark.parametrize(
    ("spec", "groups"),
    [
        ({"tasks": [{"name": "release", "approvers": {"groups": ["owners", "dev"]}}]}, ["dev"]),
        ({"tasks": [{"name": "release", "approvers": {"users": [USER]}}]}, None),
        ({"tasks": [{"name": "release"}]}, None),
        ({"restartFrom": {"run": "web-0", "from": "failed"}}, ["release-team", "dev"]),
    ],
    ids=["some are asked", "people are asked", "nobody is asked", "a restart does not say whom"],
)
async def test_an_approval_names_the_groups_of_its_author_that_may_count(
    desk: Desk, spec: Obj, groups: list[str] | None
) -> None:
    await desk.fake.put("runs", {"metadata": {"name": "web-1", "namespace": "ci", "generation": 1}, "spec": spec})
    for _ in range(2):
        result = await desk.say("approve", "web-1", "release")
        assert result.exit_code == 0, result.stderr
        [entry] = desk.spec()["approvals"]
        assert entry.get("groups") == groups


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"verdict": "refused"}, "anna has refused the task release already: a word is never taken back"),
        ({"verdict": "approved"}, "anna has approved the task release already without naming dev: a word"),
    ],
)
async def test_what_was_said_otherwise_or_without_a_group_is_said_and_stays(desk: Desk, said: Obj, words: str) -> None:
    tasks = [{"name": "release", "approvers": {"groups": ["dev"]}}]
    entry = {"task": "release", "by": USER, **said}
    run = {
        "metadata": {"name": "web-1", "namespace": "ci", "generation": 1},
        "spec": {"tasks": tasks, "approvals": [entry]},
    }
    await desk.fake.put("runs", run)
    result = await desk.say("approve", "web-1", "release")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(words)
    assert desk.spec()["approvals"] == [entry]


async def test_what_the_api_server_refuses_is_said_and_ends_with_1(desk: Desk) -> None:
    desk.fake.faults.extend([Fault("patch", "runs", code=409, reason="Conflict")] * TRIES)
    result = await desk.say("approve", "web-1", "release")
    assert (result.exit_code, result.stdout) == (1, "")
    for words in (["stop", "web-2"], ["approve", "web-2", "release"]):
        result = await desk.say(*words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "not found" in result.stderr


def test_the_namespace_is_the_pods_or_the_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none, file, settings = tmp_path / "none", tmp_path / "namespace", tmp_path / "config"
    file.write_text("team\n")
    assert current_namespace(file) == "team"
    monkeypatch.setattr(DEFAULT, str(settings))
    assert current_namespace(none) == "default"
    body = kubeconfig("http://127.0.0.1:1")
    settings.write_text(json.dumps(body))
    assert current_namespace(none) == "default"
    body["contexts"][0]["context"]["namespace"] = "mine"
    settings.write_text(json.dumps(body))
    assert current_namespace(none) == "mine"
