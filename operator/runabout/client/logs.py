"""`runabout logs`: the stored output of a run, straight from the object storage, each step and service under its name.

Tasks that a restart has kept come last, with the output of the run that executed them.
Nothing is ever written or made. Names are in the run's record; where that cannot be read steps keep their numbers.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, BinaryIO
from urllib.parse import unquote

import typer

from runabout.control.etcdaccess import EtcdSettingsError, connect_etcd
from runabout.control.ledger import TASK
from runabout.control.settings import Settings, ost_settings
from runabout.control.variables import read_settings
from runabout.datamanager import Follower, StoreError, follow_store
from runabout.etcd import Etcd, EtcdError
from runabout.etcd.file import open_file
from runabout.ost import ObjectStore, OstError, iterate, open_ost
from runabout.records import Task
from runabout.records.encoding import RecordError, decode

EXIT_NONE = 1
"""There are no such logs, or one of them cannot be read."""
EXIT_PLACE = 2
"""The settings are wrong, or the object storage cannot be used: nothing is known of any log."""
RETRY_SECONDS = 15.0
"""For which one call to the object storage is tried; a person waits."""
RECORD_SECONDS = 10.0
"""For which the record is waited for: it only tells the steps' names."""
SETUP = "setup"
_KEY = re.compile(r"logs/[^/]+/([^/]+)/(\d+)/(?:(setup|\d+)|service-([a-z0-9-]+))")
_AFTER_STEPS = 1 << 16
"""In place of a step's number for a service, whose log comes after those of the steps."""
IN_THE_POD = (
    "set it to the object storage that the operator uses, or call this in the operator's pod, where it is set: "
    "kubectl -n runabout exec deploy/runabout-operator -- python3 -m runabout logs RUN; "
    "if it ran without a cluster, name the folder of `runabout run`: --store ~/.local/share/runabout"
)


