"""`runabout data`: looking into a store, checking it, and moving all of it as files.

The commands reach etcd and the object storage by the operator's own settings (RUNABOUT_…). Only `import` writes.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from runabout.client.progress import Teller, size
from runabout.control.etcdaccess import EtcdSettingsError, connect_etcd
from runabout.control.runrows import run_index
from runabout.control.settings import Settings, ost_settings
from runabout.control.tables import TABLES
from runabout.control.variables import read_settings
from runabout.datamanager import StoreError, Unavailable
from runabout.datamanager.audit import Report, audit_store
from runabout.datamanager.exporting import export_store
from runabout.datamanager.head import Keys
from runabout.datamanager.importing import import_store
from runabout.datamanager.inventory import Inventory, take_inventory
from runabout.etcd import Etcd, EtcdError
from runabout.ost import ObjectStore, OstError, Waits, open_ost

T = TypeVar("T")
EXIT_DAMAGE = 1
"""There is damage, or what was asked for was refused."""
EXIT_PLACE = 2
"""The settings are wrong, or etcd or the object storage cannot be used: nothing is known of the store."""
RETRY_SECONDS = 15.0
"""For which one call to the object storage is tried; a person waits."""

data = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Look into the store of records, check it, and copy it as files. The settings are the operator's: RUNABOUT_…",
)

Work = Callable[[Etcd, ObjectStore, Keys], Awaitable[T]]


@data.command()
def stat(as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False) -> None:
    """Show what the store has: how far it is, its objects by kind, its documents by type. Changes nothing."""

    async def work(etcd: Etcd, ost: ObjectStore, keys: Keys) -> Inventory:
        return await take_inventory(etcd, ost, keys, scratch=_scratch(), progress=Teller())

    found = _with_store(work)
    typer.echo(json.dumps(_as_json(found), indent=2) if as_json else _as_text(found))


@data.command()
def check() -> None:
    """Verify every object and every chain of the store, and say what is damaged, what that means, and what to do.

    Changes nothing, and works while an operator runs. Exit code 0 if all is whole, 1 if something is damaged, 2 if the
    store could not be checked.
    """

    async def work(etcd: Etcd, ost: ObjectStore, keys: Keys) -> Report:
        return await audit_store(etcd, ost, keys, index=run_index(_scratch()), progress=Teller())

    report = _with_store(work)
    for finding in report.findings:
        typer.echo(f"DAMAGED  {finding.where} {finding.what}\n  means  {finding.means}\n  to do  {finding.todo}\n")
    for note in report.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(_summary(report))
    if report.findings:
        raise typer.Exit(EXIT_DAMAGE)


@data.command("export")
def export_command(
    folder: Annotated[Path, typer.Argument(help="An empty folder, or one that is not there yet.")],
) -> None:
    """Write all documents of the store, as they are now, into a folder. Works while an operator runs."""

    def now() -> str:
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    made = _with_store(
        lambda etcd, ost, keys: export_store(etcd, ost, keys, folder, tables=TABLES, made_at=now(), progress=Teller())
    )
    counts = ", ".join(f"{count} {kind}" for kind, count in made.documents.items()) or "no documents"
    total = sum(file.size for file in made.files)
    typer.echo(f"exported sequence {made.sequence}: {counts}; {len(made.files)} files, {size(total)}")
    typer.echo(
        f"Next: keep {folder} as a backup, or `runabout data import {folder}` with the settings of an empty store."
    )


@data.command("import")
def import_command(
    folder: Annotated[Path, typer.Argument(help="A folder that `runabout data export` has written.")],
    restart: Annotated[
        bool, typer.Option("--restart", help="Remove first what an import has left that did not come to its end.")
    ] = False,
) -> None:
    """Make a store of an export, where there is none: an operator with the same settings goes on with it.

    A store that has anything, and an export that is not whole, are refused, and nothing is changed.
    """
    made = _with_store(
        lambda etcd, ost, keys: import_store(etcd, ost, keys, folder, restart=restart, progress=Teller())
    )
    counts = ", ".join(f"{count} {kind}" for kind, count in made.export.documents.items()) or "no documents"
    typer.echo(f"imported {counts}; the new store {made.store_id.hex()} begins with sequence {made.sequence}")
    typer.echo("Next: start the operator with these settings.")


def _with_store(work: Work[T]) -> T:
    """Return what `work` returns for the store of the settings; end the program with a sentence on errors."""

    async def main(settings: Settings) -> T:
        async with AsyncExitStack() as stack:
            etcd = _connect(settings)
            stack.push_async_callback(etcd.close)
            place = replace(ost_settings(settings), retry_seconds=RETRY_SECONDS)
            ost = await open_ost(place, probe=False, waits=Waits(lambda what: typer.echo(what, err=True)))
            stack.push_async_callback(ost.close)
            return await work(etcd, ost, Keys(settings.store))

    settings = _settings()
    try:
        return asyncio.run(main(settings))
    except Unavailable as error:
        _end(str(error), EXIT_PLACE, error)
    except EtcdError as error:
        _end(f"etcd at {settings.etcd_endpoints} cannot be used: {error}", EXIT_PLACE, error)
    except OstError as error:
        _end(f"the object storage {settings.ost} cannot be used: {error}", EXIT_PLACE, error)
    except StoreError as error:
        _end(str(error), EXIT_DAMAGE, error)
    except OSError as error:
        _end(str(error), EXIT_PLACE, error)


def _settings() -> Settings:
    settings = read_settings(os.environ, Settings)  # a mistyped variable would name another store
    if isinstance(settings, list):
        _end("\n".join(settings), EXIT_PLACE, None)
    return settings


def _scratch() -> Path:
    """Return the operator's scratch folder where there is one: in its container it has more room than others."""
    folder = Settings().scratch_dir
    return folder if folder.is_dir() and os.access(folder, os.W_OK) else Path(tempfile.gettempdir())


