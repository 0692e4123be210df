"""A step's log has one address and the same bytes there while it is written and ever after."""

import asyncio
import hashlib
import itertools
import random
import time

import pytest

from contract.gateway.test_people import allow
from lab.gateways import NAMESPACE, GatewayLab, spec_task
from models.container_log import ToolboxLog, toolbox_log
from runabout.control.logchunks import chunk_key
from runabout.control.logs import log_key
from runabout.control.servicelogs import service_log_key
from runabout.gateway.livelogs import LEFT_MS
from runabout.ost import MemoryObjectStore, NotFoundError, ObjectStore, OstError
from runabout.records import Attempt, Reason, RunConfig, RunId, Status, StepState

SECONDS = 60


@pytest.fixture
async def config(streaming: GatewayLab) -> RunConfig:
    """A run whose task is running, with a pod of its own; its author may see its logs."""
    return await begun(streaming)


async def begun(lab: GatewayLab) -> RunConfig:
    """Return a run whose task is running, with a pod of its own; its author may see its logs."""
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


async def test_the_last_lines_are_shown_each_time_that_a_reader_was_behind_also_of_one_who_came_early(
    streaming: GatewayLab, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst without a pause, then silence: only a log that was opened anew says where its last lines belong."""
    monkeypatch.setattr("runabout.gateway.livesplit.SKIP_SECONDS", 0.4)
    monkeypatch.setattr("runabout.gateway.livesplit.SKIP_BYTES", 1000)
    lab, pod, log = streaming, "late", ToolboxLog(mark_from=10_000)
    log.marker("v1", config.id, "build", 1)
    log.end()
    log.begin(0)
    await lab.set_task(config, "build", pod=pod)
    lab.kube.logs = lambda _namespace, _pod: bytes(log.text)
    lab.kube.streams[pod] = asyncio.Queue()
    path = address(config, "compile", query="?follow=1")
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {lab.person('ann')}\r\n\r\n".encode())
    async with asyncio.timeout(SECONDS):
        await reader.readuntil(b"\r\n\r\n")
        while not lab.kube.requests["get", "pods"]:  # noqa: ASYNC110 -- the gateway's
            await asyncio.sleep(0.01)
        await lab.kube.put("pods", {"metadata": {"name": pod, "namespace": NAMESPACE}})
        log.write(b"begun\n")
        await reader.readuntil(b"begun")
        for number in range(2):
            coming, lab.kube.streams[pod] = lab.kube.streams[pod], asyncio.Queue()
            for line in range(12):
                text = b"%s %d-%d\n" % (b"x" * 100, number, line)
                before = len(log.text)
                log.write(text)
                await coming.put(bytes(log.text[before:]))
                await asyncio.sleep(0.05)
            await reader.readuntil(b"%d-11" % number)
    writer.close()


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


async def upload(ost: ObjectStore, config: RunConfig, step: int, offset: int, data: bytes) -> None:
    await ost.write(chunk_key(config.id, "build", 1, step, offset, hashlib.sha256(data).hexdigest()), data)


def rotated(whole: bytes, words: bytes) -> bytes:
    """Return a log that begins with the line of these words."""
    return whole[whole.rindex(b"\n", 0, whole.index(words)) + 1 :]


LINES = b"".join(b"line %d\n" % number for number in range(100))
WHOLE = toolbox_log([LINES, b"the end\n"])


async def test_what_a_log_has_lost_is_shown_from_what_was_uploaded(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore
) -> None:
    streaming.kube.logs = lambda _namespace, _pod: rotated(WHOLE, b"line 70")
    for offset in range(0, len(LINES), 150):
        await upload(directory, config, 0, offset, LINES[offset : offset + 200])  # some bytes are there twice
    for query in ("", "?follow=1"):
        assert await shown(streaming, address(config, "compile", query=query)) == (200, LINES)
    assert await shown(streaming, address(config, "compile", query="?from=333")) == (200, LINES[333:])
    assert await shown(streaming, address(config, "run-2")) == (200, b"the end\n")


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_was_lost_a_reader_gets_a_beginning_and_goes_on_from_there(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore, seed: int
) -> None:
    draw = random.Random(seed)
    places = sorted({0, len(LINES), *(draw.randrange(len(LINES)) for _ in range(6))})
    chunks = list(itertools.pairwise(places))
    late = set(draw.sample(chunks, 2))
    streaming.kube.logs = lambda _namespace, _pod: rotated(WHOLE, b"line %d\n" % draw.randrange(100))
    for start, end in chunks:
        if (start, end) not in late:
            await upload(directory, config, 0, start, LINES[start:end])
    read = b""
    for _ in range(3):  # the log is rotated in between, and nobody reads it back
        status, more = await shown(streaming, address(config, "compile", query=f"?from={len(read)}"))
        read += more
        assert (status, read) == (200, LINES[: len(read)])
    for start, end in late:
        await upload(directory, config, 0, start, LINES[start:end])
    assert await shown(streaming, address(config, "compile", query=f"?from={len(read)}")) == (200, LINES[len(read) :])


async def test_a_byte_that_is_nowhere_is_waited_for_and_none_is_shown_out_of_its_place(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore
) -> None:
    streaming.kube.logs = lambda _namespace, _pod: rotated(WHOLE, b"line 70")
    await upload(directory, config, 0, 0, LINES[:100])
    assert await shown(streaming, address(config, "compile")) == (200, LINES[:100])
    reading = asyncio.create_task(shown(streaming, address(config, "compile", query="?follow=1")))
    async with asyncio.timeout(SECONDS):
        while not streaming.kube.requests["get", "pods"]:  # noqa: ASYNC110 -- the gateway's
            await asyncio.sleep(0.01)
        await upload(directory, config, 0, 100, LINES[100:])
        assert await reading == (200, LINES)


@pytest.mark.parametrize("left", [b"", LINES[-20:]], ids=["nothing", "lines without a marker"])
async def test_of_a_log_that_was_rotated_and_says_nothing_more_that_much_is_shown_that_was_uploaded(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore, left: bytes
) -> None:
    lab = streaming
    lab.kube.logs = lambda _namespace, _pod: left
    await upload(directory, config, 0, 0, LINES[:500])
    assert await shown(lab, address(config, "compile")) == (200, LINES[:500])
    assert await shown(lab, address(config, "compile"), Range="bytes=333-") == (206, LINES[333:500])
    [pod] = [item["metadata"]["name"] for item in lab.kube.items("pods")]
    coming = lab.kube.streams[pod] = asyncio.Queue()
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.server.port)
    path = address(config, "compile", query="?follow=1")
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {lab.person('ann')}\r\n\r\n".encode())
    async with asyncio.timeout(SECONDS):
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(LINES[450:500])
        await upload(directory, config, 0, 500, LINES[500:])
        await reader.readuntil(LINES[-50:])
        await coming.put(left + WHOLE[WHOLE.index(LINES[-10:]) + 10 :])
        assert await reader.readuntil(b"0\r\n\r\n") == b"\r\n0\r\n\r\n"  # the end, and nothing twice
    writer.close()
    await coming.put(None)


async def test_of_a_pod_whose_log_is_out_of_reach_that_much_is_shown_that_was_uploaded(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore
) -> None:
    await streaming.set_task(config, "build", pod="gone")
    await upload(directory, config, 0, 0, b"one\n")
    await upload(directory, config, 0, 4, b"two\n")
    assert await shown(streaming, address(config, "compile")) == (200, b"one\ntwo\n")
    reading = asyncio.create_task(shown(streaming, address(config, "compile", query="?follow=1&from=2")))
    end = b"one\ntwo\n[runabout: step compile did not end: NodeLost]\n"
    async with asyncio.timeout(SECONDS):
        while not streaming.kube.requests["get", "pods"]:  # noqa: ASYNC110 -- the gateway's
            await asyncio.sleep(0.01)
        await directory.write(log_key(config.id, "build", 1, 0), end)
        assert await reading == (200, end[2:])


async def test_chunks_that_are_deleted_while_they_are_read_break_nothing_off() -> None:
    def fault(operation: str, key: str, _done: bool) -> OstError | None:
        return NotFoundError("deleted") if operation == "read" and "/chunks/" in key else None

    async with GatewayLab(MemoryObjectStore(fault=fault)) as lab:
        config = await begun(lab)
        await lab.set_task(config, "build", pod="gone")
        await upload(lab.ost, config, 0, 0, b"one\n")
        assert await shown(lab, address(config, "compile")) == (200, b"")


async def test_a_stopped_step_is_followed_to_the_line_that_says_by_whom(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore
) -> None:
    log = ToolboxLog()
    log.marker("v1", config.id, "build", 1)
    log.end()
    log.begin(0)
    log.write(b"one\n")
    log.end("stopped", 143)
    log.done(143, "Stopped")
    streaming.kube.logs = lambda _namespace, _pod: bytes(log.text)
    reading = asyncio.create_task(shown(streaming, address(config, "compile", query="?follow=1")))
    stored = b"one\n[runabout: step compile was ended from outside: Evicted]\n"
    async with asyncio.timeout(SECONDS):
        while not streaming.kube.requests["get", "pods"]:  # noqa: ASYNC110 -- the gateway's
            await asyncio.sleep(0.01)
        await directory.write(log_key(config.id, "build", 1, 0), stored)
        assert await reading == (200, stored)


async def test_ranges_of_a_log_that_is_being_written_are_those_of_the_stored_one(
    streaming: GatewayLab, config: RunConfig
) -> None:
    streaming.kube.logs = lambda _namespace, _pod: WHOLE
    for given, part in (("5-9", LINES[5:10]), ("700-", LINES[700:]), ("700-5000", LINES[700:])):
        said = await streaming.ask(
            "GET", address(config, "compile"), token=streaming.person("ann"), headers={"Range": f"bytes={given}"}
        )
        first = int(given.partition("-")[0])
        assert (said.status, said.body) == (206, part)
        assert said.headers["Content-Range"] == f"bytes {first}-{first + len(part) - 1}/*"
    assert (await shown(streaming, address(config, "compile"), Range="bytes=5000-"))[0] == 416
    assert (await shown(streaming, address(config, "compile"), Range="bytes=9-5"))[0] == 416


async def test_a_step_without_output_has_an_empty_log_once_its_attempt_is_stored(
    streaming: GatewayLab, config: RunConfig
) -> None:
    steps = (StepState("compile", Status.SUCCESS), StepState("run-2", Status.SUCCESS))
    await streaming.set_task(config, "build", Status.SUCCESS, steps=steps)
    assert await shown(streaming, address(config, "compile", query="?follow=1")) == (200, b"")


@pytest.mark.parametrize("ago", [0, LEFT_MS])
async def test_a_follower_of_a_lost_attempt_waits_for_the_log_that_is_stored_behind_the_next_one(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore, ago: int
) -> None:
    past = Attempt(1, "gone", "linux", Reason.POD_LOST, ended=time.time_ns() // 1_000_000 - ago)
    await streaming.set_task(config, "build", attempt=2, attempts=(past,))
    reading = asyncio.create_task(shown(streaming, address(config, "compile", query="?follow=1")))
    await asyncio.wait((reading,), timeout=1)
    assert reading.done() == bool(ago)
    await directory.write(log_key(config.id, "build", 1, 0), b"one\n[runabout: PodLost]\n")
    async with asyncio.timeout(SECONDS):
        assert await reading == (200, b"" if ago else b"one\n[runabout: PodLost]\n")


@pytest.mark.parametrize("stored", [b"", b"[runabout: step compile did not end: NodeLost]\n"])
async def test_a_follower_of_a_silent_step_is_done_with_the_attempt_though_its_node_never_closes_the_log(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore, monkeypatch: pytest.MonkeyPatch, stored: bytes
) -> None:
    monkeypatch.setattr("runabout.gateway.livelogs.CHECK_SECONDS", 0.1)
    [pod] = [item["metadata"]["name"] for item in streaming.kube.items("pods")]
    coming = streaming.kube.streams[pod] = asyncio.Queue()
    log = ToolboxLog()
    log.marker("v1", config.id, "build", 1)
    log.end()
    log.begin(0)
    await coming.put(bytes(log.text))
    reading = asyncio.create_task(shown(streaming, address(config, "compile", query="?follow=1")))
    async with asyncio.timeout(SECONDS):
        while not coming.empty():  # noqa: ASYNC110 -- the gateway's
            await asyncio.sleep(0.01)
        assert not reading.done()
        if stored:
            await directory.write(log_key(config.id, "build", 1, 0), stored)
        else:
            await streaming.set_task(config, "build", Status.FAILED, stored=True)
        assert await reading == (200, stored)
    await coming.put(None)


async def test_a_kept_task_has_the_log_of_the_run_that_executed_it(
    streaming: GatewayLab, config: RunConfig, directory: ObjectStore
) -> None:
    old = RunId("0se5v87p00000")
    await directory.write(log_key(old, "build", 1, 0), b"of the old run\n")
    await streaming.set_task(config, "build", Status.SUCCESS, executed_by=old)
    assert await shown(streaming, address(config, "compile")) == (200, b"of the old run\n")


@pytest.mark.parametrize(("service", "named"), [({"image": "b"}, "service-1"), ({"image": "b", "name": "db"}, "db")])
async def test_a_service_has_its_log_by_its_name_also_by_the_one_that_it_was_not_given(
    streaming: GatewayLab, directory: ObjectStore, service: dict[str, str], named: str
) -> None:
    config = await streaming.run(spec_task("build", containers=[{"image": "a"}, service]))
    await streaming.set_task(config, "build", Status.SUCCESS)
    allow(streaming, "ann")
    await directory.write(service_log_key(config.id, "build", 1, named), b"ready\n")
    assert await shown(streaming, address(config, f"service-{named}")) == (200, b"ready\n")


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
