"""The command `hack/bench`."""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import archives, data, engine, index, logs, tasks, throughput
from benchmarks.figures import Figure, table
from localcluster import gobuild, native
from localcluster.console import LocalClusterError
from localcluster.settings import Places, cluster_name

PARTS = ("engine", "index", "data", "archives", "logs", "tasks", "runs")
SAME_SIGNAL_SECONDS = 3.0
"""Signals within this time are one."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="hack/bench",
        description=(
            "Measures Runabout: engine and index of runs alone, the datamanager on a real etcd beside what that does "
            "alone, archives through the gateway beside tar | zstd, followed logs beside plain HTTP, tasks of one step "
            "on the local cluster's own node and runs on simulated ones, both beside bare pods. Takes about fifteen "
            "minutes, of which the datamanager has three (five more with --runs 1000000 --runs 10000000), archives one "
            "and a half and logs two and a half. For tasks and runs the cluster must be up (hack/cluster up) and have "
            "nothing else to do; for tasks it must have the images (hack/images load)."
        ),
    )
    top.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    top.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE, too")
    top.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")

    def number(flag: str, default: float, what: str) -> None:
        top.add_argument(flag, type=type(default), default=default, help=f"{what} (default: %(default)s)")

    number("--bare", 2000, "bare pods")
    number("--one-pod", 2000, "runs of one task")
    number("--diamonds", 500, "runs of four tasks")
    number("--idle", 30, "diamonds one after the other")
    number("--nodes", 20, "simulated nodes")
    number("--index-rows", index.ROWS, "runs in the index")
    sizes = data.Sizes()
    number("--data-seconds", sizes.seconds, "for each load of commits and each that stands beside it")
    number("--data-entries", sizes.entries, "log entries to recover")
    top.add_argument(
        "--runs",
        "--data-runs",
        type=int,
        action="append",
        metavar="RUNS",
        help=(
            f"archived runs of a store (default: {sizes.runs[0]}); more than once: of several stores, one after the "
            "other. A million takes a minute, ten million three to five and 1 GB of the disk"
        ),
    )
    number("--data-idle", sizes.idle, "seconds without work")
    number("--data-kills", sizes.kills, "writers to kill")
    packed = archives.Sizes()
    number("--archive-files", packed.files, "files in an archive")
    number("--archive-bytes", packed.bytes, "in all of them")
    number("--archive-rounds", packed.rounds, "of which the median counts")
    followed = logs.Sizes()
    number("--log-streams", followed.streams, "followed logs")
    number("--log-seconds", followed.seconds, "of output in each, 1 KB/s")
    pods = tasks.Sizes()
    number("--tasks-alone", pods.alone, "tasks of one step one after the other, and as many bare pods")
    number("--tasks-batches", pods.batches, f"how many times {tasks.AT_ONCE} at once of each")
    top.add_argument("--name", help="name of the cluster (default: $RUNABOUT_CLUSTER or runabout)")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    arguments = parser().parse_args(argv)
    parts = arguments.parts or PARTS
    load = os.getloadavg()[0]
    say(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the start")
    figures: list[Figure] = []
    try:
        for part in PARTS:
            if part in parts:
                figures += _figures(part, arguments)
    except LocalClusterError as error:
        say(f"hack/bench: {error}")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("interrupted")
        return 130
    sys.stdout.write(table(figures))
    if arguments.json:
        document = {
            "commit": _commit(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": {"architecture": platform.machine(), "cores": os.cpu_count(), "load": load},
            "figures": [figure.document() for figure in figures],
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
        say(f"next: {arguments.json} has the figures; docs/benchmarks.md says what they mean")
    else:
        say("next: --json FILE keeps the figures; docs/benchmarks.md says what they mean")
    return exit_code(figures, check=arguments.check)


def _figures(part: str, arguments: argparse.Namespace) -> list[Figure]:
    match part:
        case "engine":
            say("the engine …")
            return engine.measure()
        case "index":
            say(f"the index of {arguments.index_rows:,} runs …")
            return index.measure(arguments.index_rows)
        case "data":
            return data.measure(_data_sizes(arguments), say)
        case "archives":
            sizes = archives.Sizes(arguments.archive_files, arguments.archive_bytes, arguments.archive_rounds)
            return archives.measure(sizes, say)
        case "logs":
            return logs.measure(logs.Sizes(arguments.log_streams, arguments.log_seconds), say)
        case "tasks":
            return _tasks(arguments)
        case _:
            return _runs(arguments)


def exit_code(figures: Sequence[Figure], *, check: bool) -> int:
    """Return 1 if it is asked for and a target is missed, else 0."""
    return int(check and any(figure.met is False for figure in figures))


def say(text: str) -> None:
    """Tell the person, not the pipe."""
    sys.stderr.write(f"{text}\n")


def _commit() -> str:
    answer = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def _data_sizes(arguments: argparse.Namespace) -> data.Sizes:
    return data.Sizes(
        seconds=arguments.data_seconds,
        entries=arguments.data_entries,
        runs=tuple(arguments.runs or data.Sizes.runs),
        idle=arguments.data_idle,
        kills=arguments.data_kills,
    )


def _tasks(arguments: argparse.Namespace) -> list[Figure]:
    places = Places.of(cluster_name(arguments.name))
    native.require_up(places)
    with _alone(places), tempfile.TemporaryDirectory(prefix="runabout-bench-") as folder:
        bench = tasks.Bench(
            places=places,
            kubectl=gobuild.tool("kubectl"),
            folder=Path(folder),
            sizes=tasks.Sizes(alone=arguments.tasks_alone, batches=arguments.tasks_batches),
            say=say,
        )
        return asyncio.run(_until_told(bench))


def _runs(arguments: argparse.Namespace) -> list[Figure]:
    places = Places.of(cluster_name(arguments.name))
    native.require_up(places)
    with _alone(places), tempfile.TemporaryDirectory(prefix="runabout-bench-") as folder:
        bench = throughput.Bench(
            places=places,
            kwok=gobuild.tool("kwok"),
            kubectl=gobuild.tool("kubectl"),
            folder=Path(folder),
            sizes=throughput.Sizes(
                bare=arguments.bare, one=arguments.one_pod, diamonds=arguments.diamonds, idle=arguments.idle
            ),
            nodes=arguments.nodes,
            say=say,
        )
        return asyncio.run(_until_told(bench))


@contextlib.contextmanager
def _alone(places: Places) -> Iterator[None]:
    """Keep a second measurement away from the cluster: each removes what it takes for leftovers."""
    with (places.run / "bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LocalClusterError("another hack/bench is at work on this cluster", "Wait until it ends.") from error
        yield


async def _until_told(bench: throughput.Bench | tasks.Bench) -> list[Figure]:
    """Let Ctrl-C or SIGTERM end a measurement, after which what was created is removed."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(bench.measure())
    told = 0.0

    def end() -> None:
        # A terminal and whatever wraps the command may both pass a signal on: that must not end the removal.
        nonlocal told
        if not told:
            say("ending; removing what was created (once more, in a few seconds: leave it)")
            told = loop.time()
            task.cancel()
        elif loop.time() - told > SAME_SIGNAL_SECONDS:
            say("left what was created; the next hack/bench removes it")
            told = loop.time()
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    return await task
