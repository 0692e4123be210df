"""Pods that no attempt stands behind any more, and their end.

A request to create a pod may reach the API server and be carried out much later: after the process that sent it was
killed, its attempt was given up and the next one opened, or its run was stopped. Nobody waits for such a pod, and it
counts in no executor's slots, so it is deleted as soon as it is seen.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping

import structlog

from runabout.control.ledger import Ledger
from runabout.control.metrics import Metrics
from runabout.executors.driver import Done, Driver, PodRef
from runabout.executors.names import PodKey, parse_labels
from runabout.executors.podview import pod_view
from runabout.kube.objects import JsonObject, metadata, text

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 10.0
"""Between two looks at all pods: one may have become a stray without changing."""


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
        driver: Driver,
        metrics: Metrics,
    ) -> None:
        self._pods = pods
        self._in_hand = in_hand
        self._ledger = ledger
        self._driver = driver
        self._metrics = metrics
        self._wake = asyncio.Event()

    def appeared(self, pod: JsonObject) -> None:
        """Look at a pod that was not there before."""
        if self._key(pod) is not None:
            self._wake.set()

    async def run(self) -> None:
        """Remove strays until cancelled."""
        while True:
            self._wake.clear()
            await self.sweep()
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def sweep(self) -> None:
        """Remove those there are; what fails is tried the next time."""
        for pod in self._pods():
            key = self._key(pod)
            if key is not None:
                await self._remove(key, pod)

    def _key(self, pod: JsonObject) -> PodKey | None:
        """Return whose pod a stray was; None for any other pod.

        A pod whose run or task the store does not know is left alone: it may be another installation's.
        """
        found = metadata(pod)
        status, labels = pod.get("status"), found.get("labels")
        phase = text(status, "phase") if isinstance(status, Mapping) else ""
        if phase in ("Succeeded", "Failed") or found.get("deletionTimestamp") or not isinstance(labels, Mapping):
            return None
        key = parse_labels(labels)
        if key is None or self._in_hand(key):
            return None
        task = self._ledger.task(key.run, key.task)
        if task is None or key.attempt > task.attempt or (key.attempt == task.attempt and task.executor is not None):
            return None
        return None if pod_view(pod).main.state == "terminated" else key

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
