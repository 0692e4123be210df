"""Logs of task pods on a real cluster, collected as the operator does: to the byte, or a line says what is missing."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import gettempdir

import pytest

from lab.taskpods import Attempt, Lab, task
from runabout.control.logs import LogCollector, LogJob
from runabout.control.logsource import PodLogs
from runabout.control.metrics import Metrics
from runabout.executors.plan import step_names
from runabout.executors.state import Ended, Machinery, PodState, Running
from runabout.kube.logs import container_log
from runabout.kube.objects import PODS, Resource
from runabout.ost import MemoryObjectStore
from runabout.records import Reason

FULL_FILE = 10_000_000
"""Bytes; a little less than what the kubelet lets a log grow to (10 MiB), since its own words are in it, too."""
MISSING = re.compile(rb"\n?\[runabout: bytes (\d+)\xe2\x80\x93(\d+) of step run-1 are missing: [^\n]*\]\n")
DEADLINE_SECONDS = 100
NUMBERED = """awk 'BEGIN {{ for (i = 1; i <= {count}; i++) printf "%099d\\n", i }}'"""
"""A command that writes numbered lines of 100 bytes: repeats, gaps and a wrong order can be told."""


def over(state: PodState) -> bool:
    return isinstance(state, Ended | Machinery)


def runs(state: PodState) -> bool:
    return isinstance(state, Running)


class Logs:
    """A collector at work on the lab's pods; what it stored is in `ost`."""

    def __init__(self, lab: Lab, ost: MemoryObjectStore) -> None:
        self.ost = ost
        self._lab = lab
        self._changed = asyncio.Event()
        self.collector = LogCollector(
            source=PodLogs(lab.session),
            ost=ost,
            scratch=Path(gettempdir()),
            metrics=Metrics(),
            on_change=lambda _job: self._changed.set(),
            now=lambda: 0,
            streams=4,
            max_bytes=10**9,
            scratch_bytes=10**9,
        )

    def follow(self, attempt: Attempt) -> None:
        manifest = attempt.manifest
        self.collector.follow(
            LogJob(
                run=self._lab.config.id,
                task=attempt.task.name,
                attempt=self._lab.attempts,
                namespace=manifest.namespace,
                pod=manifest.name,
                container=manifest.container,
                steps=step_names(attempt.task),
            )
        )

    def ended(self, attempt: Attempt, state: PodState) -> None:
        assert isinstance(state, Ended | Machinery)
        words = f"{state.reason.value}: {state.message}" if state.reason is not None else None
        self.collector.ended(attempt.manifest.name, words, state.summary.sizes if state.summary else None)

    async def of(self, attempt: Attempt) -> dict[str, bytes]:
        """Return what was stored, by step."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self.collector.stored(attempt.manifest.name) is None:
                self._changed.clear()
                await self._changed.wait()
        return {info.key.rsplit("/", 1)[1]: await self.ost.read(info.key) for info in await self.ost.list("logs/")}


@asynccontextmanager
async def collecting(lab: Lab, ost: MemoryObjectStore | None = None) -> AsyncIterator[Logs]:
    logs = Logs(lab, ost or MemoryObjectStore())
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(logs.collector.run(stop))
        try:
            yield logs
        finally:
            stop.set()


async def says(attempt: Attempt, words: bytes) -> None:
    """Wait until the first step has written `words`."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while words not in (await attempt.log()).get(0, b""):
            await attempt.until(runs)


async def test_a_task_that_runs_out_of_memory_says_so_at_the_end_of_its_log(lab: Lab) -> None:
    small = {"resources": {"limits": {"memory": "64Mi"}}}
    async with collecting(lab) as logs:
        attempt = await lab.start(task("echo begun; exec tail /dev/zero", container=small))
        await attempt.until(lambda state: runs(state) or over(state))
        logs.follow(attempt)
        state = await attempt.until(over)
        logs.ended(attempt, state)
        log = (await logs.of(attempt))["0"]

    assert isinstance(state, Ended)
    assert state.reason is Reason.OOM_KILLED
    assert log.startswith(b"begun\n")
    assert re.search(rb"out of memory|OOMKilled", log.removeprefix(b"begun\n"))
    assert log.splitlines()[-1].startswith(b"[runabout: ")


async def test_a_child_that_was_killed_for_lack_of_memory_is_named_in_the_log_of_its_step(lab: Lab) -> None:
    small = {"resources": {"limits": {"memory": "64Mi"}}}
    attempt = await lab.start(task("tail /dev/zero || echo went on", "echo after", container=small))

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    if state.exit_code == 0:  # where the kernel kills one process and not the whole container
        log = await attempt.log()
        assert log[0].endswith(b"went on\n[runabout: out of memory: processes of the container that were killed: 1]\n")
        assert log[1] == b"after\n"
    else:
        assert state.reason is Reason.OOM_KILLED


async def delete(attempt: Attempt) -> None:
    await attempt.lab.session.delete(PODS, attempt.ref.name, namespace=attempt.ref.namespace)


async def evict(attempt: Attempt) -> None:
    name = attempt.ref.name
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    evictions = Resource("", "v1", f"pods/{name}/eviction", "Eviction")
    await attempt.lab.session.create(evictions, body, namespace=attempt.ref.namespace)


async def stop(attempt: Attempt) -> None:
    await attempt.stop(started=True)


