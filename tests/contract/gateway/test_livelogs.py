"""A step's log has one address and the same bytes there while it is written and ever after."""

import asyncio

import pytest

from contract.gateway.test_people import allow
from lab.gateways import NAMESPACE, GatewayLab, spec_task
from models.container_log import ToolboxLog, toolbox_log
from runabout.control.logs import log_key
from runabout.ost import ObjectStore
from runabout.records import RunConfig, RunId, Status, StepState

SECONDS = 20


@pytest.fixture
async def config(streaming: GatewayLab) -> RunConfig:
    """A run whose task is running, with a pod of its own; its author may see its logs."""
    lab = streaming
    made = await lab.run(
        spec_task("build", {"name": "compile", "run": "make"}, {"run": "make test"}, containers=[{"image": "a"}])
    )
    task = await lab.set_task(made, "build")
    await lab.kube.put("pods", {"metadata": {"name": task.pod, "namespace": NAMESPACE}})
    allow(lab, "ann")
    return made


def address(config: RunConfig, step: str, *, attempt: int = 1, query: str = "") -> str:
    return f"/v1/runs/{config.id}/tasks/build/attempts/{attempt}/logs/{step}{query}"


async def shown(lab: GatewayLab, path: str, **headers: str) -> tuple[int, bytes]:
    said = await lab.ask("GET", path, token=lab.person("ann"), headers=headers)
    return said.status, said.body


async def test_a_stored_log_is_sent_whole_in_ranges_and_from_a_byte_on(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore
) -> None:
    lab, text = streaming, b"0123456789" * 100_000
    await directory.write(log_key(config.id, "build", 1, 0), text)
    for step in ("compile", "0"):
        assert await shown(lab, address(config, step)) == (200, text)
    assert await shown(lab, address(config, "compile"), Range="bytes=5-9") == (206, b"56789")
    assert await shown(lab, address(config, "compile"), Range="bytes=999995-") == (206, b"56789")
    assert await shown(lab, address(config, "compile"), Range="bytes=999995-2000000") == (206, b"56789")
    assert (await shown(lab, address(config, "compile"), Range="bytes=1000000-"))[0] == 416
    assert await shown(lab, address(config, "compile", query="?from=999998")) == (200, b"89")
    assert await shown(lab, address(config, "compile", query="?from=1000000&follow=1")) == (200, b"")


async def test_a_log_that_is_being_written_is_shown_as_far_as_it_is(streaming: GatewayLab, config: RunConfig) -> None:
    whole = toolbox_log([b"one\ntwo\n", b"three\n"])
    streaming.kube.logs = lambda _namespace, _pod: whole
    assert await shown(streaming, address(config, "compile")) == (200, b"one\ntwo\n")
    assert await shown(streaming, address(config, "run-2")) == (200, b"three\n")
    assert await shown(streaming, address(config, "compile", query="?from=4")) == (200, b"two\n")


async def test_a_followed_log_comes_as_it_is_written_and_ends_with_its_step(
    streaming: GatewayLab, config: RunConfig
) -> None:
    lab, log = streaming, ToolboxLog()
    [pod] = [item["metadata"]["name"] for item in lab.kube.items("pods")]
    coming = lab.kube.streams[pod] = asyncio.Queue()
    log.marker("v1", config.id, "build", 1)
    log.end()
    log.begin(0)
    log.write(b"begun\n")
    sent = 0

    async def send() -> None:
        nonlocal sent
        text = bytes(log.text)
        await coming.put(text[sent:])
        sent = len(text)

    await send()
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.server.port)
    path = address(config, "compile", query="?follow=1")
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {lab.person('ann')}\r\n\r\n".encode())
    async with asyncio.timeout(SECONDS):
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readuntil(b"begun")
        log.write(b"more\n")
        await send()
        assert await reader.readuntil(b"more")
        log.end("success", 0)
        await send()
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")  # the last chunk: the whole log came
    writer.close()
    await coming.put(None)


async def test_what_is_missing_of_a_followed_log_comes_from_the_storage(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore
) -> None:
    lab, log = streaming, ToolboxLog()
    log.marker("v1", config.id, "build", 1)
    log.end()
    log.begin(0)
    log.write(b"one\n")
    lab.kube.logs = lambda _namespace, _pod: bytes(log.text)  # ends here: the pod is gone
    reading = asyncio.create_task(shown(lab, address(config, "compile", query="?follow=1")))
    async with asyncio.timeout(SECONDS):
        while not lab.kube.requests["get", "pods"]:  # noqa: ASYNC110 -- the gateway's
            await asyncio.sleep(0.01)
        await directory.write(log_key(config.id, "build", 1, 0), b"one\ntwo\n[runabout: evicted]\n")
        assert await reading == (200, b"one\ntwo\n[runabout: evicted]\n")


async def test_a_step_without_output_has_an_empty_log_once_its_attempt_is_stored(
    streaming: GatewayLab, config: RunConfig
) -> None:
    steps = (StepState("compile", Status.SUCCESS), StepState("run-2", Status.SUCCESS))
    await streaming.set_task(config, "build", Status.SUCCESS, steps=steps)
    assert await shown(streaming, address(config, "compile", query="?follow=1")) == (200, b"")


async def test_a_kept_task_has_the_log_of_the_run_that_executed_it(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore
) -> None:
    old = RunId("0se5v87p00000")
    await directory.write(log_key(old, "build", 1, 0), b"of the old run\n")
    await streaming.set_task(config, "build", Status.SUCCESS, executed_by=old)
    assert await shown(streaming, address(config, "compile")) == (200, b"of the old run\n")


async def test_what_does_not_exist_is_not_found(streaming: GatewayLab, config: RunConfig) -> None:
    for path in (
        address(config, "nothing"),
        address(config, "2"),
        address(config, "compile", attempt=2),
        address(config, "compile", attempt=0),
        address(config, "compile").replace("build", "none"),
        address(config, "compile").replace(config.id, "0se5v87q00009"),
    ):
        assert (await shown(streaming, path))[0] == 404, path
