"""What people see and decide through the gateway: as much as the cluster lets them, in their own name."""

import asyncio
from typing import Any

import pytest

from fixtures.fake_kube import Fault
from lab.gateways import NAMESPACE, GatewayLab, Said, spec_task
from runabout.gateway.app import Options
from runabout.ost import ObjectStore
from runabout.records import Phase, Result, RunConfig, Status

MAY_ALL = {"get runs", "get pods/log", "patch runs", "create runs"}


def allow(lab: GatewayLab, user: str, *what: str) -> None:
    """Let one user do these things in the team's namespace, and nobody else anything."""

    def allowed(spec: dict[str, Any]) -> bool:
        asked = spec["resourceAttributes"]
        sub = f"/{asked['subresource']}" if asked["subresource"] else ""
        assert asked["group"] == ("" if asked["resource"] == "pods" else "runabout.dev")
        return (
            spec["user"] == user
            and asked["namespace"] == NAMESPACE
            and f"{asked['verb']} {asked['resource']}{sub}" in (what or MAY_ALL)
        )

    lab.kube.allows = allowed


async def waiting(lab: GatewayLab, **task: Any) -> RunConfig:  # noqa: ANN401 - fields of a task
    """Return a run whose task `release` waits for an approval, with its Run in the cluster."""
    config = await lab.run(spec_task("build"), spec_task("release", after=["build"], needsApproval=True, **task))
    await lab.set_task(config, "build", Status.SUCCESS)
    await lab.set_task(config, "release", Status.NOTSTARTED, attempt=1, pod=None, waiting_since=1)
    await put_run(lab, config)
    return config


async def put_run(lab: GatewayLab, config: RunConfig, **spec: object) -> None:
    metadata = {"name": config.name, "namespace": config.namespace, "uid": config.uid, "generation": 1}
    await lab.kube.put("runs", {"metadata": metadata, "spec": spec, "status": {"id": config.id}})


def approvals(lab: GatewayLab) -> list[dict[str, Any]]:
    [run] = lab.kube.items("runs")
    found: list[dict[str, Any]] = run["spec"].get("approvals", [])
    return found


async def decide(lab: GatewayLab, config: RunConfig, token: str, verb: str = "approve", task: str = "release") -> Said:
    return await lab.ask("POST", f"/v1/runs/{config.id}/tasks/{task}/{verb}", token=token)


REQUESTS = [
    ("GET", "/v1/namespaces/team/runs/{run}", None, "get runs"),
    ("GET", "/v1/runs/{run}/tasks/build/attempts/1/logs/0", None, "get pods/log"),
    ("POST", "/v1/runs/{run}/tasks/release/approve", None, "patch runs"),
    ("POST", "/v1/runs/{run}/tasks/release/refuse", None, "patch runs"),
    ("POST", "/v1/runs/{run}/stop", None, "patch runs"),
    ("POST", "/v1/runs/{run}/restart", {"from": "start"}, "create runs"),
]


@pytest.mark.parametrize(("method", "path", "body", "right"), REQUESTS)
async def test_nobody_gets_more_than_the_cluster_lets_them(
    streaming: GatewayLab, method: str, path: str, body: object, right: str
) -> None:
    lab, config = streaming, await waiting(streaming)
    path = path.format(run=config.id)
    anonymous = await lab.ask(method, path, json=body)
    assert (anonymous.status, anonymous.code) == (401, "Unauthorized")
    pod = await lab.ask(method, path, json=body, token=lab.pod_token(config.id, "build"))
    assert pod.status == 401  # its token is for the requests of tasks
    allow(lab, "ann", *(MAY_ALL - {right}))
    refused = await lab.ask(method, path, json=body, token=lab.person("ann"))
    assert (refused.status, refused.code) == (403, "Forbidden")
    assert refused.message.startswith("ann may not ")
    assert not [each for each in lab.kube.writers if each[1] == "runs"]


UNKNOWN = "0se5v87q00009"


@pytest.mark.parametrize(("method", "path", "body"), [request[:3] for request in REQUESTS])
@pytest.mark.parametrize("rights", [(), ("get pods/log",)], ids=["nothing", "logs alone"])
async def test_who_may_not_see_a_run_is_not_told_whether_it_exists(
    streaming: GatewayLab, method: str, path: str, body: object, rights: tuple[str, ...]
) -> None:
    lab, config = streaming, await waiting(streaming)
    allow(lab, "ann" if rights else "somebody else", *rights)
    said = {
        (answer.status, answer.code, answer.message.replace(run, "ID"))
        for run in (config.id, UNKNOWN)
        for answer in [await lab.ask(method, path.format(run=run), json=body, token=lab.person("ann"))]
    }
    assert len(said) == 1, said
    assert {each[:2] for each in said} <= {(404, "NotFound"), (403, "Forbidden")}


