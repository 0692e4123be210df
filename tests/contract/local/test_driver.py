"""The drivers of this machine, for processes and containers: what all of them promise, each verb safe to repeat."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fixtures.podman_home import IMAGE, PodmanHome, program
from runabout.executors.driver import Created, Done, Invalid, PodRef, Unavailable
from runabout.executors.local import ProcessDriver
from runabout.executors.localcontainers import ContainerDriver
from runabout.executors.localdriver import Changed, LocalDriver
from runabout.executors.localsecrets import LocalSecrets
from runabout.executors.manifest import PodManifest, PodSettings, pod_manifest
from runabout.executors.podview import PodView, pod_view
from runabout.executors.summary import EndReason, parse_summary
from runabout.records import EnvVar, EnvVarSource, RunConfig, RunId, TaskConfig
from runabout.records.json import JsonObject

WAIT = 30.0
RUN = RunId("1il7g1c000001")


class Here:
    """A driver, and what it has told; its steps see this machine's `folder`."""

    def __init__(self, kind: str, folder: Path, toolbox: Path, podman: PodmanHome) -> None:
        self.kind = kind
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir()
        self.podman = podman
        self.changes: list[JsonObject | None] = []
        self.changed = asyncio.Event()
        self.driver: LocalDriver = self.made(toolbox)

    def made(self, toolbox: Path) -> LocalDriver:
        secrets = LocalSecrets(self.folder / "secrets")

        def now() -> int:
            return 1_800_000_000_000

        if self.kind == "processes":
            return ProcessDriver(work=self.work, toolbox=toolbox, secrets=secrets, on_change=self._changed, now=now)
        return ContainerDriver(
            podman=program(),
            work=self.work,
            toolbox=toolbox,
            secrets=secrets,
            gateway=None,
            on_change=self._changed,
            notice=lambda _: None,
            now=now,
        )

    @contextlib.asynccontextmanager
    async def using(self, driver: LocalDriver) -> AsyncIterator[LocalDriver]:
        """Work with another driver for a while."""
        before, self.driver = self.driver, driver
        async with driver:
            yield driver
        self.driver = before

    def manifest(self, script: str, *variables: EnvVar) -> PodManifest:
        mounts = [{"name": "here", "mountPath": str(self.folder)}]
        volume = {"hostPath": {"path": str(self.folder)}}
        return manifest_of(script, *variables, container={"volumeMounts": mounts}, volume=volume)

    def left(self) -> list[object]:
        """Return what of attempts is still there; what has ended has no environment any more."""
        if self.kind == "containers":
            return [*self.podman.left()]
        found: list[object] = []
        for file in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"HOME={self.work}/".encode() in file.read_bytes():
                    found.append(int(file.parent.name))
        return found

    def _changed(self, _before: JsonObject | None, after: JsonObject | None) -> None:
        self.changes.append(after)
        self.changed.set()

    def secret(self, folder: Path, content: bytes) -> EnvVar:
        """Put a Secret's value into a file; return a variable that has it."""
        (folder / "secrets" / "login").mkdir(parents=True)
        (folder / "secrets" / "login" / "password").write_bytes(content)
        return EnvVar("PASSWORD", value_from=EnvVarSource("secretKeyRef", "login", "password"))

    async def until(self, phase: str, pod: str) -> PodView:
        async with asyncio.timeout(WAIT):
            while True:
                found = self.driver.pod("local", pod)
                if found is not None and pod_view(found).phase == phase:
                    return pod_view(found)
                self.changed.clear()
                await self.changed.wait()


def manifest_of(script: str, *variables: EnvVar, container: JsonObject, volume: JsonObject) -> PodManifest:
    """Return that of a task with one step, whose volume is called `here`."""
    body = {"containers": [{"image": IMAGE, **container}], "steps": [{"run": script}]}
    config = RunConfig(
        id=RUN,
        namespace="local",
        name="web",
        uid="u",
        group="/local/project/web",
        cache_group="/local/project/web",
        created=0,
        tasks=(TaskConfig("a", body=body),),
        environment=variables,
    )
    return pod_manifest(
        config,
        config.tasks[0],
        attempt=1,
        counter=1,
        executor_pod={"volumes": [{"name": "here", **volume}]},
        settings=PodSettings(toolbox_image="none", grace_seconds=5, allow_privileged=True),
    )


def ref(of: PodManifest) -> PodRef:
    return PodRef(of.namespace, of.name)


@pytest.fixture(params=["processes", "containers"])
async def here(
    request: pytest.FixtureRequest, toolbox: Path, tmp_path: Path, podman: PodmanHome
) -> AsyncIterator[Here]:
    found = Here(request.param, tmp_path, toolbox, podman)
    async with found.driver:
        yield found
    assert found.left() == []