@pytest.mark.parametrize(
    ("end", "reason"), [(delete, Reason.POD_DELETED), (evict, Reason.EVICTED), (stop, Reason.STOPPED)]
)
async def test_the_log_of_a_pod_that_is_ended_from_outside_says_by_what(
    lab: Lab, end: Callable[[Attempt], Coroutine[None, None, None]], reason: Reason
) -> None:
    async with collecting(lab) as logs:
        attempt = await lab.start(task("echo at work; sleep 600"))
        await attempt.until(runs)
        logs.follow(attempt)
        await says(attempt, b"at work\n")
        await end(attempt)
        state = await attempt.until(over)
        logs.ended(attempt, state)
        log = (await logs.of(attempt))["0"]

    assert isinstance(state, Ended | Machinery)
    assert state.reason is reason
    assert log.startswith(b"at work\n")
    last = log.splitlines()[-1].decode()
    assert last.startswith("[runabout: ")
    assert ("stopped" if reason is Reason.STOPPED else reason.value) in last


async def test_what_an_eviction_by_the_node_took_is_named(lab: Lab) -> None:
    limit = {"resources": {"limits": {"ephemeral-storage": "48Mi"}}}
    async with collecting(lab) as logs:
        attempt = await lab.start(
            task("echo at work; dd if=/dev/zero of=/tmp/much bs=1M count=96 2>/dev/null; sleep 600", container=limit)
        )
        await attempt.until(runs)
        logs.follow(attempt)
        state = await attempt.until(over)
        logs.ended(attempt, state)
        log = (await logs.of(attempt))["0"]

    assert isinstance(state, Machinery), state
    assert log.startswith(b"at work\n")
    assert b"Evicted" in log.splitlines()[-1]


def numbered(count: int) -> bytes:
    """Return what NUMBERED writes: lines of 100 bytes that count from 1."""
    return b"".join(b"%099d\n" % number for number in range(1, count + 1))


def departure(log: bytes, whole: bytes) -> str:
    """Return in words where a log departs from what was written, other than by what it names as missing."""
    place = byte = 0
    for gap in MISSING.finditer(log):
        first, last = int(gap[1]), int(gap[2])
        end = place + first - byte
        if log[place:end] != whole[byte:first] or not MISSING.fullmatch(log, end, gap.end()):
            return _first_departure(log[place : gap.start()], whole, byte)
        place, byte = gap.end(), last + 1
    return "" if log[place:] == whole[byte:] else _first_departure(log[place:], whole, byte)


def _first_departure(piece: bytes, whole: bytes, byte: int) -> str:
    """Return the first line of a piece from `byte` on that is not the one of its place."""
    for place in range(0, len(piece) + 1, 100):
        found, there = piece[place : place + 100], whole[byte + place : byte + place + 100]
        if found != there:
            return f"from byte {byte + place} on there is {found!r}, not {there!r}"
    return f"what follows byte {byte} has another length than its places say"


@pytest.mark.timeout(300)
async def test_of_a_hundred_megabytes_every_byte_is_in_its_place_once_or_named(lab: Lab) -> None:
    count = 1_000_000
    async with collecting(lab) as logs:
        attempt = await lab.start(task(NUMBERED.format(count=count), "echo after"))
        await attempt.until(lambda state: runs(state) or over(state))
        logs.follow(attempt)
        state = await attempt.until(over)
        logs.ended(attempt, state)
        found = await logs.of(attempt)

    assert isinstance(state, Ended)
    assert state.outcome == "success", state
    assert departure(found["0"], numbered(count)) == ""
    assert found["1"] == b"after\n"


@pytest.mark.timeout(300)
async def test_what_the_kubelet_has_rotated_away_before_anybody_read_it_is_named(lab: Lab) -> None:
    size, line = 50_000_000, "x" * 99
    endless = f"while :; do echo {line}; sleep 0.2; done"
    attempt = await lab.start(task(f"yes {line} | head -c {size}; {endless}"))
    await attempt.until(runs)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await first_byte(attempt)) != b"x":  # a log that is whole begins with a line of ours
            await attempt.until(runs)
    async with collecting(lab) as logs:
        await attempt.stop(started=True)
        logs.follow(attempt)
        logs.ended(attempt, await attempt.until(over))
        found = (await logs.of(attempt))["0"]

    gap = MISSING.match(found)
    assert gap is not None, found[:200]
    assert int(gap[1]) == 0
    # On a slow machine a file of the log is full, and given up for the next, before all of it was written.
    assert int(gap[2]) > FULL_FILE
    kept = found[gap.end() :].splitlines()
    assert kept[0] == line.encode()
    assert kept[-1].startswith(b"[runabout: ")


async def first_byte(attempt: Attempt) -> bytes:
    """Return the first byte of what the kubelet still has of the log; empty while there is none."""
    manifest = attempt.manifest
    reading = container_log(attempt.lab.session, manifest.namespace, manifest.name, manifest.container, follow=False)
    async with reading as pieces:
        async for piece in pieces:
            return piece[:1]
    return b""


async def test_a_log_that_is_read_again_by_another_process_has_no_repeats(lab: Lab) -> None:
    ost = MemoryObjectStore()
    attempt = await lab.start(task("for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done; printf end", "echo after"))
    await attempt.until(runs)
    async with collecting(lab, ost) as first:
        first.follow(attempt)
        await says(attempt, b"2\n")
    async with collecting(lab, ost) as second:
        second.follow(attempt)
        second.ended(attempt, await attempt.until(over))
        found = await second.of(attempt)

    assert found["0"] == b"1\n2\n3\n4\n5\n6\nend"
    assert found["1"] == b"after\n"
