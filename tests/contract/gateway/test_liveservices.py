"""A service's log has one address and the same bytes there while it runs and ever after, as far as it is shown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from contract.gateway.test_people import allow
from lab.gateways import NAMESPACE, GatewayLab, spec_task
from runabout.control.logs import LogUnavailableError
from runabout.control.logsource import PodLogs
from runabout.control.servicelogs import END_BYTES, HEAD_BYTES, ServiceJob, ServiceLogs, service_log_key
from runabout.ost import ObjectStore
from runabout.records import RunConfig, Status

SECONDS = 20


@pytest.fixture
async def config(streaming: GatewayLab) -> RunConfig:
    """A run whose task is running, with the service `db`; its author may see its logs."""
    made = await streaming.run(spec_task("build", containers=[{"image": "a"}, {"image": "b", "name": "db"}]))
    await streaming.kube.put("pods", {"metadata": {"name": await pod(streaming, made), "namespace": NAMESPACE}})
    allow(streaming, "ann")
    return made


async def pod(lab: GatewayLab, config: RunConfig) -> str:
    name = (await lab.set_task(config, "build")).pod
    assert name is not None
    return name


async def wrote(lab: GatewayLab, config: RunConfig, *texts: bytes) -> None:
    """Have the containers of the service have written this, the last one first."""
    lab.kube.services[await pod(lab, config), "db"] = list(texts)


async def shown(lab: GatewayLab, config: RunConfig, query: str = "", **headers: str) -> tuple[int, bytes]:
    path = f"/v1/runs/{config.id}/tasks/build/attempts/1/logs/service-db{query}"
    said = await lab.ask("GET", path, token=lab.person("ann"), headers=headers)
    return said.status, said.body


async def store(lab: GatewayLab, config: RunConfig, *, again: bool = False) -> bytes:
    """Have an operator store the log; return it."""
    done, stop = asyncio.Event(), asyncio.Event()
    logs = ServiceLogs(source=PodLogs(lab.session), ost=lab.ost, on_change=lambda _job: done.set())
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        group.create_task(logs.run(stop))
        name = await pod(lab, config)
        logs.collect(ServiceJob(config.id, "build", 1, NAMESPACE, name, (("db", again),)))
        await done.wait()
        stop.set()
    return await lab.ost.read(service_log_key(config.id, "build", 1, "db"))


LINES = b"".join(b"line %d\n" % number for number in range(100))


async def test_what_a_running_service_has_written_is_what_is_stored_of_it(
    streaming: GatewayLab, config: RunConfig
) -> None:
    await wrote(streaming, config, LINES)
    live = [
        await shown(streaming, config),
        await shown(streaming, config, "?from=333"),
        await shown(streaming, config, Range="bytes=10-19"),
    ]
    assert live == [(200, LINES), (200, LINES[333:]), (206, LINES[10:20])]
    assert (await shown(streaming, config, Range="bytes=5000-"))[0] == 416
    assert await store(streaming, config) == LINES
    assert live == [
        await shown(streaming, config),
        await shown(streaming, config, "?from=333"),
        await shown(streaming, config, Range="bytes=10-19"),
    ]


async def test_a_service_that_has_not_begun_has_nothing_to_show(streaming: GatewayLab, config: RunConfig) -> None:
    await wrote(streaming, config)
    assert await shown(streaming, config) == (200, b"")


async def test_of_a_service_that_writes_much_the_beginning_is_shown_and_the_reader_waits_for_the_rest(
    streaming: GatewayLab, config: RunConfig
) -> None:
    line = b"0123456789abcde\n"
    begin, end = line * (HEAD_BYTES // 16), line * (END_BYTES // 16)
    await wrote(streaming, config, begin + line * 5 + end)
    assert await shown(streaming, config) == (200, begin)
    reading = asyncio.create_task(shown(streaming, config, f"?follow=1&from={HEAD_BYTES - 16}"))
    beyond = asyncio.create_task(shown(streaming, config, f"?follow=1&from={HEAD_BYTES + 1}"))
    stored = await store(streaming, config)
    notice = b"[runabout: 80 bytes are not kept here: of a service the first 1048576 and the last 1048576 are]\n"
    assert stored == begin + notice + end
    async with asyncio.timeout(SECONDS):
        assert await reading == (200, stored[HEAD_BYTES - 16 :])
        assert await beyond == (200, stored[HEAD_BYTES + 1 :])


async def test_a_line_without_an_end_is_shown_when_it_is_stored(streaming: GatewayLab, config: RunConfig) -> None:
    await wrote(streaming, config, b"one\nrpc error: the node has closed it")
    assert await shown(streaming, config) == (200, b"one\n")


async def test_a_line_longer_than_what_is_shown_is_shown_as_far_as_it_has_its_place(
    streaming: GatewayLab, config: RunConfig
) -> None:
    await wrote(streaming, config, b"begin\n" + b"x" * (HEAD_BYTES + 10))
    assert await shown(streaming, config) == (200, b"begin\n" + b"x" * (HEAD_BYTES - 6))


async def test_of_a_service_that_was_started_again_its_first_log_is_shown_and_then_what_is_stored(
    streaming: GatewayLab, config: RunConfig
) -> None:
    await wrote(streaming, config, b"second\n", b"first\n")
    assert await shown(streaming, config) == (200, b"first\n")
    reading = asyncio.create_task(shown(streaming, config, "?follow=1"))
    stored = await store(streaming, config, again=True)
    assert stored == b"first\n[runabout: service db ended here and was started again]\nsecond\n"
    async with asyncio.timeout(SECONDS):
        assert await reading == (200, stored)


@asynccontextmanager
async def following(lab: GatewayLab, config: RunConfig) -> AsyncIterator[asyncio.StreamReader]:
    path = f"/v1/runs/{config.id}/tasks/build/attempts/1/logs/service-db?follow=1"
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {lab.person('ann')}\r\n\r\n".encode())
    async with asyncio.timeout(SECONDS):
        await reader.readuntil(b"\r\n\r\n")
        yield reader
    writer.close()


async def test_a_followed_service_is_shown_line_by_line_and_ends_with_what_is_stored(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore
) -> None:
    await wrote(streaming, config, b"begun\n")
    coming = streaming.kube.streams[f"{await pod(streaming, config)}/db"] = asyncio.Queue()
    async with following(streaming, config) as reader:
        assert await reader.readuntil(b"begun\n")
        await coming.put(b"more\nand")
        assert await reader.readuntil(b"more\n")
        await coming.put(None)
        await directory.write(service_log_key(config.id, "build", 1, "db"), b"begun\nmore\nand the end\n")
        assert await reader.readuntil(b"and the end\n")
        assert await reader.readuntil(b"0\r\n\r\n")


@pytest.mark.parametrize("text", [b"", b"[runabout: the log of service db cannot be had: no node]\n"])
async def test_a_follower_of_a_silent_service_is_done_with_its_attempt_though_its_node_never_closes_the_log(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    monkeypatch.setattr("runabout.gateway.livelogs.CHECK_SECONDS", 0.1)
    await wrote(streaming, config, b"")
    coming = streaming.kube.streams[f"{await pod(streaming, config)}/db"] = asyncio.Queue()
    async with following(streaming, config) as reader:
        if text:
            await directory.write(service_log_key(config.id, "build", 1, "db"), text)
        else:
            await streaming.set_task(config, "build", Status.SUCCESS, stored=True)
        assert text in await reader.readuntil(b"0\r\n\r\n")
    await coming.put(None)


async def test_a_pod_that_is_gone_has_no_log_until_one_is_stored(streaming: GatewayLab, config: RunConfig) -> None:
    await streaming.set_task(config, "build", pod="gone")
    assert await shown(streaming, config) == (200, b"")


async def test_a_container_before_the_first_one_is_no_container(streaming: GatewayLab, config: RunConfig) -> None:
    """As kubelets answer, which is what tells a service that was started again from one that was not."""
    await wrote(streaming, config, b"only\n")
    logs, name = PodLogs(streaming.session), await pod(streaming, config)
    with pytest.raises(LogUnavailableError, match="previous terminated container not found"):
        async with logs.read(NAMESPACE, name, "db", follow=False, previous=True):
            pass