async def test_creating_again_finds_what_is_there_and_starts_nothing(here: Here, tmp_path: Path) -> None:
    wanted = here.manifest(f"echo once >> {tmp_path}/times")
    first = await here.driver.create(wanted)
    again = await here.driver.create(wanted)
    assert isinstance(first, Created)
    assert again == first
    await here.until("Succeeded", wanted.name)
    assert await here.driver.create(wanted) == first
    assert (tmp_path / "times").read_text() == "once\n"


async def test_an_end_is_shown_as_a_pods_with_the_toolboxes_own_summary(here: Here) -> None:
    wanted = here.manifest("exit 3")
    await here.driver.create(wanted)
    view = await here.until("Failed", wanted.name)
    summary = parse_summary(view.main.message, nonce=None, exit_code=3, steps=1)
    assert view.main.exit_code == 3
    assert summary is not None
    assert summary.reason is EndReason.STEP_FAILED


async def test_an_attempt_that_fails_to_start_in_an_unforeseen_way_is_never_taken_for_begun(here: Here) -> None:
    wanted = here.manifest("true", EnvVar("A", "x\0"))  # of which no process can be made
    for _ in range(2):
        answer = await here.driver.create(wanted)
        assert answer == Invalid("the attempt cannot be started: ValueError: embedded null byte")
        assert not await here.driver.exists(ref(wanted))
    assert here.changes == []
    assert not (here.work / wanted.name).exists()


async def test_a_stop_is_graceful_and_may_be_said_again(here: Here, tmp_path: Path) -> None:
    wanted = here.manifest(
        f"trap 'echo told > {tmp_path}/told; exit 0' TERM; touch {tmp_path}/on; while :; do sleep 0.1; done"
    )
    await here.driver.create(wanted)
    async with asyncio.timeout(WAIT):
        while not (tmp_path / "on").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0)
    assert await here.driver.stop(ref(wanted), started=True, grace_seconds=5) == Done()
    view = await here.until("Failed", wanted.name)
    assert await here.driver.stop(ref(wanted), started=True, grace_seconds=5) == Done()
    assert (tmp_path / "told").read_text() == "told\n"
    assert view.main.exit_code == 143


@pytest.mark.parametrize("begun", [False, True], ids=["while it begins", "in its step"])
async def test_what_is_removed_is_gone_with_all_that_it_started(here: Here, tmp_path: Path, begun: bool) -> None:
    wanted = here.manifest(f"trap '' TERM; touch {tmp_path}/on; while :; do sleep 1; done")
    for _ in range(5):  # a process that begins is found, or not, by chance
        await here.driver.create(wanted)
        async with asyncio.timeout(WAIT):
            while begun and not (tmp_path / "on").exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0)
        assert await here.driver.exists(ref(wanted))
        assert await here.driver.remove(ref(wanted), force=True) == Done(gone=True)
        assert not await here.driver.exists(ref(wanted))
        assert here.changes[-1] is None
        async with asyncio.timeout(WAIT):
            while here.left():  # noqa: ASYNC110 - what was killed takes a moment to end
                await asyncio.sleep(0)
        shutil.rmtree(here.work / wanted.name)
        (tmp_path / "on").unlink(missing_ok=True)
    assert await here.driver.remove(ref(wanted)) == Done(gone=True)


async def test_what_was_never_there_is_gone(here: Here) -> None:
    nobody = PodRef("local", "nobody")
    assert not await here.driver.exists(nobody)
    assert await here.driver.stop(nobody, started=True, grace_seconds=1) == Done(gone=True)
    assert await here.driver.remove(nobody) == Done(gone=True)


async def test_a_token_is_its_attempts_as_long_as_that_runs(here: Here) -> None:
    wanted = here.manifest("true")
    await here.driver.create(wanted)
    [token] = [file.read_text() for file in (here.work / wanted.name).rglob("token") if file.is_file()]
    assert here.driver.holder(f"{token}x") is None
    await here.until("Succeeded", wanted.name)
    assert here.driver.holder(token) is None


async def test_values_arrive_byte_for_byte(here: Here, tmp_path: Path) -> None:
    value = "$HOME $(PATH) $$ 'x' \"y\" ü"
    wanted = here.manifest(f'printf %s "$VALUE" > {tmp_path}/value', EnvVar("VALUE", value))
    await here.driver.create(wanted)
    await here.until("Succeeded", wanted.name)
    assert (tmp_path / "value").read_text() == value


