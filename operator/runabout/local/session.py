"""One run from beginning to end in this process: the store in a folder, the passes, the person who looks on."""

import asyncio
import contextlib
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from runabout.control.live import LiveRun
from runabout.control.objects import FINALIZER, RunObject, Uid, run_object
from runabout.control.runrows import run_index
from runabout.control.tables import TABLES
from runabout.datamanager import Store, Unknown, open_store
from runabout.etcd.file import open_file
from runabout.executors.gatewayaccess import needing_steps
from runabout.local.options import Options
from runabout.local.parts import Parts, compose
from runabout.local.view import View
from runabout.ost import OstSettings, open_ost
from runabout.records import Run, Verdict

NAMESPACE = "local"
WORKERS = 4
STORE_SECONDS = 30.0
"""For which a commit may wait for the disk."""


class RefusedError(Exception):
    """The Run has errors that only the records tell, as a restart of what is not there has; nothing ran."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


class Session:
    """Executes one Run."""

    def __init__(self, options: Options, view: View) -> None:
        self._options = options
        self._view = view
        self._uid = Uid(str(uuid4()))
        self._live: LiveRun | None = None
        self._parts: Parts | None = None
        self._errors: tuple[str, ...] = ()
        """what is wrong with a Run that did not begin"""
        self._done = asyncio.Event()
        self._stops = 0
        self._asked: list[str] = []
        self._answered: set[str] = set()
        self._approvals: list[dict[str, str]] = []

    async def run(self, name: str, spec: Mapping[str, object]) -> Run:
        """Execute a Run and return it as it ended; `spec` is without errors.

        Raises:
            LogInUseError: another process works with the folder. Errors of the store; OSError.
        """
        options = self._options
        work = options.store / "work"
        work.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with AsyncExitStack() as stack:
            etcd = open_file(options.store / "log")
            stack.push_async_callback(etcd.close)
            ost = await open_ost(OstSettings(url=(options.store / "ost").absolute().as_uri()))
            stack.push_async_callback(ost.close)
            store = await open_store(
                etcd, ost=ost, deadline=STORE_SECONDS, tables=TABLES, index=run_index(_folder(options.store / "index"))
            )
            stack.push_async_callback(store.close)
            gateway = None
            socket = options.store / "gateway" if options.podman is not None and _needs_gateway(spec) else None
            if _needs_gateway(spec):
                from runabout.local.gateway import serve  # noqa: PLC0415 - a web server that few runs need

                gateway = await stack.enter_async_context(serve(etcd, ost, holder=self._holder, folder=socket))
            parts = self._parts = compose(
                store=store,
                ost=ost,
                folder=work,
                toolbox=options.toolbox,
                secrets=options.secrets,
                jobs=options.jobs,
                arch=options.arch,
                gateway=gateway,
                socket=socket,
                podman=options.podman,
                show=self._view.lines,
                notice=self._view.say,
            )
            async with parts.driver, _signals(self._stop):
                await self._restore(parts)
                parts.objects.put(_object(self._uid, name, spec))
                if self._stops:
                    parts.runs.set_spec(self._uid, stop=True)
                parts.queue.add(self._uid)
                await self._work(parts, store)
            if not options.keep:  # only now: what ends may still have open, or write, what is in there
                await asyncio.to_thread(_empty, work)
        if self._errors:
            raise RefusedError(self._errors)
        if self._live is None:
            raise RuntimeError("the run was never looked at")
        return self._live.state.run

    async def _restore(self, parts: Parts) -> None:
        """Take the runs of processes that were killed: they have no Run here, so they are stopped and end."""
        if await parts.reconciler.restore():
            self._view.say("ending runs that were interrupted by the end of their process", "dim")

    async def _work(self, parts: Parts, store: Store) -> None:
        ending = asyncio.Event()
        with self._view.showing():
            async with asyncio.TaskGroup() as group:
                group.create_task(parts.logs.run(ending))
                group.create_task(parts.service_logs.run(ending))
                group.create_task(parts.queue.work(self._pass, workers=WORKERS, on_error=self._failed))
                guard = group.create_task(_guard(store))
                await self._done.wait()
                parts.queue.close()
                ending.set()
                guard.cancel()

    async def _pass(self, uid: Uid) -> None:
        parts = self._parts
        if parts is None:
            return
        await parts.reconciler.reconcile(uid)
        lives = parts.reconciler.lives
        if uid == self._uid:
            self._live = lives.get(uid, self._live)
            if self._live is not None:
                live = self._live
                self._view.update(live.graph, live.state.tasks, live.waits, over=live.over)
                self._look_for_questions(parts, live)
            elif (known := parts.objects.get(uid)) is not None:
                self._errors = _setup_errors(known)  # it was over in one pass
        if (self._live is not None or self._errors) and not lives:
            self._done.set()

    def _failed(self, _uid: Uid, error: Exception) -> None:
        if isinstance(error, Unknown):
            raise error
        self._view.say(f"trying again: {type(error).__name__}: {error}", "red")

    # the person

    def _stop(self) -> None:
        """Take a Ctrl-C: the first one is a stop, the next one ends everything at once."""
        self._stops += 1
        if self._parts is None:
            return
        if self._stops == 1:
            self._view.say("stopping; once more ends everything at once", "yellow")
            self._parts.runs.set_spec(self._uid, stop=True)
            self._parts.queue.add(self._uid)
        else:
            self._view.say("ending everything", "yellow")
            self._parts.driver.kill()

    def _look_for_questions(self, parts: Parts, live: LiveRun) -> None:
        waiting = [name for name, task in live.state.tasks.items() if task.waiting_since is not None]
        for name in waiting:
            if name in self._answered or name in self._asked:
                continue
            if self._is_approved(name, variant=bool(live.graph.task(name).values)):
                self._answer(parts, name, Verdict.APPROVED)
            elif not sys.stdin.isatty():
                self._view.say(
                    f"task {name} waits for an approval, and nobody can be asked: give --approve {name}", "red"
                )
                self._answer(parts, name, Verdict.REFUSED)
            else:
                self._asked.append(name)
                if len(self._asked) == 1:
                    self._ask(parts)
        if self._asked and self._asked[0] not in waiting:  # a stop has ended the wait
            self._asked = [name for name in self._asked if name in waiting]
            self._ask(parts)

    def _is_approved(self, name: str, *, variant: bool) -> bool:
        return any(name == each or (variant and name.startswith(f"{each}-")) for each in self._options.approve)

    def _ask(self, parts: Parts) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(sys.stdin.fileno())
        if not self._asked:
            self._view.ask("")
            return
        self._view.ask(f"task {self._asked[0]} waits for an approval: approve it? [y/n] ")
        loop.add_reader(sys.stdin.fileno(), lambda: self._heard(parts))

    def _heard(self, parts: Parts) -> None:
        line = sys.stdin.readline()
        word = line.strip().lower()
        if not line:
            self._answer(parts, self._asked.pop(0), Verdict.REFUSED)  # nobody is there any more
        elif word in ("y", "yes"):
            self._answer(parts, self._asked.pop(0), Verdict.APPROVED)
        elif word in ("n", "no"):
            self._answer(parts, self._asked.pop(0), Verdict.REFUSED)
        self._ask(parts)

    def _answer(self, parts: Parts, task: str, verdict: Verdict) -> None:
        self._answered.add(task)
        self._view.say(f"task {task} is {verdict.value} by {self._options.by}")
        self._approvals.append({"task": task, "by": self._options.by, "verdict": verdict.value})
        parts.runs.set_spec(self._uid, approvals=list(self._approvals))
        parts.queue.add(self._uid)

    def _holder(self, token: str) -> tuple[str, str] | None:
        return None if self._parts is None else self._parts.driver.holder(token)


def _object(uid: Uid, name: str, spec: Mapping[str, object]) -> RunObject:
    metadata = {
        "uid": uid,
        "namespace": NAMESPACE,
        "name": name,
        "generation": 1,
        "creationTimestamp": datetime.now(UTC).isoformat(),
        "finalizers": [FINALIZER],
    }
    return run_object({"metadata": metadata, "spec": spec})


def _setup_errors(run: RunObject) -> tuple[str, ...]:
    found = run.status.get("setupErrors")
    first = found.get("first") if isinstance(found, Mapping) else None
    return tuple(map(str, first)) if isinstance(first, list | tuple) else ()


def _needs_gateway(spec: Mapping[str, object]) -> bool:
    tasks = spec.get("tasks")
    bodies = [task for task in tasks if isinstance(task, Mapping)] if isinstance(tasks, list) else []
    # What a restart executes is in its record.
    return "restartFrom" in spec or any(any(True for _ in needing_steps(body)) for body in bodies)


async def _guard(store: Store) -> None:
    """End the process when the store cannot be written any more."""
    raise await store.broken()


@contextlib.asynccontextmanager
async def _signals(stop: Callable[[], None]) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _empty(folder: Path) -> None:
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
