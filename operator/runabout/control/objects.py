"""Runs as the API server shows them: the cache that the watch fills and the reconciler reads.

Only what reconciling needs is kept: of a Run that is over, whose record has all that was asked for, the spec is cut
down to the few fields that a pass still looks at, for as long as the Run exists. Objects are known by uid, so a Run
that is deleted and created again under the same name is another one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NewType

from runabout.records import Approval, Verdict

Uid = NewType("Uid", str)

FINALIZER = "runabout.dev/record"
"""Holds a Run until its record and logs are stored."""

_KEPT = ("stop", "suspend", "approvals", "priority", "ttlSecondsAfterFinished")
"""Fields of the spec that a pass looks at even if the run has its record."""


@dataclass(frozen=True, slots=True)
class RunObject:
    """One Run; times are milliseconds since 1970."""

    uid: Uid
    namespace: str
    name: str
    generation: int
    resource_version: str
    created: int
    deleted: int | None
    finalizers: tuple[str, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Mapping[str, object]
    status: Mapping[str, object]

    @property
    def arrival(self) -> tuple[int, str, str]:
        """What orders the Runs of one listing."""
        return (self.created, self.namespace, self.name)

    @property
    def held(self) -> bool:
        """Whether our finalizer is on it."""
        return FINALIZER in self.finalizers

    @property
    def approvals(self) -> tuple[Approval, ...]:
        """What people said, of tasks that the run has or not; the API server has checked who it was."""
        rows = self.spec.get("approvals")
        return tuple(_approvals(rows)) if isinstance(rows, list | tuple) else ()


def milliseconds(text: object) -> int | None:
    """Return a Kubernetes time (`2026-01-02T03:04:05Z`) in milliseconds since 1970, None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _strings(value: object) -> dict[str, str]:
    return {str(key): str(item) for key, item in _mapping(value).items()}


def _spec(body: Mapping[str, object]) -> Mapping[str, object]:
    """Return the spec; what the API server's schema should have refused becomes a setup error."""
    spec = body.get("spec")
    if isinstance(spec, Mapping):
        return spec
    found = "Required value" if spec is None else f"Invalid value: must be of type object, not {type(spec).__name__}"
    return {"setupErrors": [f"spec: {found}"]}


def _approvals(rows: Iterable[object]) -> Iterator[Approval]:
    for row in map(_mapping, rows):
        verdict, groups = row.get("verdict", Verdict.APPROVED.value), row.get("groups")
        if row and verdict in [known.value for known in Verdict]:
            yield Approval(
                task=str(row.get("task", "")),
                by=str(row.get("by", "")),
                verdict=Verdict(str(verdict)),
                groups=tuple(map(str, groups)) if isinstance(groups, list | tuple) else (),
            )


def run_object(body: Mapping[str, object]) -> RunObject:
    """Return the Run in `body`, an object as the API server sends it; missing parts are empty."""
    metadata = _mapping(body.get("metadata"))
    finalizers = metadata.get("finalizers")
    generation = metadata.get("generation")
    return RunObject(
        uid=Uid(str(metadata.get("uid", ""))),
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "")),
        generation=generation if isinstance(generation, int) else 0,
        resource_version=str(metadata.get("resourceVersion", "")),
        created=milliseconds(metadata.get("creationTimestamp")) or 0,
        deleted=milliseconds(metadata.get("deletionTimestamp")),
        finalizers=tuple(str(item) for item in finalizers) if isinstance(finalizers, list | tuple) else (),
        labels=_strings(metadata.get("labels")),
        annotations={
            key: value
            for key, value in _strings(metadata.get("annotations")).items()
            if key != "kubectl.kubernetes.io/last-applied-configuration"
        },
        spec=_spec(body),
        status=_mapping(body.get("status")),
    )


class RunObjects:
    """The Runs known to exist."""

    def __init__(self) -> None:
        self._by_uid: dict[Uid, RunObject] = {}
        self._by_name: dict[tuple[str, str], Uid] = {}
        self._over: set[Uid] = set()
        self._leaving: set[Uid] = set()

    def __len__(self) -> int:
        return len(self._by_uid)

    def get(self, uid: Uid) -> RunObject | None:
        """Return the Run, or None if it is not known to exist."""
        return self._by_uid.get(uid)

    def named(self, namespace: str, name: str) -> RunObject | None:
        """Return the Run that has a name now, or None if none is known."""
        uid = self._by_name.get((namespace, name))
        return None if uid is None else self._by_uid.get(uid)

    def put(self, run: RunObject) -> None:
        """Take what the API server showed; an older version than the known one is ignored."""
        known = self._by_uid.get(run.uid)
        if known is not None and _older(run.resource_version, known.resource_version):
            return
        self._by_uid[run.uid] = _small(run) if run.uid in self._over else run
        self._by_name[run.namespace, run.name] = run.uid
        if run.deleted is not None:
            self._leaving.add(run.uid)

    def over(self, uid: Uid) -> None:
        """Keep little of a Run whose run is over and recorded, now and whenever it is shown again."""
        run = self._by_uid.get(uid)
        if run is not None and uid not in self._over:
            self._over.add(uid)
            self._by_uid[uid] = _small(run)

    def remove(self, uid: Uid) -> None:
        """Forget a Run that is gone."""
        run = self._by_uid.pop(uid, None)
        if run is not None and self._by_name.get((run.namespace, run.name)) == uid:
            del self._by_name[run.namespace, run.name]
        self._over.discard(uid)
        self._leaving.discard(uid)

    def leaving(self) -> tuple[RunObject, ...]:
        """Return the Runs whose deletion was asked for and that still exist, a snapshot."""
        return tuple(self._by_uid[uid] for uid in self._leaving)

    def uids(self) -> Iterable[Uid]:
        """Return the uids of all known Runs, a snapshot."""
        return tuple(self._by_uid)


def _small(run: RunObject) -> RunObject:
    return replace(run, spec={name: run.spec[name] for name in _KEPT if name in run.spec})


def _older(one: str, other: str) -> bool:
    """Whether one resource version is before another; those that are no numbers cannot be compared."""
    return one.isdigit() and other.isdigit() and int(one) < int(other)