async def test_a_step_has_the_proxies_of_this_machine_and_no_other_variables(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.setenv("MY_TOKEN", "sesame")
    wanted = here.manifest(f"env > {tmp_path}/env")
    await here.driver.create(wanted)
    await here.until("Succeeded", wanted.name)
    found = (tmp_path / "env").read_text().splitlines()
    assert {"HTTPS_PROXY=http://proxy:1", "no_proxy=localhost"} <= set(found)
    assert not any(line.startswith("MY_TOKEN") for line in found)


@pytest.mark.parametrize("optional", [True, False])
async def test_a_secret_that_is_not_here_is_the_tasks_fault_unless_it_may_be_missing(
    here: Here, *, optional: bool
) -> None:
    variable = EnvVar("PASSWORD", value_from=EnvVarSource("secretKeyRef", "login", "password", optional))
    answer = await here.driver.create(here.manifest('test -z "${PASSWORD+set}"', variable))
    if optional:
        assert isinstance(answer, Created)
        await here.until("Succeeded", here.manifest("").name)
    else:
        assert isinstance(answer, Invalid)
        assert "login/password" in answer.message


@pytest.mark.parametrize(("content", "word"), [(b"\xff\xfe\x80", "not UTF-8"), (b"a\x00b", "zero byte")])
async def test_a_secret_that_no_variable_can_hold_is_the_tasks_fault(
    here: Here, tmp_path: Path, content: bytes, word: str
) -> None:
    answer = await here.driver.create(here.manifest("true", here.secret(tmp_path, content)))
    assert isinstance(answer, Invalid)
    assert all(part in answer.message for part in ("PASSWORD", "login/password", word))


async def test_a_secret_keeps_its_line_ends(here: Here, tmp_path: Path) -> None:
    wanted = here.manifest(f'printf %s "$PASSWORD" > {tmp_path}/value', here.secret(tmp_path, b"one\r\ntwo\n"))
    await here.driver.create(wanted)
    await here.until("Succeeded", wanted.name)
    assert (tmp_path / "value").read_bytes() == b"one\r\ntwo\n"


async def test_a_program_that_cannot_be_started_is_nobodys_fault_and_tried_again(
    here: Here, toolbox: Path, tmp_path: Path
) -> None:
    lent = tmp_path / "lent"
    async with here.using(here.made(lent)) as driver:
        assert isinstance(await driver.create(here.manifest("true")), Unavailable)
        lent.symlink_to(toolbox)
        assert isinstance(await driver.create(here.manifest("true")), Created)
        await here.until("Succeeded", here.manifest("true").name)


SLOW_PODMAN = """#!/bin/sh
echo "$*" >> {folder}/said
case "$1 $2" in
  "info --format")
    echo '{{"host": {{"security": {{"rootless": true}}}}, "version": {{"Version": "5.0.0"}}}}' ;;
  "container inspect")
    echo '{{"Status": "exited", "ExitCode": 0}}' ;;
  "rm --ignore")
    trap 'exit 143' TERM
    echo begun > {folder}/removing
    until [ -e {folder}/go ]; do sleep 0.02; done ;;
esac
"""


def scripted(podman: str, folder: Path, toolbox: Path, on_change: Changed = lambda *_: None) -> ContainerDriver:
    """Return a driver whose Podman is a script, for what a real one does once in a while."""
    (folder / "podman").write_text(podman.format(folder=folder))
    (folder / "podman").chmod(0o755)
    (folder / "work").mkdir()
    return ContainerDriver(
        podman=str(folder / "podman"),
        work=folder / "work",
        toolbox=toolbox,
        secrets=LocalSecrets(None),
        gateway=None,
        on_change=on_change,
        notice=lambda _: None,
        now=lambda: 1_800_000_000_000,
    )


FORGETFUL_PODMAN = """#!/bin/sh
case "$1 $2" in
  "info --format")
    echo '{{"host": {{"security": {{"rootless": true}}}}, "version": {{"Version": "5.0.0"}}}}' ;;
  "wait "*)
    [ -e {folder}/asked ] || {{ touch {folder}/asked; echo "Error: database is locked" >&2; exit 125; }} ;;
  "container inspect")
    echo '{{"Status": "exited", "ExitCode": 7}}' ;;
esac
"""


async def test_a_command_that_fails_once_is_not_taken_for_a_containers_end(toolbox: Path, tmp_path: Path) -> None:
    ended: asyncio.Queue[int] = asyncio.Queue()

    def on_change(_before: JsonObject | None, pod: JsonObject | None) -> None:
        code = None if pod is None else pod_view(pod).main.exit_code
        if code is not None:
            ended.put_nowait(code)

    async with asyncio.timeout(WAIT), scripted(FORGETFUL_PODMAN, tmp_path, toolbox, on_change) as driver:
        await driver.create(manifest_of("true", container={}, volume={"emptyDir": {}}))
        assert await ended.get() == 7


async def test_an_end_while_a_container_is_being_removed_leaves_no_volumes(toolbox: Path, tmp_path: Path) -> None:
    driver = scripted(SLOW_PODMAN, tmp_path, toolbox)
    os.mkfifo(tmp_path / "removing")
    wanted = manifest_of("true", container={}, volume={"emptyDir": {}})
    async with asyncio.timeout(WAIT), driver:
        await driver.create(wanted)
        await asyncio.to_thread((tmp_path / "removing").read_text)
        removal = asyncio.create_task(driver.remove(ref(wanted)))
        await asyncio.sleep(0)
        (tmp_path / "go").touch()
        assert await removal == Done(gone=True)
    volumes = tmp_path / "work" / wanted.name / "volumes"
    assert f"unshare rm -rf -- {volumes}" in (tmp_path / "said").read_text().splitlines()
