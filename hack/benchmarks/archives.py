"""What a workspace costs: the toolbox saves and restores it through the gateway, beside `tar | zstd` on the same files.

The gateway is the real one, in this process, before a directory; what it asks an API server, a fake one answers. The
toolbox runs a plan of one step as it does in a pod, with its two processes for archives, and talks HTTP on loopback.
"""

import asyncio
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import process, untiltold, usage
from benchmarks.figures import Figure
from lab.gateways import RESTORES, SAVES, GatewayLab, spec_task
from localcluster import gobuild, preflight
from localcluster.console import LocalClusterError
from localcluster.settings import REPOSITORY
from runabout.executors.names import PodKey
from runabout.executors.plan import plan
from runabout.gateway.memory import keep_memory
from runabout.ost import OstSettings, iterate, open_ost
from runabout.records import RunConfig, Status

RATIO = 0.5
"""of the rate of `tar | zstd`"""
FOLDERS = 100
SEED = 5
WORDS = 4096
"""of 8 bytes each, of which texts consist"""
STEP_SECONDS = 600
SAVE, RESTORE = "build", "test"
"""The tasks of each run, the second after the first."""
_MB = 1e6


@dataclass(frozen=True)
class Sizes:
    """How much is saved, and how often; half of the files are noise, which does not compress, half are texts."""

    files: int = 10_000
    bytes: int = 1_000_000_000
    rounds: int = 3


