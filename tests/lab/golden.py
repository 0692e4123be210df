"""A whole store as a version has left it, kept as a file, so that every later version can be asked to go on with it.

`python -m lab.golden FILE` writes such a file with the version that is there. A file that was kept is never made again:
it is the only witness of what that version has written.
"""

import asyncio
import base64
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from lab.checkpoints import NEVER, SMALL, checkpoint, seal, write
from lab.etcds import MemoryLab
from lab.indexed import CONFIG, RUN, created, gone, record, source
from lab.stores import DOC, NOTE, Stores, View, note, put, view
from runabout.datamanager import Column, Kind, SealPolicy, Table, Tables, Transaction
from runabout.ost import MemoryObjectStore
from runabout.records import Phase, Result

KINDS = (DOC, NOTE, RUN, CONFIG)
CHECKPOINTS = replace(SMALL, small=0, keep=3, keep_seconds=NEVER, orphan_seconds=NEVER)
TABLES: Tables = {
    DOC: Table(
        (
            Column("name", Kind.TEXT),
            Column("size", Kind.INTEGER),
            Column("share", Kind.NUMBER),
            Column("done", Kind.FLAG),
            Column("at", Kind.TIME),
        ),
        lambda key, body: {"name": key, "size": len(body), "share": 0.5, "done": True, "at": 1_600_000_000_123},
    )
}


@dataclass(frozen=True, slots=True)
class Golden:
    """What was in etcd and on the object storage, and the documents that the store had."""

    etcd: dict[bytes, bytes]
    objects: dict[str, bytes]
    documents: View

    def encode(self) -> bytes:
        """Return it as JSON."""
        text = {
            "etcd": {key.decode(): _text(value) for key, value in self.etcd.items()},
            "objects": {key: _text(value) for key, value in self.objects.items()},
            "documents": {
                kind: {key: _text(body) for key, body in each.items()} for kind, each in self.documents.items()
            },
        }
        return (json.dumps(text, indent=1, sort_keys=True) + "\n").encode()


def decode(data: bytes) -> Golden:
    """Return what was encoded."""
    found = json.loads(data)
    return Golden(
        {key.encode(): base64.b64decode(value) for key, value in found["etcd"].items()},
        {key: base64.b64decode(value) for key, value in found["objects"].items()},
        {
            kind: {key: base64.b64decode(body) for key, body in each.items()}
            for kind, each in found["documents"].items()
        },
    )


async def made(scratch: Path) -> Golden:
    """Make a store that has something of everything: checkpoints, an index, quarantine, and a log in both places."""
    policy = SealPolicy(interval=NEVER, keep=0)
    async with (
        MemoryLab() as lab,
        Stores(
            lab,
            0,
            ost=MemoryObjectStore(),
            policy=policy,
            checkpoints=CHECKPOINTS,
            tables=TABLES,
            index=source(scratch),
        ) as stores,
    ):
        first = await stores.open()
        await write(first, 8, prefix="é ", size=40)
        for place in range(1, 6):
            await first.commit(Transaction(created(place, group=place % 4, team="red" if place % 2 else "blue")))
        await first.commit(note(b"one"))
        await checkpoint(first)
        entries = await stores.snapshot()
        second = await stores.open()
        await second.commit(put("of the history that counts"))
        await seal(second)
        await second.close()
        await stores.set_back(entries)
        await first.commit(put("of the other history"))
        last = await stores.open()
        assert last.recovery is not None
        await write(last, 4, prefix="é ", size=9)
        await last.commit(
            Transaction((record(2, group=2, phase=Phase.FINISHED, result=Result.SUCCESS), gone(3), gone(3, CONFIG)))
        )
        await last.commit(note(b"two"))
        await checkpoint(last)
        await write(last, 2, prefix="sealed ")
        await seal(last)
        await write(last, 2, prefix="in etcd alone ")
        await last.commit(note(b"three"))
        documents = await view(last, KINDS)
        await last.close()
        assert stores.ost is not None
        objects = {each.key: await stores.ost.read(each.key) for each in await stores.ost.list()}
        return Golden(await stores.snapshot(), objects, documents)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def _keep(file: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        found = await made(Path(scratch))
    with file.open("xb") as opened:
        opened.write(found.encode())


if __name__ == "__main__":
    asyncio.run(_keep(Path(sys.argv[1])))
