"""What the watches show, put where passes find it, and the runs it concerns put into the queue.

Everything here is called from one event loop, is cheap, and never waits. Our own writes are no news: what a pass has
made of a Run does not lead to another pass.
"""

import asyncio
from collections.abc import Mapping

from runabout.control.executors import Executors, executor_object
from runabout.control.logs import LogJob
from runabout.control.objects import RunObject, RunObjects, Uid, run_object
from runabout.control.order import Order
from runabout.control.queue import Lane, WorkQueue
from runabout.control.reconciler import Reconciler
from runabout.control.servicelogs import ServiceJob
from runabout.control.strays import Strays
from runabout.executors.names import parse_labels
from runabout.kube.objects import JsonObject, metadata, text

ARRIVAL_SECONDS = 0.3
"""A listing has come to its end when nothing new was in it for so long."""

BEGINNING_SECONDS = 1.0
"""A pod that has come no further than this after it was created, or bound to a node, is looked at."""


class News:
    """Takes what is seen of Runs, Executors (the shell's sink), pods, nodes, namespaces and logs."""

    def __init__(
        self,
        *,
        objects: RunObjects,
        queue: WorkQueue[Uid],
        executors: Executors,
        order: Order,
    ) -> None:
        self._objects = objects
        self._queue = queue
        self._executors = executors
        self._order = order
        self._arrivals: dict[Uid, RunObject] = {}
        """new Runs of a listing that is still under way"""
        self._arrival_timer: asyncio.TimerHandle | None = None
        self._reconciler: Reconciler | None = None
        self._strays: Strays | None = None

    def attach(self, *, reconciler: Reconciler, strays: Strays) -> None:
        """Name those whom news of pods and logs concern: they are made of parts that bring the news."""
        self._reconciler = reconciler
        self._strays = strays

    # our own resources

    def run_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        """Take a Run; one that says nothing new is not looked at again."""
        run = run_object(body)
        if deleted:
            self.run_gone(run.uid)
            return
        if run.uid in self._arrivals:
            self._arrivals[run.uid] = run
            return
        known = self._objects.get(run.uid)
        self._objects.put(run)
        if known is None or _says_more(known, run):
            self._queue.add(run.uid, Lane.NEW if known is None else Lane.BEGUN)

    def run_listed(self, body: Mapping[str, object]) -> None:
        """Take a Run of a listing, which is in the order of names.

        Those that nobody knew yet, as after a gap of the watch, are taken together and in the order in which they were
        created: so their ids follow the order of their arrival.
        """
        run = run_object(body)
        if self._objects.get(run.uid) is not None:
            self.run_seen(body, deleted=False)
            return
        self._arrivals[run.uid] = run
        if self._arrival_timer is not None:
            self._arrival_timer.cancel()
        self._arrival_timer = asyncio.get_running_loop().call_later(ARRIVAL_SECONDS, self._arrived)

    def _arrived(self) -> None:
        for run in sorted(self._arrivals.values(), key=lambda run: run.arrival):
            self._objects.put(run)
            self._queue.add(run.uid, Lane.NEW)
        self._arrivals.clear()

    def run_gone(self, uid: Uid) -> None:
        """Take it that a Run does not exist any more."""
        self._arrivals.pop(uid, None)
        self._objects.remove(uid)
        self._queue.add(uid)

    def executor_seen(self, body: Mapping[str, object], *, deleted: bool) -> None:
        """Take an Executor; the end of one says nothing about another one of the same name."""
        executor = executor_object(body)
        known = self._executors.get(executor.name)
        if deleted:
            if known.uid == executor.uid:
                self._executors.remove(executor.name)
                self._order.executor_removed(executor.name)
            return
        self._executors.put(executor)
        if (known.uid, known.generation, known.labels) != (executor.uid, executor.generation, executor.labels):
            self._order.executor_changed(executor)

    # the cluster's (called by informers, with the object before and after; None: not there)

    def pod_changed(self, before: JsonObject | None, after: JsonObject | None) -> None:
        """Have the run of a pod looked at."""
        pod = after if after is not None else before
        if pod is None:
            return
        labels = metadata(pod).get("labels")
        key = parse_labels(labels) if isinstance(labels, Mapping) else None
        if key is None or self._reconciler is None or self._strays is None:
            return
        uid = self._reconciler.uid_of(key.run)
        if uid is not None and after is not None and _is_beginning(after):
            self._queue.add_after(uid, BEGINNING_SECONDS)
        elif uid is not None:
            self._reconciler.heard(uid)
            self._queue.add(uid, Lane.URGENT if after is None or _has_ended(after) else Lane.BEGUN)
        if before is None:
            self._strays.appeared(pod)

    def node_changed(self, before: JsonObject | None, after: JsonObject | None) -> None:
        """Take a node, trimmed by `trim_node`."""
        node = after if after is not None else before
        if node is None:
            return
        arch = text(node, "arch") if after is not None and after.get("ready") is True else None
        if self._executors.set_node(text(metadata(node), "name"), arch):
            for executor in self._executors:
                self._order.executor_changed(executor)

    def namespace_changed(self, before: JsonObject | None, after: JsonObject | None) -> None:
        """Take a namespace, trimmed by `trim_labels`."""
        item = after if after is not None else before
        if item is None:
            return
        name = text(metadata(item), "name")
        labels = metadata(item).get("labels") if after is not None else None
        found = {str(key): str(value) for key, value in labels.items()} if isinstance(labels, Mapping) else {}
        self._executors.set_namespace(name, found if after is not None else None)
        self._order.namespace_changed(name, found if after is not None else None)

    # our own work

    def log_changed(self, job: LogJob | ServiceJob) -> None:
        """Have the run of a log looked at that is stored, or in trouble."""
        uid = self._reconciler.uid_of(job.run) if self._reconciler is not None else None
        if uid is not None:
            self._queue.add(uid)


