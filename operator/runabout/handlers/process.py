"""The operator's process: settings, logging, signals, and the kopf shell around the control plane."""

import asyncio
import gc
import os
import signal
import sys
import time

import structlog
import uvloop

from runabout.control.etcdaccess import EtcdSettingsError, connect_etcd
from runabout.control.gatewaysettings import GatewaySettingsError, gateway_access
from runabout.control.lease import LeaseLostError
from runabout.control.metrics import Metrics
from runabout.control.openfiles import allow_open_files
from runabout.control.operator import Operator
from runabout.control.ownlog import configure_logging
from runabout.control.settings import Settings, ost_settings
from runabout.control.variables import read_settings
from runabout.datamanager import Refused, StoreError
from runabout.handlers.shell import WatchError, watch
from runabout.kube.connection import NoClusterError, connect
from runabout.ost import ObjectStore, ObservedStore, OstError, Waits, open_ost

EXIT_SETTINGS = 2
EXIT_STORE = 3
EXIT_LEASE = 4
EXIT_WATCH = 5
_ENDS: tuple[tuple[type[Exception], int, str], ...] = (
    (StoreError, EXIT_STORE, "store cannot be written"),
    (LeaseLostError, EXIT_LEASE, "another replica works now"),
    (WatchError, EXIT_WATCH, "Runs and Executors cannot be seen"),
)
"""What ends a process that has begun; the next one can go on."""
GARBAGE = 50_000
"""New containers between two looks for reference cycles. With Python's 700, a thousand live runs are looked at again
and again for garbage that they do not leave.
"""
NESTING = 25_000
"""Levels of Python's recursion: an API server stores objects that are nested 10,000 levels deep, and kopf's watch would
end at the first one that cannot be parsed. What is that deep becomes a setup error of its own run.
"""


class NoScratchError(Exception):
    """The folder in which logs wait to be stored cannot be had."""


def operator() -> None:
    """Run the operator; its settings come from the environment (RUNABOUT_…)."""
    sys.exit(run_operator())


def run_operator() -> int:
    """Run until SIGTERM or SIGINT; return the process's exit code."""
    settings = read_settings(os.environ, Settings)
    if isinstance(settings, list):
        sys.stderr.writelines(f"{sentence}\n" for sentence in settings)
        return EXIT_SETTINGS
    configure_logging(settings)
    allow_open_files()
    sys.setrecursionlimit(NESTING)
    gc.freeze()  # modules stay
    gc.set_threshold(GARBAGE, 20, 20)
    code = 0
    try:
        uvloop.run(_main(settings))
    except* (NoClusterError, OstError, NoScratchError, EtcdSettingsError, GatewaySettingsError, Refused) as group:
        code = EXIT_SETTINGS
        for problem in _leaves(group):
            sys.stderr.write(f"{problem}\n")
    except* (StoreError, LeaseLostError, WatchError) as group:
        for problem in _leaves(group):
            code, words = next((code, words) for kind, code, words in _ENDS if isinstance(problem, kind))
            structlog.get_logger(__name__).error(words, error=str(problem))
    return code


async def _main(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connection = connect()
    await connect_etcd(settings).close()  # its settings are refused before anything begins
    gateway_access(settings)  # as well
    metrics = Metrics()
    waits = Waits(_wait)
    metrics.store.ost_waiting.set_function(lambda: waits.long)
    ost = await _open_ost(settings, stop, waits)
    if ost is None:
        return
    try:
        settings.scratch_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NoScratchError(f"RUNABOUT_SCRATCH_DIR: {error}") from error
    operator = Operator(
        settings,
        connection=connection,
        ost=ObservedStore(ost, metrics.store, clock=time.monotonic),
        watch=lambda news, ending: watch(news, stop=ending),
        metrics=metrics,
    )
    try:
        await operator.run(stop)
    finally:
        await ost.close()


async def _open_ost(settings: Settings, stop: asyncio.Event, waits: Waits) -> ObjectStore | None:
    """Return the object storage, None if `stop` was set while it was waited for; raises what `open_ost` does."""
    opening = asyncio.create_task(open_ost(ost_settings(settings), waits=waits))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        return opening.result() if opening.done() else None
    finally:
        opening.cancel()
        stopping.cancel()


def _wait(what: str) -> None:
    structlog.get_logger(__name__).warning("the object storage is waited for", what=what)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