@pytest.mark.parametrize("path", [path for _, path, _, right in REQUESTS if right == "patch runs"])
async def test_who_may_decide_need_not_see(streaming: GatewayLab, path: str) -> None:
    lab, config = streaming, await waiting(streaming)
    allow(lab, "ann", "patch runs")
    assert (await lab.ask("POST", path.format(run=config.id), token=lab.person("ann"))).status == 204


async def test_a_record_is_found_by_its_id_and_by_the_name_of_its_run(streaming: GatewayLab) -> None:
    lab, config = streaming, await waiting(streaming)
    allow(lab, "ann")
    for name in (config.id, config.name):
        found = await lab.ask("GET", f"/v1/namespaces/team/runs/{name}", token=lab.person("ann"))
        assert found.status == 200
        assert found.content["id"] == config.id
        assert (found.content["group"], found.content["phase"]) == ("/project/web", "running")
        tasks = {each["name"]: each for each in found.content["tasks"]}
        assert list(tasks) == ["build", "release"]
        assert (tasks["build"]["status"], tasks["release"]["depends"]) == ("success", ["build"])
        assert "waitingSince" in tasks["release"]
    missing = await lab.ask("GET", "/v1/namespaces/team/runs/none", token=lab.person("ann"))
    assert (missing.status, missing.code) == (404, "NotFound")


async def test_a_run_of_another_namespace_is_not_found_in_this_one(streaming: GatewayLab) -> None:
    lab = streaming
    other = await lab.run(spec_task("build"), namespace="other-team")
    allow(lab, "ann")
    found = await lab.ask("GET", f"/v1/namespaces/team/runs/{other.id}", token=lab.person("ann"))
    assert found.status == 404


async def test_an_approval_is_written_in_its_authors_name(streaming: GatewayLab) -> None:
    lab, config = streaming, await waiting(streaming)
    allow(lab, "ann-ü")
    assert (await decide(lab, config, lab.person("ann-ü", "dev"))).status == 204
    assert approvals(lab) == [{"task": "release", "by": "ann-ü", "verdict": "approved"}]
    [written] = [each for each in lab.kube.writers if each[1] == "runs"]
    assert written[0] == "patch"
    assert written[2] == "ann-ü"
    assert written[3] == ("dev", "system:authenticated")


async def test_what_others_have_said_stays(streaming: GatewayLab) -> None:
    lab, config = streaming, await waiting(streaming)
    before = {"task": "release", "by": "bob", "verdict": "approved"}
    await put_run(lab, config, approvals=[before])
    allow(lab, "ann")
    lab.kube.faults.append(Fault("patch", "runs", code=409, reason="Conflict"))
    assert (await decide(lab, config, lab.person("ann"), "refuse")).status == 204
    assert approvals(lab) == [before, {"task": "release", "by": "ann", "verdict": "refused"}]


async def test_what_is_said_at_the_same_time_is_all_kept(streaming: GatewayLab) -> None:
    lab, config = streaming, await waiting(streaming)
    users = ["ann", "bob", "cem", "dot"]
    lab.kube.allows = lambda _: True
    answers = await asyncio.gather(*(decide(lab, config, lab.person(user)) for user in users))
    assert {answer.status for answer in answers} == {204}
    assert sorted(each["by"] for each in approvals(lab)) == users


async def test_saying_it_again_changes_nothing_and_saying_otherwise_is_a_conflict(streaming: GatewayLab) -> None:
    lab, config = streaming, await waiting(streaming)
    allow(lab, "ann")
    for _ in range(2):
        assert (await decide(lab, config, lab.person("ann"))).status == 204
    assert len(approvals(lab)) == 1
    otherwise = await decide(lab, config, lab.person("ann"), "refuse")
    assert (otherwise.status, otherwise.message) == (409, "ann has approved the task release already")


async def test_a_word_without_effect_is_no_approval_when_it_is_said_again(streaming: GatewayLab) -> None:
    lab = streaming
    config = await waiting(lab, approvers={"groups": ["leads"]})
    await put_run(lab, config, approvals=[{"task": "release", "by": "bob", "verdict": "approved"}])
    allow(lab, "bob")
    again = await decide(lab, config, lab.person("bob", "leads"))
    assert again.status == 409
    assert "without a group that is asked" in again.message


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"status": Status.NOTSTARTED}, "what it depends on has not ended"),
        ({"status": Status.RUNNING}, "it is running"),
        ({"status": Status.SKIPPED}, "it is skipped"),
    ],
)
async def test_what_does_not_wait_cannot_be_approved(streaming: GatewayLab, state: dict[str, Any], words: str) -> None:
    lab, config = streaming, await waiting(streaming)
    allow(lab, "ann")
    await lab.set_task(config, "release", **state)
    refused = await decide(lab, config, lab.person("ann"))
    assert (refused.status, refused.code) == (409, "Conflict")
    assert refused.message == f"the task release does not wait for an approval: {words}"
    none = await decide(lab, config, lab.person("ann"), task="build")
    assert none.message.endswith("it needs none")
    assert (await decide(lab, config, lab.person("ann"), task="unknown")).status == 404
    assert approvals(lab) == []


