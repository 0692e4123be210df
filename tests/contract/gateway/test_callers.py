"""Who gets what: an attempt its ancestors' archives and its group's caches, while it runs, and nobody else anything."""

import pytest

from fixtures.fake_kube import API_AUDIENCE, Fault
from lab.gateways import RESTORES, SAVES, GatewayLab, described, spec_task
from runabout.ost import ObjectStore
from runabout.records import RunConfig, Status

STEP_0 = {"workspace": 0}


async def diamond(lab: GatewayLab, namespace: str = "team") -> RunConfig:
    """Return a run in which `test` is running after `build`, which has left an archive, and beside `other`."""
    config = await lab.run(
        spec_task("build", SAVES),
        spec_task("other", SAVES),
        spec_task("test", RESTORES, after=["build"]),
        namespace=namespace,
    )
    for name in ("build", "other"):
        await lab.set_task(config, name)
        assert (await lab.attempt(config, name).save(STEP_0, b"saved by " + name.encode())).status == 201
        await lab.set_task(config, name, Status.SUCCESS)
    await lab.set_task(config, "test")
    return config


EVERY = [
    ("POST", "parts", {"for": STEP_0, "part": 0, **described(b"x")}),
    ("PUT", "parts/e30", None),
    ("POST", "archives", {"for": STEP_0, "parts": [described(b"x")], "files": 1, "bytes": 1}),
    ("GET", "workspace", None),
    ("GET", "workspace/build/0", None),
    ("GET", f"workspace/build/0/parts/00000-{'0' * 64}", None),
    ("POST", "caches/find", {"keys": ["k"]}),
    ("POST", "caches/has", {"key": "k"}),
    ("GET", "caches/x.a2V5", None),
    ("GET", f"caches/x.a2V5/parts/00000-{'0' * 64}", None),
    ("PUT", "results", {"A": "b"}),
    ("GET", "results", None),
]


async def every(lab: GatewayLab, config: RunConfig, token: str | None, *, task: str = "test") -> set[tuple[int, str]]:
    """Return what every request is answered with."""
    base = f"/task/v1/{config.id}/{task}/1"
    answers = [await lab.ask(method, f"{base}/{path}", token=token, json=body) for method, path, body in EVERY]
    assert all(answer.message for answer in answers)
    return {(answer.status, answer.code) for answer in answers}


async def test_without_a_good_token_nothing_is_answered(streaming: GatewayLab) -> None:
    lab, config = streaming, await diamond(streaming)
    for token in (
        None,
        "nobodys",
        lab.pod_token(config.id, "test", audience=API_AUDIENCE),
        lab.pod_token(config.id, "test", audience="another-service"),
        lab.person("somebody", "system:masters"),
    ):
        assert await every(lab, config, token) == {(401, "Unauthorized")}


async def test_anothers_token_is_refused_everywhere(streaming: GatewayLab) -> None:
    lab, config = streaming, await diamond(streaming)
    other_run = await diamond(lab)
    elsewhere = await diamond(lab, namespace="other-team")
    for token in (
        lab.pod_token(config.id, "build"),
        lab.pod_token(other_run.id, "test"),
        lab.pod_token(config.id, "test", attempt=2),
        lab.pod_token(elsewhere.id, "test", namespace="other-team"),
        lab.pod_token(config.id, "test", namespace="other-team"),
        lab.pod_token(config.id, "test", pod="a-pod-of-a-user"),
        lab.person("somebody", audience="runabout-gateway"),
    ):
        assert await every(lab, config, token) == {(403, "Forbidden")}


async def test_a_pod_that_is_left_over_gets_nothing(streaming: GatewayLab) -> None:
    lab, config = streaming, await diamond(streaming)
    token = lab.pod_token(config.id, "test")
    await lab.set_task(config, "test", attempt=2)
    assert await every(lab, config, token) == {(409, "Conflict")}
    await lab.set_task(config, "test", Status.FAILED)
    assert await every(lab, config, token) == {(409, "Conflict")}


