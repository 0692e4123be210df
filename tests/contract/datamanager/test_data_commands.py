"""`runabout data` on a real etcd and a directory, as a person calls it, beside a writer that goes on."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fixtures.etcd_server import EtcdServer
from fixtures.ports import free_port
from lab.checkpoints import NEVER, SMALL, checkpoint, seal, write
from lab.etcds import GrpcLab
from lab.stores import Stores, note, view
from runabout.__main__ import app
from runabout.datamanager import SealPolicy
from runabout.ost import OstSettings, open_ost


@dataclass(slots=True)
class Place:
    """A store on a real etcd and in a directory; calls of the command run in a thread."""

    stores: Stores
    endpoint: str
    folder: Path

    async def data(self, *arguments: str, **settings: str) -> Result:
        environment = {
            "RUNABOUT_ETCD_ENDPOINTS": self.endpoint,
            "RUNABOUT_OST": f"file://{self.folder}",
            "RUNABOUT_STORE": str(self.stores.keys.store),
            **settings,
        }
        return await asyncio.to_thread(CliRunner().invoke, app, ["data", *arguments], env=environment)

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    async def contents(self) -> tuple[dict[bytes, bytes], dict[str, bytes]]:
        return await self.stores.snapshot(), await asyncio.to_thread(self.files)


@pytest.fixture
async def places(server: EtcdServer, tmp_path: Path) -> AsyncIterator[list[Place]]:
    """Return two places with a store number each; nothing is in them."""
    async with GrpcLab(server.endpoint) as lab:
        made: list[Place] = []
        for number in (101, 102):
            folder = tmp_path / uuid.uuid4().hex
            ost = await open_ost(OstSettings(f"file://{folder}"))
            policy = SealPolicy(interval=NEVER, keep=2)
            stores = Stores(lab, number, ost=ost, policy=policy, checkpoints=SMALL)
            await stores.wipe()
            made.append(Place(stores, server.endpoint, folder))
        yield made
        for each in made:
            await each.stores.__aexit__()
            assert each.stores.ost is not None
            await each.stores.ost.close()


async def test_a_store_is_looked_at_checked_exported_and_imported_while_it_is_open(
    places: list[Place], tmp_path: Path
) -> None:
    here, there = places
    store = await here.stores.open()
    await write(store, 30, size=200)
    await store.commit(note(b"one"))
    await checkpoint(store)
    await write(store, 5, prefix="later ")
    await seal(store)
    await write(store, 3, prefix="last ")
    before = await here.contents()

    looked = await here.data("stat", "--json")
    assert looked.exit_code == 0, looked.stderr
    found = json.loads(looked.stdout)
    assert (found["store"], found["sequence"], found["sealed"]) == (101, store.sequence, store.sequence - 3)
    assert found["documents"] == {"doc": 38, "note": 1}
    assert found["waiting"]["entries"] == 3
    text = (await here.data("stat")).stdout
    assert f"head            sequence {store.sequence}\n" in text
    assert "doc documents   38\n" in text

    checked = await here.data("check")
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert checked.stdout.startswith(f"nothing is damaged up to sequence {store.sequence}: ")

    folder = str(tmp_path / "export")
    exported = await here.data("export", folder)
    assert exported.exit_code == 0, exported.stderr
    assert exported.stdout.startswith(f"exported sequence {store.sequence}: 38 doc, 1 note; ")
    assert f"Next: keep {folder} as a backup" in exported.stdout
    assert await here.contents() == before

    refused = await here.data("import", folder)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.endswith("import into another one (RUNABOUT_STORE), or into another etcd\n")
    assert await here.contents() == before

    imported = await there.data("import", folder)
    assert imported.exit_code == 0, imported.stderr
    assert imported.stdout.endswith("Next: start the operator with these settings.\n")
    assert (await there.data("check")).exit_code == 0
    again = await there.stores.open()
    assert (await view(again), again.recovery, again.damage) == (await view(store), None, ())
    await write(store, 1, prefix="the first one goes on")


async def test_damage_has_the_exit_code_1_and_says_what_it_is_means_and_asks_for(places: list[Place]) -> None:
    here, _ = places
    store = await here.stores.open()
    await write(store, 3)
    await seal(store)
    await store.close()
    assert here.stores.ost is not None
    await here.stores.ost.delete(here.stores.keys.segment(2))
    before = await here.contents()
    checked = await here.data("check")
    assert checked.exit_code == 1
    lines = checked.stdout.splitlines()
    assert lines[0].startswith("DAMAGED  store/101/wal/0000000000000002 is missing")
    assert lines[1].startswith("  means  the transactions of sequence")
    assert lines[2].startswith("  to do  put the object back from a backup")
    assert lines[-1].startswith("1 damage; ")
    assert await here.contents() == before


@pytest.mark.parametrize("command", ["stat", "check", "export", "import"])
async def test_an_etcd_that_does_not_answer_is_named(command: str, places: list[Place], tmp_path: Path) -> None:
    here, _ = places
    store = await here.stores.open()
    await store.close()
    folder = str(tmp_path / "e")
    if command == "import":
        assert (await here.data("export", folder)).exit_code == 0
    endpoint = f"http://127.0.0.1:{free_port()}"
    arguments = [command, folder] if command in {"export", "import"} else [command]
    result = await here.data(*arguments, RUNABOUT_ETCD_ENDPOINTS=endpoint)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"etcd at {endpoint} cannot be used: ")


@pytest.mark.parametrize("command", ["stat", "check", "export"])
async def test_an_object_storage_that_is_not_there_is_named_and_not_made(
    command: str, places: list[Place], tmp_path: Path
) -> None:
    here, _ = places
    store = await here.stores.open()
    await store.close()
    arguments = [command, str(tmp_path / "e")] if command == "export" else [command]
    result = await here.data(*arguments, RUNABOUT_OST=f"file://{tmp_path}/nowhere")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"the object storage file://{tmp_path}/nowhere cannot be used: ")
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "e").exists()


async def test_a_store_that_is_not_there_is_no_damage_and_no_success(places: list[Place]) -> None:
    _, there = places
    for command in ("stat", "check"):
        result = await there.data(command)
        assert result.exit_code == 1
        assert result.stderr == "there is no store 102: neither in etcd nor on the object storage\n"
