"""From a Run's spec to the exit code: everything that `runabout run` loads once something is on the screen."""

import asyncio
import logging
import sys
from collections.abc import Iterator, Mapping
from typing import TextIO

import structlog

from runabout.control.context import merge_names
from runabout.datamanager import StoreError
from runabout.etcd import EtcdError
from runabout.etcd.file import LogInUseError
from runabout.executors.podman import PodmanError
from runabout.local.options import EXIT_FAILED, EXIT_STOPPED, EXIT_UNUSABLE, Options
from runabout.local.parts import now_ms
from runabout.local.session import RefusedError, Session
from runabout.local.view import View, result_style, terminal
from runabout.ost import OstError
from runabout.records import Result, Run

OWN_LOG = "runabout.log"
"""In the store's folder: what the parts say of themselves, as an operator's log; people see the view."""
_CODES = {Result.SUCCESS: 0, Result.FAILED: EXIT_FAILED}


def execute(name: str, spec: Mapping[str, object], options: Options, *, plain: bool) -> tuple[int, tuple[str, ...]]:
    """Execute a Run; return the exit code, and what was wrong where it could not be executed to its end."""
    view = View(sys.stdout, tree=not plain and terminal(), now=now_ms)
    try:
        options.store.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (options.store / OWN_LOG).open("a") as own_log:
            _log_to(own_log)
            run = asyncio.run(Session(options, view).run(name, spec))
    except RefusedError as refused:
        return EXIT_UNUSABLE, refused.errors
    except (Exception, ExceptionGroup) as error:
        leaves = tuple(_leaves(error))
        if not all(isinstance(each, (StoreError, EtcdError, OstError, OSError, PodmanError)) for each in leaves):
            raise
        return EXIT_UNUSABLE, tuple(_said(each, options) for each in leaves)
    _say_result(view, run, options)
    return _CODES.get(run.result, EXIT_STOPPED), ()


def _log_to(file: TextIO) -> None:
    structlog.configure(
        processors=[
            merge_names,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.WriteLoggerFactory(file=file),
        cache_logger_on_first_use=False,
    )


def _say_result(view: View, run: Run, options: Options) -> None:
    word = run.result.value if run.result is not Result.UNKNOWN else run.phase.value
    took = f" after {(run.ended - run.started) / 1000:.1f} s" if run.started and run.ended else ""
    view.say(f"run {run.name} ({run.id}): {word}{took}", f"bold {result_style(run.result)}")
    view.say(f"logs: runabout logs {run.id} --store {options.store}", "dim")


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _said(error: Exception, options: Options) -> str:
    if isinstance(error, LogInUseError):
        return f"{error}: wait for its end, or choose another folder with --store"
    if isinstance(error, PodmanError):
        return f"Podman cannot be used: {error}"
    return f"{options.store} cannot be used: {error}"