@dataclass
class Times:
    """Seconds of each round, by what took them, and what else was seen of the toolbox."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    """the most of any round, MiB"""
    cpu: dict[str, list[float]] = field(default_factory=dict)
    """CPU seconds of each round, of all processes that were started for it"""
    gateway: dict[str, list[float]] = field(default_factory=dict)
    """CPU seconds of each round"""
    synced: list[float] = field(default_factory=list)
    """seconds until what `tar | zstd` wrote is on the disk, from its begin"""
    packed: dict[str, int] = field(default_factory=dict)
    """bytes of an archive"""

    @contextmanager
    def taken(self, what: str) -> Iterator[None]:
        """Take note of one round: of what is done inside, and of the processes that end there."""
        cpu, begin = _children_seconds(), time.perf_counter()
        yield
        self.seconds.setdefault(what, []).append(time.perf_counter() - begin)
        self.cpu.setdefault(what, []).append(_children_seconds() - cpu)

    def median(self, what: str) -> float:
        """Return the seconds of the round in the middle."""
        return statistics.median(self.seconds[what])


def measure(sizes: Sizes, say: Callable[[str], None]) -> list[Figure]:
    """Return every figure; what was stored for it, some four times `sizes.bytes`, is gone afterwards.

    Raises:
        LocalClusterError: there is no zstd and no apt to get it, not enough room, or a step failed.
    """
    keep_memory()  # as the gateway's process does
    preflight.ensure_programs({"tar": "tar", "zstd": "zstd"})
    with tempfile.TemporaryDirectory(prefix="runabout-bench-") as name:
        folder = Path(name)
        gobuild.require_space(folder, 5 * sizes.bytes / 1e9, "archives and what is restored from them")
        say(f"{sizes.files:,} files of {sizes.bytes / _MB:,.0f} MB …")
        source = folder / "source"
        for path, data in contents(sizes):
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(data)
        return figures(sizes, untiltold.run(_rounds(folder, source, sizes, say)))


def contents(sizes: Sizes) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents, the same ones for the same sizes; all files are about as large."""
    random = np.random.default_rng(SEED)
    words = random.integers(ord("a"), ord("z"), (WORDS, 7), dtype=np.uint8)
    table = np.concatenate([words, np.full((WORDS, 1), ord(" "), dtype=np.uint8)], axis=1)
    for number in range(sizes.files):
        size = sizes.bytes * (number + 1) // sizes.files - sizes.bytes * number // sizes.files
        if number % 2:
            data = random.bytes(size)
        else:
            chosen = np.minimum(random.zipf(1.2, size // 8 + 1), WORDS) - 1
            data = table[chosen].tobytes()[:size]
        yield f"{number % FOLDERS:02d}/file-{number}", data


async def _rounds(folder: Path, source: Path, sizes: Sizes, say: Callable[[str], None]) -> Times:
    """Let both take turns, so that whatever else the machine does meets both."""
    times = Times()
    toolbox = folder / "toolbox"
    module = REPOSITORY / "operator" / "toolbox"
    await asyncio.to_thread(gobuild.build_program, module, toolbox, gobuild.go_environment())
    for number in range(sizes.rounds):
        say(f"round {number + 1} of {sizes.rounds}: tar | zstd, then the toolbox …")
        await asyncio.to_thread(_pipeline, folder / "tar", source, sizes, times)
        await _workspace(folder / "workspace", source, toolbox, sizes, times)
    return times


def _pipeline(folder: Path, source: Path, sizes: Sizes, times: Times) -> None:
    """Pack and unpack as one does by hand; nothing waits for the disk."""
    there = folder / "there"
    there.mkdir(parents=True)
    archive = folder / "archive.tar.zst"
    commands = {
        "tar | zstd": f"tar -C '{source}' -cf - . | zstd -q > '{archive}'",
        "zstd | tar": f"zstd -q -d -c '{archive}' | tar -C '{there}' -xf -",
    }
    for what, command in commands.items():
        os.sync()
        begin = time.perf_counter()
        with times.taken(what):
            subprocess.run(["/bin/sh", "-e", "-c", command], check=True, timeout=STEP_SECONDS)
        if what == "tar | zstd":
            with archive.open("rb+") as file:
                os.fsync(file.fileno())
            times.synced.append(time.perf_counter() - begin)
    times.packed["tar | zstd"] = archive.stat().st_size
    _check(there, sizes)
    shutil.rmtree(folder)


async def _workspace(folder: Path, source: Path, toolbox: Path, sizes: Sizes, times: Times) -> None:
    ost = await open_ost(OstSettings(f"file://{folder}/ost"))
    try:
        async with GatewayLab(ost) as lab:
            there = folder / "there"
            there.mkdir(parents=True)
            config = await lab.run(
                spec_task(SAVE, {**SAVES, "workingDir": str(source)}),
                spec_task(RESTORE, {**RESTORES, "workingDir": str(there)}, after=[SAVE]),
            )
            pod = _Pod(lab, toolbox, folder, config, times)
            await pod.execute(SAVE)
            times.packed["toolbox"] = sum([item.size async for item in iterate(ost, "archives/")])
            await pod.execute(RESTORE)
            _check(there, sizes)
    finally:
        await ost.close()
    shutil.rmtree(folder)


@dataclass(frozen=True)
class _Pod:
    """Executes tasks as their pods would."""

    lab: GatewayLab
    toolbox: Path
    folder: Path
    config: RunConfig
    times: Times

    async def execute(self, name: str) -> None:
        """Run a task to its end, from the start of the toolbox on."""
        home = self.folder / name
        home.mkdir()
        await self.lab.set_task(self.config, name)
        (home / "token").write_text(self.lab.pod_token(self.config.id, name))
        (task,) = [task for task in self.config.tasks if task.name == name]
        gateway = {"url": self.lab.url, "tokenFile": str(home / "token")}
        made = plan(PodKey(self.config.id, name, 1), task, user="", grace_seconds=3, gateway=gateway)
        (home / "plan.json").write_text(made.body)
        (home / "message").touch()
        await asyncio.to_thread(subprocess.run, [str(self.toolbox), "install", str(home)], check=True)
        await asyncio.to_thread(os.sync)
        cpu = process.cpu_seconds(os.getpid())
        with self.times.taken(name):
            peaks = await self._run(home, name)
        self.times.gateway.setdefault(name, []).append(process.cpu_seconds(os.getpid()) - cpu)
        self.times.memory[name] = max(self.times.memory.get(name, 0.0), peaks.megabytes)
        await self.lab.set_task(self.config, name, Status.SUCCESS)

    async def _run(self, home: Path, name: str) -> usage.Peaks:
        running = await asyncio.create_subprocess_exec(
            str(home / "toolbox"),
            *("run", "--plan", str(home / "plan.json"), "--termination-log", str(home / "message")),
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
        )
        try:
            async with asyncio.timeout(STEP_SECONDS), usage.watched(running.pid) as peaks:
                said, _ = await running.communicate()
        finally:
            if running.returncode is None:
                running.terminate()
                await running.wait()
        if running.returncode != 0:
            raise LocalClusterError(f"the task {name} failed:\n{said.decode(errors='replace')[-2000:]}")
        return peaks


def _children_seconds() -> float:
    """Return the CPU seconds of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _check(there: Path, sizes: Sizes) -> None:
    """Make sure that what was restored is what was saved: half an archive would be quick."""
    found = [path.stat().st_size for path in there.rglob("*") if path.is_file()]
    if (len(found), sum(found)) != (sizes.files, sizes.bytes):
        raise LocalClusterError(
            f"{len(found)} files of {sum(found)} bytes were restored, and {sizes.files} of {sizes.bytes} saved"
        )


def figures(sizes: Sizes, times: Times) -> list[Figure]:
    """Return the figures of all rounds: medians, the toolbox's rate as a share of that of `tar | zstd`."""
    amount = sizes.bytes / _MB
    what = f"{amount:,.0f} MB in {sizes.files:,} files"
    packed = {who: f"{size / _MB:,.0f} MB" for who, size in times.packed.items()}
    found = []
    for verb, task, alone in (("save", SAVE, "tar | zstd"), ("restore", RESTORE, "zstd | tar")):
        took, beside = times.median(task), times.median(alone)
        cpu, gateway, other = (
            statistics.median(each) for each in (times.cpu[task], times.gateway[task], times.cpu[alone])
        )
        until = f", {statistics.median(times.synced):.1f} s until it is on the disk" if task == SAVE else ""
        found += [
            Figure(f"{alone}, {what}", amount / beside, "MB/s", beside=f"{beside:.1f} s{until}"),
            Figure(f"{verb} by the toolbox", amount / took, "MB/s", beside=f"{took:.1f} s"),
            Figure(f"{verb} beside {alone}", beside / took, "times", RATIO, at_least=True),
            Figure(
                f"{verb}, the toolbox's memory", times.memory[task], "MiB", beside="the peaks of its three processes"
            ),
            Figure(
                f"{verb}, CPU of toolbox and gateway",
                cpu + gateway,
                "s",
                beside=f"the gateway {gateway:.1f} s; {alone}: {other:.1f} s",
            ),
        ]
    packed_beside = f"{packed['toolbox']}; by zstd alone {packed['tar | zstd']}"
    return [
        *found,
        Figure("packed, of what there was", times.packed["toolbox"] / sizes.bytes, "", beside=packed_beside),
    ]
