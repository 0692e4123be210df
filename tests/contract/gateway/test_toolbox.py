"""The real toolbox and the real gateway: what one task saves another restores, over a directory and over a bucket."""

import asyncio
import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pytest
from yarl import URL

from fixtures.certificates import certificates
from fixtures.etcd_server import EtcdServer
from fixtures.gateway_process import GatewayProcess
from fixtures.logs import Container, Reading, collecting
from fixtures.tools import REPOSITORY, tool
from lab.gateways import GatewayLab, spec_task
from lab.kube_suite import until
from lab.played import kubeconfig
from runabout.control.logchunks import Hole, Uploaded, attempt_chunks, cover, step_chunks
from runabout.control.logs import LogJob
from runabout.etcd import connect
from runabout.executors.names import PodKey
from runabout.executors.plan import plan
from runabout.ost import ObjectStore
from runabout.records import RunConfig, Status

PART = 8 * 1024 * 1024


@pytest.fixture(scope="module")
def toolbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("toolbox") / "toolbox"
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    argv = [tool("go"), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(target), "."]
    source = REPOSITORY / "operator" / "toolbox"
    answer = subprocess.run(argv, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return target


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks of one run, executed by the toolbox as their pods would."""

    lab: GatewayLab
    toolbox: Path
    folder: Path
    gateway: Mapping[str, str] = field(default_factory=dict)
    """what a plan says of it, if it is not the lab's own"""

    async def execute(self, config: RunConfig, name: str, *, exit_code: int = 0, token: str | None = None) -> str:
        """Run a task to its end and return its log; `token` is another one than its own."""
        home = self.folder / f"{config.id}-{name}"
        home.mkdir()
        await self.lab.set_task(config, name)
        token_file = home / "token"
        token_file.write_text(token or self.lab.pod_token(config.id, name))
        (of,) = [task for task in config.tasks if task.name == name]
        gateway = {"url": self.lab.url, **self.gateway, "tokenFile": str(token_file)}
        made = plan(PodKey(config.id, name, 1), of, user="", grace_seconds=3, gateway=gateway)
        (home / "plan.json").write_text(made.body)
        (home / "message").touch()
        await asyncio.to_thread(subprocess.run, [str(self.toolbox), "install", str(home)], check=True)
        process = await asyncio.create_subprocess_exec(
            str(home / "toolbox"),
            *("run", "--plan", str(home / "plan.json"), "--termination-log", str(home / "message")),
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
        )
        try:
            async with asyncio.timeout(60):
                text, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.terminate()  # it ends its step before itself
                await process.wait()
        assert process.returncode == exit_code, text.decode()
        await self.lab.set_task(config, name, Status.SUCCESS if exit_code == 0 else Status.FAILED)
        return text.decode()

    def work(self, config: RunConfig, name: str) -> Path:
        """Return the task's working directory."""
        return self.folder / f"{config.id}-{name}" / "project"


@pytest.fixture
def tasks(lab: GatewayLab, toolbox: Path, tmp_path: Path) -> Tasks:
    return Tasks(lab, toolbox, tmp_path)


def run(command: str) -> Mapping[str, Any]:
    return {"run": command}


def save(*paths: str) -> Mapping[str, Any]:
    return {"saveToWorkspace": {"contents": [{"paths": list(paths)}]}}


RESTORE: Mapping[str, Any] = {"restoreWorkspace": {}}
CACHE: Mapping[str, Any] = {
    "saveCache": {"key": 'go-{{ arch }}-{{ checksum "go.sum" }}', "contents": [{"paths": ["pkg"]}]}
}


async def test_what_tasks_save_their_descendants_restore(lab: GatewayLab, tasks: Tasks) -> None:
    big = "head -c 20000000 /dev/urandom > bin/big"
    config = await lab.run(
        spec_task("build", run(f"mkdir -p bin; {big}; echo build > who; ln -s big bin/link"), save("bin", "who")),
        spec_task("check", run("echo check > who"), save("who"), after=["build"]),
        spec_task("last", RESTORE, after=["check"]),
    )
    said = await tasks.execute(config, "build")
    assert "saved to the workspace: 3 files, 20.0 MB, 20.0 MB packed" in said
    await tasks.execute(config, "check")
    said = await tasks.execute(config, "last")
    assert "restored what task build saved: 3 files, 20.0 MB" in said
    there = tasks.work(config, "last")
    assert (there / "bin/link").read_bytes() == (tasks.work(config, "build") / "bin/big").read_bytes()
    assert (there / "who").read_text() == "check\n"


async def test_a_cache_is_saved_once_and_found_by_later_runs(lab: GatewayLab, tasks: Tasks) -> None:
    fill = run("mkdir pkg; echo sums > go.sum; echo module > pkg/m")
    find = {"restoreCache": {"keys": ["rust-", "go-{{ arch }}-"], "destDir": "there"}}
    first = await lab.run(spec_task("build", find, fill, CACHE, CACHE))
    said = await tasks.execute(first, "build")
    assert "the cache has nothing that begins with rust-, go-" in said
    assert "saved to the cache: go-" in said
    assert "already: it is left as it is" in said
    second = await lab.run(spec_task("build", find))
    said = await tasks.execute(second, "build")
    assert "restored from the cache: go-" in said
    assert (tasks.work(second, "build") / "there/pkg/m").read_text() == "module\n"


async def test_a_pod_of_another_attempt_saves_nothing(lab: GatewayLab, tasks: Tasks) -> None:
    config = await lab.run(
        spec_task("build", run("echo a > a"), save("a")), spec_task("test", RESTORE, after=["build"])
    )
    stale = lab.pod_token(config.id, "build", attempt=2)
    said = await tasks.execute(config, "build", exit_code=1, token=stale)
    assert "error: part 0: " in said
    assert "no task before this one has saved anything" in await tasks.execute(config, "test")


class Relay:
    """Passes on what goes to a port and what comes from it; after so many bytes to it, it waits until it may go on."""

    def __init__(self, port: int, *, hold_after: int) -> None:
        self.held, self.go_on = asyncio.Event(), asyncio.Event()
        self.port = 0
        self._target = port
        self._left = hold_after
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._met, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self._talks.add(talk)
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pass(reader, forth, counts=True))
                    group.create_task(self._pass(back, writer, counts=False))
            finally:
                forth.close()
        except* (OSError, asyncio.CancelledError):
            pass  # either side has gone, or the test is over
        finally:
            writer.close()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, counts: bool) -> None:
        try:
            while data := await source.read(65_536):
                if counts:
                    self._left -= len(data)
                    if self._left < 0:
                        self.held.set()
                        await self.go_on.wait()
                target.write(data)
                await target.drain()
        finally:
            target.close()


