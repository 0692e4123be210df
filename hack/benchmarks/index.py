"""The index of runs: how large its files are, how soon it is open, what a question costs, how much memory it takes.

The figures are taken in a process of its own, which reads files that were made before it: so memory is that of an
operator that has just started, not of the program that made a million runs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from benchmarks.process import status
from benchmarks.synthetic import History
from runabout.datamanager.indexed import Runs
from runabout.engine.groups import root_group
from runabout.records import Phase, Result
from runabout.runindex import Archive, FileInfo, IndexRow, Query, RunIndex, Segment, load
from runabout.runindex.columns import TIME_SHIFT
from runabout.runindex.files import read_file
from runabout.runindex.query import Cursor, Direction
from runabout.runindex.row import id_of, number_of

ROWS = 1_000_000
OPEN_SECONDS = {1_000_000: 1.0, 10_000_000: 4.0}
BYTES_PER_ROW = 8.0
ANONYMOUS_MIB = 120.0
QUESTIONS = 400
"""of each kind, each about another run, drawn from all of them"""
REPEATS = 5
LIMIT = 25
LIVE = 5_000
ARCHIVED = 4
"""Changes since the files were made; one in four is of an archived run, the others are new runs."""
_KIB = 1024
_SEED = 3


def measure(rows: int = ROWS) -> list[Figure]:
    """Return the figures of an index of so many runs."""
    with tempfile.TemporaryDirectory(prefix="runabout-bench-") as name:
        folder = Path(name)
        infos = []
        begin = time.perf_counter()
        for file in History().files(rows):
            (folder / file.info.name).write_bytes(file.body)
            infos.append(asdict(file.info) | {"sha256": file.info.sha256.hex()})
        made = time.perf_counter() - begin
        (folder / "infos.json").write_text(json.dumps(infos))
        size = sum(int(info["size"]) for info in infos)
        answer = subprocess.run(
            [sys.executable, "-m", "benchmarks.index", name],
            check=True,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
    of = f"{rows:,} runs"
    sizes = [
        Figure(f"index of {of}, a row", size / rows, "B", BYTES_PER_ROW),
        Figure(f"index of {of}, made and written", made, "s", beside="with the synthetic runs"),
    ]
    return sizes + [Figure(**each) for each in json.loads(answer.stdout)]


def questions(index: Runs, archive: Archive) -> dict[str, tuple[Callable[[int], object], float | None]]:
    """Return each kind of question with the milliseconds it may take, as a function of the question's number.

    They are about runs in `archive`, which the index has.
    """
    source = np.random.default_rng(_SEED)
    segments = archive.segments
    drawn = [segments[int(source.integers(len(segments)))] for _ in range(QUESTIONS)]
    runs = [segment.row(int(source.integers(len(segment)))) for segment in drawn]
    prefixes = ["/".join(run.group.split("/")[: int(source.integers(2, 5))]) for run in runs]
    cursors = [Cursor(Direction(at % 2), number_of(run.id)).text() for at, run in enumerate(runs)]
    phases, results = tuple(Phase), tuple(Result)
    failed = frozenset({Result.FAILED})
    return {
        "newest 25 of a group": (lambda at: index.page(Query(group=runs[at].group), limit=LIMIT), 1.0),
        "newest 25 of a prefix": (lambda at: index.page(Query(prefix=prefixes[at]), limit=LIMIT), 2.0),
        "newest 25 by phase": (lambda at: index.page(Query(phases=frozenset({phases[at % 5]})), limit=LIMIT), 10.0),
        "newest 25 by result": (lambda at: index.page(Query(results=frozenset({results[at % 4]})), limit=LIMIT), 10.0),
        "a page by id": (lambda at: index.page(limit=LIMIT, cursor=cursors[at]), 1.0),
        "a page by id in a prefix": (lambda at: index.page(Query(prefix=prefixes[at]), cursor=cursors[at]), None),
        "failed of a prefix": (lambda at: index.page(Query(prefix=prefixes[at], results=failed)), None),
        "by number": (lambda at: index.numbered(root_group(runs[at].group), runs[at].counter), None),
        "last of each group in a prefix": (lambda at: index.page(Query(prefix=prefixes[at], last_of_group=True)), None),
        "count of a prefix": (lambda at: index.count(Query(prefix=prefixes[at])), None),
        "one run by id": (lambda at: index.get(runs[at].id), None),
    }


def _ask(folder: Path) -> list[dict[str, object]]:
    """Open the files in a folder and return the figures, as the arguments of :class:`Figure`."""
    bare = anonymous()
    infos = [
        FileInfo(**each | {"sha256": bytes.fromhex(each["sha256"])})
        for each in json.loads((folder / "infos.json").read_text())
    ]
    rows = sum(info.rows for info in infos)
    of = f"{rows:,} runs"
    begin = time.perf_counter()
    for info in infos:
        read_file(info, (folder / info.name).read_bytes(), ())
    decoded = time.perf_counter() - begin
    cpu = time.process_time()
    index, opened, peak = _open(folder, infos)
    cpu = time.process_time() - cpu
    figures: list[dict[str, object]] = [
        {
            "name": f"index of {of}, cold open",
            "value": opened,
            "unit": "s",
            "target": OPEN_SECONDS.get(rows),
            "beside": f"CPU {cpu:.2f} s; decoding the same bytes {decoded:.2f} s",
        },
        {
            "name": f"index of {of}, anonymous memory",
            "value": anonymous(),
            "unit": "MiB",
            "target": ANONYMOUS_MIB,
            "beside": f"bare imports {bare:.0f}, highest while opening {peak:.0f}",
        },
    ]
    for sequence, row in enumerate(changes(index.archive)):
        index.put(row, sequence=sequence)
    figures += asked(f"index of {of}", index, index.archive)
    figures.append(
        {
            "name": f"index of {of}, anonymous memory after {LIVE:,} changes and all questions",
            "value": anonymous(),
            "unit": "MiB",
            "target": ANONYMOUS_MIB,
        }
    )
    return figures


def _open(folder: Path, infos: list[FileInfo]) -> tuple[RunIndex, float, float]:
    """Return an index of these files, the seconds it took and the most anonymous memory in MiB meanwhile."""
    begin = time.perf_counter()
    peak = 0.0
    segments: list[Segment] = []
    for info in infos:
        segments.append(load(info, (folder / info.name).read_bytes(), labels=(), scratch=folder))
        peak = max(peak, anonymous())
    index = RunIndex()
    index.install(Archive(segments), covers=0)
    return index, time.perf_counter() - begin, max(peak, anonymous())


def changes(archive: Archive) -> Iterator[IndexRow]:
    """Yield what may have changed since the last checkpoint: rows of new runs, and a few of archived ones."""
    source = np.random.default_rng(_SEED)
    segments = archive.segments
    for number in range(LIVE):
        segment = segments[int(source.integers(len(segments)))]
        row = segment.row(int(source.integers(len(segment))))
        if number % ARCHIVED:
            row = replace(row, id=id_of(segments[-1].last + (number << int(TIME_SHIFT))), phase=Phase.RUNNING)
        yield row


def asked(of: str, index: Runs, archive: Archive) -> list[dict[str, object]]:
    """Return what each kind of question takes, as the arguments of :class:`Figure`; `of` begins their names."""
    found: list[dict[str, object]] = []
    for name, (question, limit) in questions(index, archive).items():
        half, worst = _times(question)
        about = {"name": f"{of}, {name}, p99", "value": worst, "unit": "ms", "target": limit}
        found.append(about | {"beside": f"p50 {half:.2f}"})
    return found


def _times(question: Callable[[int], object]) -> tuple[float, float]:
    """Return the median and the 99th percentile in milliseconds; of each question the best of a few times."""
    times = []
    for at in range(QUESTIONS):
        best = float("inf")
        for _ in range(REPEATS):
            begin = time.perf_counter()
            question(at)
            best = min(best, time.perf_counter() - begin)
        times.append(best * 1000)
    return float(np.percentile(times, 50)), float(np.percentile(times, 99))


def anonymous() -> float:
    """Return this process's anonymous memory in MiB."""
    return status(os.getpid())["RssAnon"] / _KIB


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_ask(Path(sys.argv[1]))))