class _PlaceError(Exception):
    """The object storage cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True, order=True)
class _Log:
    """One stored log of one attempt: of its setup, which comes first, of a step, or of a service, which comes last."""

    attempt: int
    step: int
    """-1: the setup."""
    service: str
    key: str


def logs(
    run: Annotated[str, typer.Argument(help="Id of the run, from its status.")],
    task: Annotated[str, typer.Option(help="Only this task.")] = "",
    store: Annotated[
        Path | None, typer.Option(help="The folder of `runabout run`, for a run without a cluster.", exists=True)
    ] = None,
) -> None:
    """Print the stored logs of a run; RUNABOUT_OST says where they are.

    Exit code 0 if there are any, 1 if there are none or one cannot be read, 2 if it is not known where they are.
    """
    settings = read_settings(os.environ, Settings)
    if isinstance(settings, list):
        sys.stderr.write("\n".join((*settings, "")))
        raise typer.Exit(EXIT_PLACE)
    if store is not None:
        settings = local_settings(settings, store.absolute())
    try:
        found = asyncio.run(_print(settings, run, task, sys.stdout.buffer))
    except _PlaceError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(EXIT_PLACE) from error
    except OstError as error:
        sys.stdout.flush()
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(EXIT_NONE) from error
    if not found:
        sys.stderr.write(f"there are no logs of run {run}{f', task {task}' if task else ''} in {settings.ost}\n")
        raise typer.Exit(EXIT_NONE)


async def _print(settings: Settings, run: str, task: str, out: BinaryIO) -> bool:
    """Print what there is; return whether there is anything."""
    prefix = f"logs/{run}/{task}/" if task else f"logs/{run}/"
    async with AsyncExitStack() as stack:
        try:
            store = await open_ost(replace(ost_settings(settings), retry_seconds=RETRY_SECONDS), probe=False)
            stack.push_async_callback(store.close)
            await store.list(prefix, limit=1)
        except OstError as error:
            raise _PlaceError(unusable(settings, error)) from error
        record = await _record(settings, store, stack)
        found = False
        kept = await _kept(record, run, task)
        for folder in (prefix, *(f"logs/{other}/{name}/" for name, other in kept.items())):
            async for name, stored in _by_task(store, folder):
                found = True
                steps = await _steps(record, run, name)
                await _print_task(store, name, stored, steps, out, executed_by=kept.get(name))
    return found


async def _print_task(
    store: ObjectStore,
    name: str,
    stored: Sequence[_Log],
    steps: Sequence[str],
    out: BinaryIO,
    *,
    executed_by: str | None,
) -> None:
    """Print the logs of one task; `executed_by` is the run that executed one which a restart has kept."""
    attempt = 0
    for each in stored:
        if each.attempt != attempt:
            attempt = each.attempt
            where = f", of run {executed_by}" if executed_by is not None else ""
            out.write(f"== task {name}, attempt {attempt}{where}\n".encode())
        title = f"service {each.service}" if each.service else _title(each.step, steps)
        out.write(f"== {title}\n".encode())
        await _copy(store, each.key, out)


def unusable(settings: Settings, error: OstError) -> str:
    """Return which setting to look at, and what to do, where the object storage cannot be used."""
    if "ost" in settings.model_fields_set:
        return f"RUNABOUT_OST: the object storage {settings.ost} cannot be used: {error}"
    return f"RUNABOUT_OST is not set, and its default, {settings.ost}, cannot be used ({error}): {IN_THE_POD}"


async def _by_task(store: ObjectStore, prefix: str) -> AsyncIterator[tuple[str, Sequence[_Log]]]:
    """Yield the logs of each task, by attempt and step."""
    name, stored = "", list[_Log]()
    async for item in iterate(store, prefix):
        parts = _KEY.fullmatch(item.key)
        if parts is None:
            continue  # somebody else's
        task, attempt, step, service = parts.groups()
        if task != name and stored:
            yield name, sorted(stored)
            stored = []
        name = task
        number = -1 if step == SETUP else _AFTER_STEPS if step is None else int(step)
        stored.append(_Log(int(attempt), number, service or "", item.key))
    if stored:
        yield name, sorted(stored)


async def _copy(store: ObjectStore, key: str, out: BinaryIO) -> None:
    last = b"\n"
    async with store.open(key) as reader:
        async for piece in reader:
            out.write(piece)
            last = piece[-1:] or last
    if last != b"\n":
        out.write(b"\n")  # the next title begins a line
    out.flush()


def _title(step: int, names: Sequence[str]) -> str:
    if step < 0:
        return SETUP
    return f"step {names[step]}" if step < len(names) else f"step number {step + 1}"


def local_settings(settings: Settings, folder: Path) -> Settings:
    """Return settings for the folder in which `runabout run` keeps records and logs."""
    places = {"ost": (folder / "ost").as_uri(), "etcd_endpoints": (folder / "log").as_uri()}
    return settings.model_copy(update=places)


def _etcd(settings: Settings) -> Etcd:
    scheme, _, path = settings.etcd_endpoints.partition("://")
    if scheme != "file":
        return connect_etcd(settings)
    file = Path(unquote(path))
    if not file.exists():  # nothing is made here
        raise EtcdSettingsError(f"there is no {file}")
    return open_file(file)


async def _record(settings: Settings, store: ObjectStore, stack: AsyncExitStack) -> Follower | None:
    """Return the records as they are now, None where they cannot be read, which is said."""
    try:
        etcd = _etcd(settings)
        stack.push_async_callback(etcd.close)
        async with asyncio.timeout(RECORD_SECONDS):
            record = await follow_store(etcd, ost=store, number=settings.store)
    except (EtcdSettingsError, EtcdError, OstError, StoreError, TimeoutError) as error:
        said = str(error) or f"no answer of etcd at {settings.etcd_endpoints} within {RECORD_SECONDS:g} s"
        sys.stderr.write(f"note: steps have numbers instead of names, as the records cannot be read: {said}\n")
        return None
    stack.push_async_callback(record.close)
    return record


async def _kept(record: Follower | None, run: str, task: str) -> dict[str, str]:
    """Return which tasks a restart has kept, and the runs that executed them; none where that is not known."""
    if record is None:
        return {}
    try:
        bodies = await record.scan(TASK, prefix=f"{run}/{task}")
        tasks = [decode(Task, body) for _, body in bodies]
    except (StoreError, RecordError):
        return {}
    return {each.name: each.executed_by for each in tasks if each.executed_by is not None and task in ("", each.name)}


async def _steps(record: Follower | None, run: str, task: str) -> Sequence[str]:
    """Return the names of a task's steps, none where they are not known."""
    if record is None:
        return ()
    try:
        body = await record.get(TASK, f"{run}/{task}")
        return () if body is None else [step.name for step in decode(Task, body).steps]
    except (StoreError, RecordError):
        return ()
