"""`runabout logs` as a person calls it: on a real etcd and a directory, beside the operator that writes them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fixtures.etcd_server import EtcdServer
from fixtures.states import RUN, created, task_spec
from lab.checkpoints import NEVER, SMALL, checkpoint
from lab.etcds import GrpcLab
from lab.stores import Stores
from runabout.__main__ import app
from runabout.control.ledger import Change, Ledger
from runabout.control.logs import log_key
from runabout.control.servicelogs import service_log_key
from runabout.datamanager import SealPolicy, Store
from runabout.ost import OstSettings, open_ost
from runabout.records import RunId, StepState


@dataclass(slots=True)
class Place:
    """A store, its directory, and the command on both, which runs in a thread."""

    stores: Stores
    store: Store
    endpoint: str
    folder: Path

    async def logs(self, *arguments: str, **settings: str) -> Result:
        environment = {
            "RUNABOUT_ETCD_ENDPOINTS": self.endpoint,
            "RUNABOUT_OST": f"file://{self.folder}",
            **settings,
        }
        return await asyncio.to_thread(CliRunner().invoke, app, ["logs", *arguments], env=environment)

    async def keep(self, task: str, *steps: str) -> None:
        state = created(task_spec(task))
        changed = replace(state.tasks[task], steps=tuple(map(StepState, steps)), attempt=1)
        await Ledger(self.store).commit(Change(state.run, (changed,), (), state.config))

    async def print(self, task: str, attempt: int, step: int, output: bytes, *, run: RunId = RUN) -> None:
        assert self.stores.ost is not None
        await self.stores.ost.write(log_key(run, task, attempt, step), output)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    with EtcdServer(tmp_path / "etcd", fsync=False) as server:
        async with GrpcLab(server.endpoint) as lab:
            folder = tmp_path / "ost"
            ost = await open_ost(OstSettings(f"file://{folder}"))
            async with Stores(lab, 0, ost=ost, policy=SealPolicy(interval=NEVER), checkpoints=SMALL) as stores:
                yield Place(stores, await stores.open(), server.endpoint, folder)
            await ost.close()


async def test_a_task_that_a_restart_has_kept_shows_the_output_of_the_run_that_executed_it(place: Place) -> None:
    await place.keep("build", "make")
    await place.print("build", 1, 0, b"made\n")
    again = RunId("1il7g1c000002")
    state = created(task_spec("build"), task_spec("test"), run=again)
    kept = replace(state.tasks["build"], steps=(StepState("make"),), attempt=1, executed_by=RUN)
    await Ledger(place.store).commit(Change(state.run, (kept, state.tasks["test"]), (), state.config))
    shown = f"== task build, attempt 1, of run {RUN}\n== step make\nmade\n"
    for arguments in ((again,), (again, "--task", "build")):
        found = await place.logs(*arguments)
        assert (found.exit_code, found.stderr, found.stdout) == (0, "", shown)
    assert (await place.logs(again, "--task", "test")).exit_code == 1
    await place.print("test", 1, 0, b"tested\n", run=again)
    assert (await place.logs(again)).stdout == f"== task test, attempt 1\n== step number 1\ntested\n{shown}"


async def test_each_step_stands_under_its_name_by_task_attempt_and_step(place: Place) -> None:
    await place.keep("build", *(f"step-{number}" for number in range(11)))
    await checkpoint(place.store)
    await place.keep("test", "unit", "lint")
    for task, attempt, step, output in (
        ("build", 2, 10, b"ten\n"),
        ("build", 2, 9, b"nine, and no line's end"),
        ("build", 10, 0, b"last try\n"),
        ("build", 2, -1, b"installed\n"),
        ("test", 1, 1, b"tidy\n"),
        ("test", 1, 2, b"nobody knows this step\n"),
    ):
        await place.print(task, attempt, step, output)
    found = await place.logs(RUN)
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.splitlines() == [
        "== task build, attempt 2",
        "== setup",
        "installed",
        "== step step-9",
        "nine, and no line's end",
        "== step step-10",
        "ten",
        "== task build, attempt 10",
        "== step step-0",
        "last try",
        "== task test, attempt 1",
        "== step lint",
        "tidy",
        "== step number 3",
        "nobody knows this step",
    ]
    alone = await place.logs(RUN, "--task", "test")
    assert alone.stdout.startswith("== task test, attempt 1\n== step lint\ntidy\n")
    none = await place.logs(RUN, "--task", "deploy")
    assert (none.exit_code, none.stdout) == (1, "")
    assert none.stderr == f"there are no logs of run {RUN}, task deploy in file://{place.folder}\n"


async def test_services_stand_under_their_names_behind_the_steps(place: Place) -> None:
    await place.keep("test", "unit")
    assert place.stores.ost is not None
    for service in ("service-1", "db"):
        await place.stores.ost.write(service_log_key(RUN, "test", 1, service), f"{service} is up\n".encode())
    await place.print("test", 1, 0, b"tested\n")
    found = await place.logs(RUN)
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.splitlines() == [
        "== task test, attempt 1",
        "== step unit",
        "tested",
        "== service db",
        "db is up",
        "== service service-1",
        "service-1 is up",
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"RUNABOUT_STORE": "7"}, "store"),
        ({"RUNABOUT_ETCD_ENDPOINTS": "http://127.0.0.1:1"}, "etcd"),
        ({"RUNABOUT_ETCD_CERT_FILE": "/nowhere"}, "RUNABOUT_ETCD_CA_FILE"),
    ],
)
async def test_without_the_record_steps_have_numbers_and_it_is_said_why(
    place: Place, settings: dict[str, str], said: str
) -> None:
    await place.keep("build", "compile")
    await place.print("build", 1, 0, b"hello\n")
    found = await place.logs(RUN, **settings)
    assert (found.exit_code, found.stdout) == (0, "== task build, attempt 1\n== step number 1\nhello\n")
    assert found.stderr.startswith("note: steps have numbers instead of names, as the records cannot be read: ")
    assert said in found.stderr


async def test_reading_changes_nothing(place: Place) -> None:
    await place.keep("build", "compile")
    await place.print("build", 1, 0, b"hello\n")
    before = (await place.stores.snapshot(), sorted(map(str, place.folder.rglob("*"))))
    assert (await place.logs(RUN)).exit_code == 0
    assert (await place.stores.snapshot(), sorted(map(str, place.folder.rglob("*")))) == before