async def test_a_task_that_is_no_ancestor_keeps_its_archive(lab: GatewayLab) -> None:
    config = await diamond(lab)
    attempt = lab.attempt(config, "test")
    for name in ("other", "test", "unknown"):
        answer = await attempt.ask("GET", f"workspace/{name}/0")
        assert (answer.status, answer.code) == (403, "Forbidden")
    part = described(b"saved by other")
    answer = await attempt.ask("GET", f"workspace/other/0/parts/00000-{part['sha256']}")
    assert answer.status == 403
    listed = await attempt.ask("GET", "workspace")
    assert [each["task"] for each in listed.content["archives"]] == ["build"]


async def test_a_pod_that_begins_before_its_assignment_is_known_here_is_let_in(directory: ObjectStore) -> None:
    async with GatewayLab(directory, interval=3600) as lab:
        config = await lab.run(spec_task("build", SAVES))
        await lab.set_task(config, "build")
        assert (await lab.attempt(config, "build").save(STEP_0, b"at once")).status == 201


async def test_the_api_server_is_asked_about_a_token_once_a_minute(streaming: GatewayLab) -> None:
    lab, config = streaming, await diamond(streaming)
    attempt = lab.attempt(config, "test")
    before = lab.kube.requests["create", "tokenreviews"]
    for _ in range(5):
        assert (await attempt.ask("GET", "workspace")).status == 200
    assert lab.kube.requests["create", "tokenreviews"] == before + 1


async def test_an_api_server_that_does_not_answer_is_said_to_be_away(streaming: GatewayLab) -> None:
    lab, config = streaming, await diamond(streaming)
    lab.kube.faults.extend([Fault("create", "tokenreviews", code=503)] * 4)
    answer = await lab.attempt(config, "test").ask("GET", "workspace")
    assert (answer.status, answer.code) == (503, "Unavailable")
    assert "Retry-After" in answer.headers
    assert (await lab.attempt(config, "test").ask("GET", "workspace")).status == 200


@pytest.mark.parametrize(("code", "reason"), [(403, "Forbidden"), (401, "Unauthorized")])
async def test_an_api_server_that_knows_no_rights_of_ours_yet_says_nothing_about_a_token(
    streaming: GatewayLab, code: int, reason: str
) -> None:
    lab, config = streaming, await diamond(streaming)
    lab.kube.faults.extend([Fault("create", "tokenreviews", code=code, reason=reason)] * 4)
    answer = await lab.attempt(config, "test").ask("GET", "workspace")
    assert (answer.status, answer.code) == (503, "Unavailable"), "else a step would fail"
    assert "Retry-After" in answer.headers
    lab.kube.faults.clear()
    assert (await lab.attempt(config, "test").ask("GET", "workspace")).status == 200


@pytest.mark.parametrize(
    "path", ["nothing/test/1", "1il7g1c000001/Test/1", "1il7g1c000001/test/0", "1il7g1c000001/t/x"]
)
async def test_an_address_that_names_no_attempt_is_a_bad_request(streaming: GatewayLab, path: str) -> None:
    token = streaming.person("somebody", audience="runabout-gateway")
    answer = await streaming.ask("GET", f"/task/v1/{path}/workspace", token=token)
    assert (answer.status, answer.code) == (400, "BadRequest")


async def test_what_nobody_thought_of_is_in_the_log_and_not_in_the_answer(
    streaming: GatewayLab, directory: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    config = await diamond(streaming)
    await directory.write(f"archives/{config.id}/build/1/0/manifest", b"no manifest")
    answer = await streaming.attempt(config, "test").ask("GET", "workspace")
    assert answer.status == 500
    assert answer.content == {"code": "InternalError", "message": "internal server error"}
    assert answer.headers["X-Request-Id"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/task/v1/a/b/1/results", 405)]
)
async def test_what_is_not_there_is_said_in_json_too(
    streaming: GatewayLab, method: str, path: str, status: int
) -> None:
    answer = await streaming.ask(method, path)
    assert answer.status == status
    assert set(answer.content) == {"code", "message"}