async def test_only_those_who_are_asked_can_approve(streaming: GatewayLab) -> None:
    lab = streaming
    config = await waiting(lab, approvers={"users": ["boss"], "groups": ["leads", "owners"]})
    for user, groups, status in (("ann", ("dev",), 403), ("bob", ("dev", "leads"), 204), ("boss", (), 204)):
        allow(lab, user)
        assert (await decide(lab, config, lab.person(user, *groups))).status == status
    assert approvals(lab) == [
        {"task": "release", "by": "bob", "verdict": "approved", "groups": ["leads"]},
        {"task": "release", "by": "boss", "verdict": "approved"},
    ]


@pytest.mark.parametrize(
    ("user", "groups"), [("admin", ("system:masters",)), ("system:kube-scheduler", ()), ("system:node:a", ())]
)
async def test_nobody_is_acted_for_who_is_above_the_rules(
    streaming: GatewayLab, user: str, groups: tuple[str, ...]
) -> None:
    lab, config = streaming, await waiting(streaming)
    allow(lab, user)
    assert (await decide(lab, config, lab.person(user, *groups))).status == 403
    assert (await lab.ask("POST", f"/v1/runs/{config.id}/stop", token=lab.person(user, *groups))).status == 403


async def test_groups_that_may_not_be_impersonated_are_left_out(directory: ObjectStore) -> None:
    async with GatewayLab(directory, options=Options(groups=("dev", "ops"))) as lab:
        config = await waiting(lab)
        allow(lab, "ann")
        assert (await decide(lab, config, lab.person("ann", "dev", "others"))).status == 204
        assert lab.kube.writers[-1] == ("patch", "runs", "ann", ("dev",))


async def test_a_stop_is_written_in_its_authors_name(streaming: GatewayLab) -> None:
    lab, config = streaming, await waiting(streaming)
    allow(lab, "ann")
    assert (await lab.ask("POST", f"/v1/runs/{config.id}/stop", token=lab.person("ann"))).status == 204
    [run] = lab.kube.items("runs")
    assert run["spec"]["stop"] is True
    assert lab.kube.writers[-1][:3] == ("patch", "runs", "ann")


async def test_a_run_whose_object_is_gone_or_anothers_cannot_be_changed(streaming: GatewayLab) -> None:
    lab, config = streaming, await waiting(streaming)
    allow(lab, "ann")
    await lab.kube.put(
        "runs", {"metadata": {"name": config.name, "namespace": NAMESPACE, "uid": "another"}, "spec": {}}
    )
    for path in ("stop", "tasks/release/approve"):
        answer = await lab.ask("POST", f"/v1/runs/{config.id}/{path}", token=lab.person("ann"))
        assert (answer.status, answer.code) == (409, "Conflict")
    [run] = lab.kube.items("runs")
    assert run["spec"] == {}


async def test_a_restart_is_a_run_of_its_author_and_only_where_it_is_legal(streaming: GatewayLab) -> None:
    lab, config = streaming, await waiting(streaming)
    allow(lab, "ann")
    path, token = f"/v1/runs/{config.id}/restart", lab.person("ann")
    early = await lab.ask("POST", path, json={"from": "failed"}, token=token)
    assert (early.status, early.code) == (409, "Conflict")
    assert early.message == f"run {config.id} is running; wait until it is over, or stop it"
    await lab.set_run(config, Phase.FINISHED, Result.FAILED)
    asked = {"from": "failed", "environment": [{"name": "A", "value": "b"}]}
    made = await lab.ask("POST", path, json=asked, token=token)
    assert made.status == 201
    [new] = [run for run in lab.kube.items("runs") if run["metadata"]["name"] == made.content["name"]]
    assert new["spec"] == {
        "restartFrom": {"run": config.id, "from": "failed"},
        "environment": [{"name": "A", "value": "b"}],
    }
    assert lab.kube.writers[-1][:3] == ("create", "runs", "ann")
    bad = await lab.ask("POST", path, json={"from": "middle"}, token=token)
    assert (bad.status, bad.code) == (400, "BadRequest")