async def test_a_gateway_that_is_killed_while_a_task_saves_costs_nothing_but_time(
    directory: ObjectStore, toolbox: Path, tmp_path: Path
) -> None:
    (tmp_path / "tls").mkdir()
    config_file = tmp_path / "kubeconfig"
    tls = certificates(tmp_path / "tls", name="gateway", address="127.0.0.1")
    with EtcdServer(tmp_path / "etcd", fsync=False) as server:
        client = connect(server.endpoint)
        async with AsyncExitStack() as stack, GatewayLab(directory, etcd=client) as lab:
            config_file.write_text(json.dumps(kubeconfig(lab.kube.url)))
            gateway = GatewayProcess(
                workdir=tmp_path / "gateway",
                kubeconfig=str(config_file),
                etcd=server.endpoint,
                ost=tmp_path / "ost",
                address="127.0.0.1",
                tls=tls,
            )
            behind = URL(gateway.for_tasks["RUNABOUT_GATEWAY_URL"])
            assert behind.port is not None
            relay = Relay(behind.port, hold_after=9 * PART // 2)  # three parts are under way at once: one is stored
            try:
                await asyncio.to_thread(gateway.start)
                await stack.enter_async_context(relay)
                plan_of_it = {"url": str(behind.with_port(relay.port)), "ca": tls.ca.read_text()}
                tasks = replace(Tasks(lab, toolbox, tmp_path), gateway=plan_of_it)
                config = await lab.run(
                    spec_task("build", run(f"head -c {8 * PART} /dev/urandom > big"), save("big")),
                    spec_task("last", RESTORE, after=["build"]),
                )

                def parts() -> int:
                    return sum(1 for _ in (tmp_path / "ost" / "objects").glob("archives+/**/parts+/*"))

                async with asyncio.TaskGroup() as group:
                    saving = group.create_task(tasks.execute(config, "build"))
                    held = asyncio.create_task(relay.held.wait())
                    await asyncio.wait((saving, held), return_when=asyncio.FIRST_COMPLETED)
                    await until(lambda: parts() > 0 or saving.done())
                    gateway.kill()
                    assert parts() < 8, "it is not the middle any more"
                    relay.go_on.set()
                    await asyncio.to_thread(gateway.start)
                assert "waiting for the object storage: " in saving.result()
                assert "restored what task build saved: 1 files, 67.1 MB" in await tasks.execute(config, "last")
            finally:
                gateway.kill()
        await client.close()
    built, restored = (tasks.work(config, name) / "big" for name in ("build", "last"))
    assert restored.read_bytes() == built.read_bytes()


async def test_what_the_container_lost_of_a_log_comes_from_what_its_toolbox_uploaded(
    lab: GatewayLab, tasks: Tasks, ost: ObjectStore
) -> None:
    config = await lab.run(spec_task("build", run("yes 0123456789 | head -c 3000000"), run("printf 'the end'")))
    text = (await tasks.execute(config, "build")).encode()
    outputs = {-1: text.split(b"\n")[1] + b"\n", 0: (b"0123456789\n" * 300_000)[:3_000_000], 1: b"the end"}
    assert {chunk.step for chunk in await attempt_chunks(ost, config.id, "build", 1)} == {-1, 0, 1}

    begins = text.index(b"\n", 2_500_000) + 1  # the rest was rotated away before anybody read it
    what = LogJob(config.id, "build", 1, "ci", "pod", "main", ("run-1", "run-2"))
    async with collecting(Container(text, [Reading(begins)], piece=65_536), ost, uploads=True) as work:
        work.collector.follow(what)
        work.collector.ended("pod", None, None)
        await work.stored(what)
        assert {step: await ost.read(what.key(step)) for step in outputs} == outputs
        async with asyncio.timeout(60):
            while await attempt_chunks(ost, config.id, "build", 1):  # noqa: ASYNC110 -- the collector does it unasked
                await asyncio.sleep(0.01)


async def test_what_is_said_while_the_gateway_is_away_is_uploaded_when_it_is_back(
    lab: GatewayLab, tasks: Tasks, ost: ObjectStore
) -> None:
    write = "yes 0123456789 | head -c 2000000; touch {}; until [ -e {} ]; do sleep 0.1; done"
    config = await lab.run(spec_task("build", run(f"{write.format('half', 'on')}; {write.format('whole', 'end')}")))
    executing = asyncio.create_task(tasks.execute(config, "build"))
    folder = tasks.work(config, "build")
    async with asyncio.timeout(60):
        await exists(folder / "half")
        async with lab.away():
            (folder / "on").touch()
            await exists(folder / "whole")
        whole = 4_000_000
        found: list[Uploaded | Hole] = [Hole(0, whole)]
        while any(isinstance(part, Hole) for part in found):
            found = cover(await step_chunks(ost, config.id, "build", 1, 0, first=0), 0, whole)
            await asyncio.sleep(0.05)
        (folder / "end").touch()
        await executing
    text = [data for part in found if isinstance(part, Uploaded) async for data in part.read(ost)]
    assert b"".join(text) == (b"0123456789\n" * 200_000)[:2_000_000] * 2


async def exists(path: Path) -> None:
    """Wait for a file that a step makes."""
    while not path.exists():  # noqa: ASYNC110, ASYNC240 -- a step tells nobody; the file system is local
        await asyncio.sleep(0.02)
