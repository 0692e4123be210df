"""The ledger: records of runs in the datamanager's store, typed.

Every change of a run is one transaction: the few small documents that changed and the events of the change. Document
types and their keys: `runconfig` and `run` by run id, `task` by `<run id>/<task>`, `counter` by root group, `byuid` by
the time and uid of the Run (`uid_key`), `event` by its sequence; by run id also `trash` (has objects that are to be
deleted), `nologs` and `noarchives` (its logs, or its archives, were). Of a restart that keeps tasks `sharing` names the
runs that executed them, and `sharedby` has `<their id>/<its id>`: those runs' output is needed as long as that is
there.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from runabout.control.objects import Uid
from runabout.datamanager import Action, Append, Committed, Damaged, Delete, Put, Sequence, Store, Transaction
from runabout.engine.create import create_run
from runabout.engine.graph import Graph
from runabout.engine.restart import restart_run
from runabout.engine.state import State
from runabout.records import TERMINAL_PHASES, Counter, Event, Phase, RestartFrom, Run, RunConfig, RunId, Task
from runabout.records.encoding import RecordError, decode, encode
from runabout.runindex import Page, Query

RUN = "run"
RUN_CONFIG = "runconfig"
TASK = "task"
EVENT = "event"
COUNTER = "counter"
BY_UID = "byuid"
TRASH = "trash"
NO_LOGS = "nologs"
NO_ARCHIVES = "noarchives"
SHARING = "sharing"
SHARED_BY = "sharedby"
LIVE = Query(phases=frozenset(Phase) - frozenset(TERMINAL_PHASES))
STEP = 200
"""Runs whose records are read without a pause."""
PAGE = 1000
"""Runs that are asked for at once."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one pass changed; `config` and what follows only when the run is created.

    With `read_at` it is a restart, and a conflict if the run that it restarts was removed after that; `shares` are the
    runs that executed the tasks it keeps.
    """

    run: Run
    tasks: Collection[Task] = ()
    events: Collection[Event] = ()
    config: RunConfig | None = None
    counter: Counter | None = None
    read_at: Sequence | None = None
    shares: Collection[RunId] = ()


class Ledger:
    """Reads as of a moment between call and answer; writes are acknowledged commits. The store has the run index.

    Reading raises `Unavailable` if the object storage does not answer, and `Damaged` if it has lost something, besides
    RecordError for a document that cannot be read. What the index answers needs no reading, and waits for nothing.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def sequence(self) -> Sequence:
        """What the store has so far."""
        return self._store.sequence

    async def run_of(self, uid: Uid, *, submitted: int) -> RunId | None:
        """Return the id of the run that a Run was given, None if it has no record.

        `submitted` is when the Run was created, in milliseconds since 1970, 0 if it does not say so.
        """
        for key in dict.fromkeys((uid_key(uid, submitted), uid)):
            body = await self._store.get(BY_UID, key)
            if body is not None:
                return RunId(body.decode())
        return None

    async def run(self, run: RunId) -> Run | None:
        """Return the state of a run."""
        body = await self._store.get(RUN, run)
        return None if body is None else decode(Run, body)

    async def task(self, run: RunId, name: str) -> Task | None:
        """Return one task of a run."""
        body = await self._store.get(TASK, f"{run}/{name}")
        return None if body is None else decode(Task, body)

    async def state(self, run: RunId) -> State | None:
        """Return a run with its configuration and all its tasks; see `partial`."""
        found = await self.partial(run)
        return None if found is None else found[0]

    async def partial(self, run: RunId) -> tuple[State, frozenset[str]] | None:
        """Return a run with all its tasks, and those that have no record; of a run that nobody changes meanwhile.

        A task without a record is as it was created: its process ended between two portions of a large change.

        Raises:
            RecordError: that cannot be told; and errors as for any reading.
        """
        body = await self._store.get(RUN, run)
        config = await self._store.get(RUN_CONFIG, run)
        if body is None or config is None:
            return None
        found = [decode(Task, item) for _, item in await self._store.scan(TASK, prefix=f"{run}/")]
        whole, tasks = decode(RunConfig, config), {task.name: task for task in found}
        missing = frozenset(each.name for each in whole.tasks).difference(tasks)
        if missing:
            tasks = {**await self._first_tasks(whole), **tasks}
        return State(config=whole, run=decode(Run, body), tasks=tasks), missing

    async def _first_tasks(self, config: RunConfig) -> Mapping[str, Task]:
        """Return a run's tasks as they were created; those that a restart keeps are in the run that it names."""
        if config.setup_errors or config.restarted_from is None or config.restart_from is not RestartFrom.FAILED:
            return create_run(config, counter=0, now=0).state.tasks
        old = await self.state(config.restarted_from)
        if old is None:
            raise RecordError(
                f"run {config.id}: tasks have no record, and run {config.restarted_from}, which says whether they are"
                " kept, has none any more; delete this Run and create a new one"
            )
        return restart_run(Graph(old.config.tasks), old, config, counter=0, now=0).state.tasks

    def live(self) -> list[RunId]:
        """Return the ids of all runs that are not over, oldest first; also of those whose record cannot be read."""
        found = set(self._store.unreadable)
        page = self._store.runs.page(LIVE, limit=PAGE)
        while True:
            found.update(row.id for row in page.rows)
            if page.older is None:
                return sorted(found)
            page = self._store.runs.page(LIVE, limit=PAGE, cursor=page.older)

    def last_id(self) -> RunId | None:
        """Return the newest run id of the store."""
        newest = [row.id for row in self._store.runs.page(limit=1).rows]
        return max((*newest, *self._store.unreadable), default=None)

    async def counter(self, root_group: str) -> int:
        """Return the last number given in a root group, 0 for none."""
        body = await self._store.get(COUNTER, root_group)
        return 0 if body is None else decode(Counter, body).last

    def rows(self, *, cursor: str | None, limit: int) -> Page:
        """Return what the index says of some runs, the newest first; of records that cannot be read it says nothing."""
        return self._store.runs.page(limit=limit, cursor=cursor)

    async def newest_named(self, namespace: str, name: str, *, among: int) -> RunId | None:
        """Return the newest run of a name among the newest ones of its namespace; unreadable records have no name."""
        query, cursor = Query(namespace=namespace), None
        for _ in range(max(1, among // STEP)):
            page = self._store.runs.page(query, limit=STEP, cursor=cursor)
            for row in page.rows:
                with contextlib.suppress(RecordError, Damaged):
                    run = await self.run(row.id)
                    if run is not None and run.name == name:
                        return run.id
            if page.older is None:
                return None
            cursor = page.older
            await asyncio.sleep(0)  # records in memory are read without a pause
        return None

    async def has_logs(self, run: RunId) -> bool:
        """Whether a run's logs were not removed."""
        return await self._store.get(NO_LOGS, run) is None

    async def has_archives(self, run: RunId) -> bool:
        """Whether a run's archives were not removed."""
        return await self._store.get(NO_ARCHIVES, run) is None

    async def all_stored(self, run: RunId) -> bool:
        """Whether nothing of a run's output waits to be stored."""
        return all(decode(Task, body).stored for _, body in await self._store.scan(TASK, prefix=f"{run}/"))

    async def trash(self, limit: int) -> list[RunId]:
        """Return runs of whose output something may have to be deleted: what is `unneeded` then."""
        return [RunId(key) for key, _ in await self._store.scan(TRASH, limit=limit)]

    async def was_removed(self, run: RunId) -> bool:
        """Whether a run has no record any more. Errors as for any read."""
        return await self._store.get(RUN, run) is None

    async def unneeded(self, run: RunId) -> list[str]:
        """Return what of a run's output may be deleted: `logs`, `archives`, `results`. Errors as for any read.

        Logs and archives: they or its record were removed, and those of all that share them. Results, which are small
        and say what its tasks found: it has no record, and nobody shares them.
        """
        removed = await self.was_removed(run)
        sharers = await self._sharers(run)
        found = ["results"] if removed and not sharers else []
        for output, has in (("logs", self.has_logs), ("archives", self.has_archives)):
            if (removed or not await has(run)) and not any([await has(other) for other in sharers]):
                found.append(output)
        return found

    async def _sharers(self, run: RunId) -> list[RunId]:
        """Return the restarts that have kept tasks of a run."""
        return [RunId(key.split("/")[1]) for key, _ in await self._store.scan(SHARED_BY, prefix=f"{run}/")]

    async def _shared(self, run: RunId) -> list[RunId]:
        """Return the runs that have executed the tasks that a restart keeps."""
        body = await self._store.get(SHARING, run)
        return [] if body is None else [RunId(item) for item in body.decode().split()]

    async def _left_to(self, shared: Iterable[RunId]) -> list[Put]:
        """Return that there is something to look for where these were, for the last that needed it, perhaps."""
        return [
            Put(TRASH, other, b"")
            for other in shared
            if await self.was_removed(other) or not await self.has_logs(other) or not await self.has_archives(other)
        ]

    async def remove(self, run: Run) -> None:
        """Remove the records of a run; its objects are trash from then on. Errors as for `commit`."""
        shared = await self._shared(run.id)
        left = await self._left_to(shared)
        unshared = [Delete(SHARED_BY, f"{other}/{run.id}") for other in shared]
        tasks = [Delete(TASK, key) for key, _ in await self._store.scan(TASK, prefix=f"{run.id}/")]
        by_uid = Delete(BY_UID, uid_key(run.uid, run.submitted))
        documents = [Delete(kind, run.id) for kind in (RUN, RUN_CONFIG, NO_LOGS, NO_ARCHIVES, SHARING)]
        actions: tuple[Action, ...] = (*documents, by_uid, *tasks, *unshared, *left, Put(TRASH, run.id, b""))
        await self._store.commit(Transaction(actions, frozenset({_output(run.id)})))

    async def remove_logs(self, run: RunId) -> None:
        """Make the logs of a run trash. Errors as for `commit`."""
        await self._remove_output(run, NO_LOGS)

    async def remove_archives(self, run: RunId) -> None:
        """Make the archives of a run trash, but not its results. Errors as for `commit`."""
        await self._remove_output(run, NO_ARCHIVES)

    async def _remove_output(self, run: RunId, mark: str) -> None:
        left = await self._left_to(await self._shared(run))
        actions = (Put(mark, run, b""), *left, Put(TRASH, run, b""))
        await self._store.commit(Transaction(actions, frozenset({_output(run)})))

    async def emptied(self, run: RunId) -> None:
        """Forget that there were objects to delete. Errors as for `commit`."""
        await self._store.commit(Transaction((Delete(TRASH, run),)))

    async def trim_events(self, *, keep: int, since: int, limit: int) -> int:
        """Remove the oldest events, at most `limit`: beyond the newest `keep`, or before `since` (ms since 1970).

        Returns:
            how many. Errors as for `commit`.
        """
        last = await self._store.last_key(EVENT)
        if last is None:
            return 0
        found: list[Delete] = []
        for most in (1, limit):  # nearly always the oldest one may stay, and is all that is read
            found.clear()
            for key, body in await self._store.scan(EVENT, limit=most):
                if int(last, 16) - int(key, 16) < keep and _time_of(body) >= since:
                    break
                found.append(Delete(EVENT, key))
            if not found:
                break
        if found:
            await self._store.commit(Transaction(tuple(found)))
        return len(found)

    async def commit(self, change: Change) -> Committed:
        """Store a change; returns when it is durable.

        Raises:
            datamanager errors, see `Store.commit`; after `Unknown` only the store knows what is true.
        """
        old = change.config.restarted_from if change.config is not None and change.read_at is not None else None
        groups = frozenset({_output(old)} if old is not None else ())
        return await self._store.commit(Transaction(tuple(_actions(change)), groups, change.read_at if old else None))


def uid_key(uid: str, submitted: int) -> str:
    """Return the key of a Run's uid: the newest Runs come last, so that those that are asked for lie together.

    Of a Run whose time is not known, and in records of an older version, it is the uid alone.
    """
    return f"{submitted:012x}/{uid}" if submitted else uid


def _output(run: RunId) -> str:
    """Return the change group of a run's logs and archives: written by whoever lets them go."""
    return f"output/{run}"


def _time_of(body: bytes) -> int:
    """Return when an event was; one that cannot be read was long ago."""
    try:
        return decode(Event, body).time
    except RecordError:
        return 0


def _actions(change: Change) -> Iterable[Put | Append]:
    run = change.run
    if change.config is not None:
        yield Put(RUN_CONFIG, run.id, encode(change.config))
        yield Put(BY_UID, uid_key(run.uid, run.submitted), run.id.encode())
        if change.shares:
            yield Put(SHARING, run.id, " ".join(sorted(change.shares)).encode())
        for other in change.shares:
            yield Put(SHARED_BY, f"{other}/{run.id}", b"")
    if change.counter is not None:
        yield Put(COUNTER, change.counter.root_group, encode(change.counter))
    yield Put(RUN, run.id, encode(run))
    for task in change.tasks:
        yield Put(TASK, f"{run.id}/{task.name}", encode(task))
    for event in change.events:
        yield Append(EVENT, encode(event))