def _says_more(known: RunObject, run: RunObject) -> bool:
    """Whether a Run changed in a way that a pass looks at; our own writes are none."""
    return (known.generation, known.deleted) != (run.generation, run.deleted)


def _has_ended(pod: JsonObject) -> bool:
    status = pod.get("status")
    return isinstance(status, Mapping) and text(status, "phase") in ("Succeeded", "Failed")


def _is_beginning(pod: JsonObject) -> bool:
    """Whether nothing can be said of a pod yet: it exists, and perhaps a node has it, but has not begun with it."""
    status = pod.get("status")
    if metadata(pod).get("deletionTimestamp") is not None or not isinstance(status, Mapping):
        return False
    if text(status, "phase") not in ("", "Pending"):
        return False
    if status.get("initContainerStatuses") or status.get("containerStatuses"):
        return False
    conditions = status.get("conditions")
    return not any(
        isinstance(row, Mapping) and row.get("status") == "False"
        for row in (conditions if isinstance(conditions, list) else ())
    )


def trim_labels(item: JsonObject) -> JsonObject:
    """Keep an object's name and labels."""
    found = metadata(item)
    return {"metadata": {"name": found.get("name"), "uid": found.get("uid"), "labels": found.get("labels")}}


def trim_node(item: JsonObject) -> JsonObject:
    """Keep a node's name, its architecture, and whether it takes pods."""
    status = item.get("status")
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    ready = any(
        isinstance(entry, Mapping) and entry.get("type") == "Ready" and entry.get("status") == "True"
        for entry in (conditions if isinstance(conditions, list) else ())
    )
    spec = item.get("spec")
    closed = isinstance(spec, Mapping) and spec.get("unschedulable") is True
    labels = metadata(item).get("labels")
    arch = labels.get("kubernetes.io/arch") if isinstance(labels, Mapping) else ""
    return {
        "metadata": {"name": metadata(item).get("name"), "uid": metadata(item).get("uid")},
        "arch": arch,
        "ready": ready and not closed,
    }