def _connect(settings: Settings) -> Etcd:
    try:
        return connect_etcd(settings)
    except EtcdSettingsError as error:
        _end(str(error), EXIT_PLACE, error)


def _end(text: str, code: int, error: Exception | None) -> NoReturn:
    sys.stderr.write(f"{text}\n")
    raise typer.Exit(code) from error


def _as_json(found: Inventory) -> dict[str, object]:
    return {
        "store": found.store,
        "id": found.store_id.hex(),
        "incarnation": None if found.incarnation is None else found.incarnation.hex(),
        "epoch": found.epoch,
        "sequence": found.sequence,
        "sealed": found.sealed,
        "covers": found.covers,
        "waiting": {"entries": found.waiting.count, "bytes": found.waiting.size},
        "objects": {kind: {"count": each.count, "bytes": each.size} for kind, each in found.objects.items()},
        "documents": dict(found.documents),
    }


def _as_text(found: Inventory) -> str:
    life = "none: etcd has nothing" if found.incarnation is None else found.incarnation.hex()
    lines = [
        ("store", f"{found.store}, id {found.store_id.hex()}"),
        ("incarnation", f"{life}, epoch {found.epoch}"),
        ("head", f"sequence {found.sequence}"),
        ("sealed", f"up to {found.sealed}; {_entries(found)} in etcd alone"),
        ("checkpoint", f"covers {found.covers}" if found.covers else "none"),
        *((kind, f"{each.count}, {size(each.size)}") for kind, each in found.objects.items()),
        *((f"{kind} documents", f"{count}") for kind, count in found.documents.items()),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def _entries(found: Inventory) -> str:
    count = found.waiting.count
    return f"{count} {'entry' if count == 1 else 'entries'} ({size(found.waiting.size)}) after it"


def _summary(report: Report) -> str:
    whole = f"{report.objects} objects ({size(report.size)}) and {report.batches} batches are whole"
    if not report.findings:
        return f"nothing is damaged up to sequence {report.sequence}: {whole}"
    damages = f"{len(report.findings)} {'damage' if len(report.findings) == 1 else 'damages'}"
    return f"{damages}; {whole}"
