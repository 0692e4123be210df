"""Pods that no attempt stands behind any more, and their end.

A request to create a pod may reach the API server and be carried out much later: after the process that sent it was
killed, its attempt was given up and the next one opened, or its run was stopped. Nobody waits for such a pod, and it
counts in no executor's slots, so it is deleted as soon as it is seen.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import structlog

from runabout.control.ledger import Ledger
from runabout.control.metrics import Metrics
from runabout.datamanager import Damaged, Unavailable
from runabout.executors.driver import Done, PodRef, Removal
from runabout.executors.names import PodKey, parse_labels
from runabout.executors.podview import pod_view
from runabout.kube.objects import JsonObject, metadata, text
from runabout.records.encoding import RecordError

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 10.0
"""Between two looks at all pods: one may have become a stray without changing."""


class Remover(Protocol):
    """What is needed of a driver."""

    async def remove(self, pod: PodRef) -> Removal:
        """See :class:`runabout.executors.driver.Driver`."""
        ...


class Strays:
    """Finds and removes them.

    `pods` returns all pods as last seen, trimmed; `in_hand` says whether a pass takes care of an attempt.
    """

    def __init__(
        self,
        *,
        pods: Callable[[], Iterator[JsonObject]],
        in_hand: Callable[[PodKey], bool],
        ledger: Ledger,
        driver: Remover,
        metrics: Metrics,
    ) -> None:
        self._pods = pods
        self._in_hand = in_hand
        self._ledger = ledger
        self._driver = driver
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._appeared: list[JsonObject] = []
        """strays among the pods that came since the last look"""

    def appeared(self, pod: JsonObject) -> None:
        """Have a pod that was not there before removed if it is a stray; the others are not looked at for that."""
        if self._candidate(pod) is not None:
            self._appeared.append(pod)
            self._wake.set()

    async def run(self) -> None:
        """Remove strays until cancelled."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            if clock() >= due:
                await self.sweep()
                due = clock() + SWEEP_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            self._wake.clear()
            appeared, self._appeared = self._appeared, []
            await self._look(appeared)

    async def sweep(self) -> None:
        """Remove those there are; what fails is tried the next time."""
        self._appeared.clear()
        await self._look(self._pods())

    async def _look(self, pods: Iterable[JsonObject]) -> None:
        for pod in pods:
            key = self._candidate(pod)
            try:
                stray = key is not None and await self._is_stray(key)
            except (Unavailable, Damaged, RecordError) as error:
                log.info("not known whether a pod is a stray, will be looked at again", error=str(error))
                continue
            # A pass may have taken it in hand while the store was read.
            if stray and key is not None and not self._in_hand(key):
                await self._remove(key, pod)

    def _candidate(self, pod: JsonObject) -> PodKey | None:
        """Return whose pod one is that runs and that nobody has in hand; None for any other pod."""
        found = metadata(pod)
        status, labels = pod.get("status"), found.get("labels")
        phase = text(status, "phase") if isinstance(status, Mapping) else ""
        if phase in ("Succeeded", "Failed") or found.get("deletionTimestamp") or not isinstance(labels, Mapping):
            return None
        key = parse_labels(labels)
        if key is None or self._in_hand(key):
            return None
        return None if pod_view(pod).main.state == "terminated" else key

    async def _is_stray(self, key: PodKey) -> bool:
        """Whether an attempt is over.

        A pod whose run or task the store does not know is left alone: it may be another installation's.
        """
        task = await self._ledger.task(key.run, key.task)
        return task is not None and (
            key.attempt < task.attempt or (key.attempt == task.attempt and task.executor is None)
        )

    async def _remove(self, key: PodKey, pod: JsonObject) -> None:
        found = metadata(pod)
        ref = PodRef(text(found, "namespace"), text(found, "name"), text(found, "uid"))
        answer = await self._driver.remove(ref)
        place = {"run": key.run, "namespace": ref.namespace, "task": key.task, "pod": ref.name}
        if isinstance(answer, Done):
            log.warning("stray pod removed: its attempt is over", **place)
            self._metrics.strays_removed.inc()
        else:
            log.info("stray pod not removed, will be tried again", why=answer.message, **place)
