"""Synthetic runs in any number, as an installation of many teams would have them; made by numpy, never stored.

Two thousand services of forty teams; a few of them have most of the runs. Near half of the runs are of main, as many of
one of the feature branches of these days, the rest are nightly runs with groups of their own. A run begins some 100 ms
after it was created and takes a minute and a half (median); on average one is created every three seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from runabout.runindex.columns import TIME_SHIFT, Columns, schema
from runabout.runindex.files import MAX_ROWS, NewFile, write_file

SERVICES = 2_000
TEAMS = 40
NIGHTLIES = 300
MAIN = 0.45
PROJECTS = 0.9
"""Shares of runs: of main, and of main or a feature branch."""
FINISHED = 0.985
BRANCHES_A_DAY = 3
BRANCH_LIFE_DAYS = 4
GAP_MS = 3_000
WAIT_MS = 100
RUN_MS = 90_000
DAY_MS = 86_400_000
BEGIN_MS = 150_000_000_000
"""of the first run, after the epoch of ids"""

Ints = npt.NDArray[np.int64]


@dataclass
class History:
    """Runs as index files or as their columns, the oldest first; the same seed gives the same ones."""

    seed: int = 1
    labels: tuple[str, ...] = ()
    _counters: dict[str, Ints] = field(default_factory=dict)
    _now: int = BEGIN_MS

    def files(self, rows: int) -> Iterator[NewFile]:
        """Yield files with so many rows in all."""
        return map(write_file, self.columns(rows))

    def columns(self, rows: int) -> Iterator[Columns]:
        """Yield what these files are made of: up to 65,536 rows by id."""
        source = np.random.default_rng(self.seed)
        while rows > 0:
            count = min(rows, MAX_ROWS)
            yield self._columns(source, count)
            rows -= count

    def _columns(self, source: np.random.Generator, count: int) -> Columns:
        created = self._now + np.cumsum(source.exponential(GAP_MS, count).astype(np.int64) + 1)
        self._now = int(created[-1])
        service = np.minimum((source.pareto(1.1, count) * 5).astype(np.int64), SERVICES - 1)
        kind = source.random(count)
        day = created // DAY_MS
        branch = (day - source.integers(0, BRANCH_LIFE_DAYS, count)) * BRANCHES_A_DAY
        branch += source.integers(0, BRANCHES_A_DAY, count)
        nightly = source.integers(0, NIGHTLIES, count)
        # one number for each group, then one string for each number
        group = np.where(kind < MAIN, service << 32, np.where(kind < PROJECTS, service << 32 | branch, -1 - nightly))
        distinct, places = np.unique(group, return_inverse=True)
        words = [_group(int(number)) for number in distinct]
        team = np.where(kind < PROJECTS, service % TEAMS, nightly % TEAMS)
        finished = source.random(count) < FINISHED
        result = np.where(finished, 1 + np.searchsorted([0.85, 0.98], source.random(count), side="right"), 0)
        phase = np.where(finished, 0, source.integers(1, 3, count))
        start = source.lognormal(np.log(WAIT_MS), 0.5, count).astype(np.int64)
        end = start + source.lognormal(np.log(RUN_MS), 1.0, count).astype(np.int64)
        root = np.where(kind < PROJECTS, service, SERVICES + nightly)
        values = {
            "id": pa.array(created.astype(np.uint64) << TIME_SHIFT),
            "counter": pa.array(self._numbers(root).astype(np.uint32)),
            "start_after": pa.array(start),
            "end_after": pa.array(end),
            "group": _text(places, words),
            "namespace": _text(team, [f"team-{number}" for number in range(TEAMS)]),
            "phase": _text(phase, ["finished", "cancelled", "setuperror"]),
            "result": _text(result, ["unknown", "success", "failed", "stopped"]),
        } | {f"label.{label}": _text(team, [f"{label}-{number}" for number in range(TEAMS)]) for label in self.labels}
        types = schema(self.labels)
        return Columns(pa.table([values[name] for name in types.names], schema=types), self.labels)

    def _numbers(self, root: Ints) -> Ints:
        """Return for each run the next number in its root group."""
        last = self._counters.setdefault("last", np.zeros(SERVICES + NIGHTLIES, np.int64))
        order = np.argsort(root, kind="stable")
        ordered = root[order]
        begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        lengths = np.diff(np.append(begins, len(root)))
        numbers = np.empty(len(root), np.int64)
        numbers[order] = np.arange(len(root)) - np.repeat(begins, lengths) + 1 + last[ordered]
        np.add.at(last, root, 1)
        return numbers


def _text(codes: Ints, words: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(words))


def _group(number: int) -> str:
    if number < 0:
        nightly = -1 - number
        return f"/team-{nightly % TEAMS}/run/nightly-{nightly}"
    service, branch = number >> 32, number & 0xFFFFFFFF
    name = f"feature-{branch}" if branch else "main"
    return f"/team-{service % TEAMS}/project/service-{service}/branch/{name}"
