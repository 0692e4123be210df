"""Retention: runs, their logs and archives, and events that are old enough, or too many, go.

A rule is of a group and all below it; the one of the longest group counts. Removing is a transaction like any other; a
run's objects are deleted after it, by whoever works then: the store knows whose until they are. Logs and archives may
go before their run, results go with it; what restarts share stays until the last of them needs it no more. The history
is walked from the newest run to the oldest, a few at a time, again and again, by the run index: records are read of
those runs alone that are about to go. So it costs little, and a rule is kept within minutes, for very long histories
within hours. Live runs are never touched, nor is what cannot be read. What rules say of caches is kept by
`cacheretention`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import structlog
from pydantic import BaseModel, ConfigDict, Field, field_validator

from runabout.control.archivekeys import is_results
from runabout.control.ledger import Ledger
from runabout.control.metrics import Metrics
from runabout.datamanager import Damaged, Unavailable
from runabout.ost import ObjectStore, OstError, iterate
from runabout.records import TERMINAL_PHASES, RunId, run_id_time
from runabout.records.encoding import RecordError
from runabout.runindex import IndexRow

log = structlog.get_logger(__name__)

STEP = 200
"""Runs looked at at once; some milliseconds."""
STEP_SECONDS = 0.5
REST_SECONDS = 60.0
"""Between two walks."""
TRASH = 10
"""Runs whose objects are deleted in one step."""
EVENTS = 1000
"""Removed by one transaction."""
DAY = 86_400_000
"""Milliseconds."""


class Rule(BaseModel):
    """How long runs of a group are kept; 0 is for ever, or without a limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    group: str = Field(
        default="/", description="The effective group, /<namespace>/…; runs of all groups below it, too."
    )
    days: int = Field(default=0, ge=0, description="Days after its end that a run is kept.")
    runs: int = Field(default=0, ge=0, description="How many runs are kept, the newest ones.")
    log_days: int = Field(
        default=0, ge=0, alias="logDays", description="Days after its end that a run's logs are kept."
    )
    log_runs: int = Field(default=0, ge=0, alias="logRuns", description="Of how many runs logs are kept.")
    archive_days: int = Field(
        default=0, ge=0, alias="archiveDays", description="Days after its end that a run's archives are kept."
    )
    archive_runs: int = Field(default=0, ge=0, alias="archiveRuns", description="Of how many runs archives are kept.")
    cache_days: int | None = Field(
        default=None, ge=0, alias="cacheDays", description="Days after its writing that a cache is kept."
    )
    caches: int | None = Field(
        default=None, ge=0, description="How many caches of each cache group are kept, the newest ones."
    )

    @field_validator("group")
    @classmethod
    def _is_absolute(cls, group: str) -> str:
        if not group.startswith("/"):
            raise ValueError("a group begins with /<namespace>")
        return group.rstrip("/") + "/"

    def covers(self, group: str) -> bool:
        """Whether it is of a group."""
        return f"{group}/".startswith(self.group)


class Retention:
    """Keeps rules over a ledger and the logs that belong to it; `now` is in milliseconds since 1970."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        ost: ObjectStore,
        metrics: Metrics,
        rules: Sequence[Rule],
        keep_events: int,
        event_days: int,
        now: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._ost = ost
        self._metrics = metrics
        self._rules = sorted(rules, key=lambda rule: len(rule.group), reverse=True)
        self._keep_events = keep_events
        self._event_days = event_days
        self._now = now
        self._cursor: str | None = None
        self._seen: Counter[str] = Counter()

    async def run(self) -> None:
        """Work until cancelled; what fails is tried again."""
        while True:
            over = False
            try:
                over = await self.step()
            except (Unavailable, Damaged, OstError) as error:
                log.info("retention waits", error=str(error))
            await asyncio.sleep(REST_SECONDS if over else STEP_SECONDS)

    async def step(self) -> bool:
        """Look at some runs, events and logs; return whether a walk has come to its end and nothing is left to do.

        Raises:
            errors of the store and of the object storage; the next step goes on where this one was.
        """
        emptied = await self._empty_trash()
        since = self._now() - self._event_days * DAY if self._event_days else 0
        events = await self._ledger.trim_events(keep=self._keep_events, since=since, limit=EVENTS)
        if events:
            self._metrics.removed.labels(what="event").inc(events)
        over = await self._walk()
        return over and not emptied and events < EVENTS

    async def _walk(self) -> bool:
        if not self._rules:
            return True
        page = self._ledger.rows(cursor=self._cursor, limit=STEP)
        seen = self._seen.copy()
        for row in page.rows:
            try:
                await self._judge(row, seen)
            except (RecordError, Damaged) as error:
                log.warning("run not judged by retention", run=row.id, error=str(error))
        # Only now: what an error has ended is walked once more, and counted once.
        self._cursor, self._seen = page.older, seen
        if page.older is None:
            self._seen.clear()
            return True
        return False

    async def _judge(self, row: IndexRow, seen: Counter[str]) -> None:
        rule = next((rule for rule in self._rules if rule.covers(row.group)), None)
        if rule is None:
            return
        seen[rule.group] += 1
        if row.phase not in TERMINAL_PHASES:
            return
        age, rank = self._now() - (row.end or run_id_time(row.id)), seen[rule.group]
        if _is_over(age, rank, days=rule.days, most=rule.runs) and await self._ledger.all_stored(row.id):
            run = await self._ledger.run(row.id)
            if run is not None:
                await self._ledger.remove(run)
                self._metrics.removed.labels(what="run").inc()
                log.info("run removed by retention", run=run.id, group=run.group)
            return
        if _is_over(age, rank, days=rule.log_days, most=rule.log_runs):
            await self._forget("log", row.id, self._ledger.has_logs, self._ledger.remove_logs)
        if _is_over(age, rank, days=rule.archive_days, most=rule.archive_runs):
            await self._forget("archive", row.id, self._ledger.has_archives, self._ledger.remove_archives)

    async def _forget(
        self,
        what: str,
        run: RunId,
        has: Callable[[RunId], Awaitable[bool]],
        remove: Callable[[RunId], Awaitable[None]],
    ) -> None:
        """Remove a part of a run's output, if it is there and complete."""
        if await has(run) and await self._ledger.all_stored(run):
            await remove(run)
            self._metrics.removed.labels(what=what).inc()

    async def _empty_trash(self) -> int:
        runs = await self._ledger.trash(TRASH)
        for run in runs:
            unneeded = await self._ledger.unneeded(run)
            for folder in ("logs", "archives"):
                if folder not in unneeded:
                    continue
                async for item in iterate(self._ost, f"{folder}/{run}/"):
                    if "results" in unneeded or not is_results(item.key):
                        await self._ost.delete(item.key)
            await self._ledger.emptied(run)
        return len(runs)


def _is_over(age: int, rank: int, *, days: int, most: int) -> bool:
    """Whether what is `age` ms old, and the newest but `rank` - 1, is beyond one of two limits; 0 is none."""
    return (days > 0 and age > days * DAY) or 0 < most < rank
