"""What damage means, what other copy there is, and what to do: pure, from one look at a store.

The rule: a checkpoint and all of the log after it say everything. If any such pair is whole, nothing is lost, whatever
else is damaged. What an opening insists on besides (pointers that can be read, the segment with which a checkpoint
ends) decides whether the store can be opened as it is.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from runabout.datamanager.audit.seen import Damage, Part, Seen, joined
from runabout.datamanager.loading import Base

BACKUP = "put the object back from a backup or from an older version in the bucket"
MOVE = "`runabout data export` does not need it: export the store, and import that into an empty one"
RESTART = "restart the operator: its next checkpoint takes its place"
REINDEX = "restart the operator: it makes this part of the index again from the documents"
OLD = "nothing: it goes with its checkpoint, which is an old one"
LAST_EXPORT = "without one, what is left is the last export"


@dataclass(frozen=True, slots=True)
class Finding:
    """One damage, for a person."""

    where: str
    """Its key."""
    what: str
    means: str
    todo: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is left, all damage considered."""

    seen: Seen
    end: int
    """The last sequence that anything says was committed."""
    recoverable: bool
    """Whether there is a checkpoint after which all of the log is there, or all of the log."""
    opens: bool
    """Whether an operator can open the store as it is."""
    reads: bool
    """Whether it can then read all documents: from one checkpoint and the segments after it."""
    reachable: int
    """Up to which sequence the documents can be had."""

    def source(self, covers: int) -> str:
        """Return what else says all that a checkpoint up to a sequence says; nothing if nothing does."""
        log, manifests = joined(self.seen.log, self.seen.etcd), self.seen.keys.manifests
        for base in self.seen.newest_first():
            if _covers(base) >= covers or log.reach(_covers(base)) >= covers:
                return f"the checkpoint {manifests}{base.pointer.name} and the log after it say"
        return "the log from its beginning says" if log.reach(0) >= covers else ""


def explain(seen: Seen) -> list[Finding]:
    """Return what the damages of a look mean."""
    verdict = judge(seen)
    return [_finding(each, verdict) for each in seen.damages]


def _finding(damage: Damage, verdict: Verdict) -> Finding:
    means, todo = _EXPLAIN[damage.part](damage, verdict)
    if "this version cannot read" in damage.what:
        todo = f"use a newer version if one wrote it; otherwise {todo}"
    return Finding(damage.where, damage.what, means, todo)


def judge(seen: Seen) -> Verdict:
    """Find out what is left."""
    heads = [0 if head is None else head.sequence for head in (seen.head, seen.head_now)]
    end = max(*heads, seen.end, 0 if seen.sealed is None else seen.sealed.last)
    if _set_back(seen):
        end = seen.end  # the object storage is the truth
    log = joined(seen.log, seen.etcd)
    bases: list[Base | None] = [*seen.newest_first(), None]
    reachable = max(log.reach(_covers(base)) for base in bases)
    return Verdict(seen, end, reachable >= end, _opens(seen), _stands(seen, seen.newest_first()), reachable)


def _opens(seen: Seen) -> bool:
    stops = {Part.IDENTITY, Part.STRANGER, Part.STATE}
    newer = {Part.MANIFEST, Part.SEGMENT, Part.BATCH}
    if any(each.part in stops or (each.part in newer and each.newer) for each in seen.damages):
        return False
    keys = seen.keys
    for key, value in ((keys.sealed, seen.sealed), (keys.manifest, seen.pointer)):
        if key in seen.raw and value is None:
            return False
    if seen.end and not _stands(seen, seen.openable()):
        return False
    if seen.sealed is not None and seen.sealed.last > seen.end:
        return False
    head = seen.head_now or seen.head
    # What etcd has of another history is put aside.
    return head is None or _set_back(seen) or seen.etcd.have(seen.end + 1, head.sequence)


def _stands(seen: Seen, found: Iterable[Base]) -> bool:
    """Return whether an opening can go on from one of some checkpoints, or without one."""
    bases: list[Base | None] = [*found, None]
    return any(
        (base is None or seen.segments.get(base.manifest.sealed.first) == base.manifest.sealed)
        and seen.log.reach(_covers(base)) >= seen.end
        for base in bases
    )


def _set_back(seen: Seen) -> bool:
    return any(each.part in {Part.LIFE, Part.FOREIGN} for each in seen.damages)


def _covers(base: Base | None) -> int:
    return 0 if base is None else base.manifest.covers


def _whether(verdict: Verdict) -> str:
    if not verdict.opens:
        return "; the store cannot be opened as it is"
    return "" if verdict.reads else "; the store can be opened, but not all of it can be read"


def _log_part(damage: Damage, verdict: Verdict) -> tuple[str, str]:
    """Explain a segment or a batch."""
    seen = verdict.seen
    covered = next((base for base in seen.newest_first() if _covers(base) >= damage.last), None)
    part = f"sequences {damage.first} to {damage.last}" if damage.last > damage.first else f"sequence {damage.first}"
    segment = damage.part is Part.SEGMENT
    if covered is not None:
        kept = f"nothing is lost: the checkpoint {seen.keys.manifests}{covered.pointer.name} has what {part} did"
    elif segment and seen.etcd.have(damage.first, damage.last):
        kept = f"nothing is lost: etcd still has {part}"
    elif not segment and seen.log.have(damage.first, damage.last):
        kept = f"nothing is lost: the object storage has {part}"
    else:
        return _lost(part, verdict, segment=segment)
    if segment and not (verdict.opens and verdict.reads):
        return kept + _whether(verdict), f"{BACKUP}, or: {MOVE}" if verdict.recoverable else BACKUP
    return kept + _whether(verdict), "nothing: the operator removes it when no checkpoint needs it any more"


def _lost(part: str, verdict: Verdict, *, segment: bool) -> tuple[str, str]:
    rest = f"the documents can be had as of sequence {verdict.reachable}" if verdict.reachable else "nothing can be had"
    means = f"the transactions of {part} are nowhere else; without them {rest}{_whether(verdict)}"
    keep = "an operator that runs may have the documents in memory: do not end it before"
    if segment:
        return means, f"{BACKUP}; {LAST_EXPORT}; {keep}"
    end = verdict.seen.end
    advice = "restore etcd from a snapshot that has it"
    if end and _stands(verdict.seen, verdict.seen.newest_first()):
        prefix = verdict.seen.keys.prefix
        advice += (
            f"; without one, end the operator and delete all keys below {prefix} in etcd: its next start goes on from "
            f"the object storage, which ends with sequence {end}"
        )
    else:
        advice += f"; {LAST_EXPORT}"
    return means, f"{advice}; {keep}"


def _manifest(damage: Damage, verdict: Verdict) -> tuple[str, str]:
    seen, source = verdict.seen, verdict.source(damage.covers)
    if not source:
        what = f"which data files make the documents as of sequence {damage.covers} is written nowhere else"
        return f"{what}; {_left(verdict)}", f"{BACKUP}; {LAST_EXPORT}"
    if seen.pointer is not None and damage.where == seen.keys.manifests + seen.pointer.name:
        return _replaced(source, verdict, RESTART)
    if damage.what.startswith("is missing"):
        return _replaced(source, verdict, "nothing: an opening has one checkpoint less to fall back on")
    return _replaced(source, verdict, "delete the object: nothing is collected while it is there")


def _data(damage: Damage, verdict: Verdict) -> tuple[str, str]:
    seen, file, source = verdict.seen, damage.file, verdict.source(damage.covers)
    if source:
        newest = max(map(_covers, seen.bases.values()), default=0)
        return _replaced(source, verdict, RESTART if damage.covers == newest else OLD)
    what = "documents"
    if file is not None:
        what = f"{file.count} documents of the type {file.type}, {file.first} to {file.last},"
    return (
        f"{what} as they were at sequence {damage.covers} are nowhere else; {_left(verdict)}",
        f"{BACKUP}, which an operator that runs then reads; {LAST_EXPORT}",
    )


def _index(damage: Damage, verdict: Verdict) -> tuple[str, str]:
    newest = max(map(_covers, verdict.seen.bases.values()), default=0)
    means = f"nothing is lost: the documents say the same{_whether(verdict)}"
    return means, REINDEX if damage.covers == newest else OLD


def _rows(damage: Damage, verdict: Verdict) -> tuple[str, str]:
    means = f"nothing is lost, but lists of runs are wrong: the documents say what is right{_whether(verdict)}"
    if damage.where.startswith(verdict.seen.keys.index):
        return means, f"report this as a bug; then delete the object, and {REINDEX}"
    return means, "report this as a bug; export the store, and import that into an empty one, which makes a new index"


def _replaced(source: str, verdict: Verdict, todo: str) -> tuple[str, str]:
    """Explain what something else says as well."""
    means = f"nothing is lost: {source} the same{_whether(verdict)}"
    if verdict.opens and verdict.reads:
        return means, todo
    return means, f"{BACKUP}, or: {MOVE}" if verdict.recoverable else BACKUP


def _left(verdict: Verdict) -> str:
    return f"what is left ends with sequence {verdict.reachable}{_whether(verdict)}"


def _state(_damage: Damage, verdict: Verdict) -> tuple[str, str]:
    seen = verdict.seen
    means = "nobody can say from this key how far the log is, or who writes it; the store cannot be opened as it is"
    advice = "restore etcd from a snapshot"
    if seen.end:
        return (
            f"{means}. The object storage has the documents as of sequence {seen.end}",
            (
                f"{advice}; without one, end the operator and delete all keys below {seen.keys.prefix} in etcd: its "
                f"next start goes on from the object storage"
            ),
        )
    return means, f"{advice}; {LAST_EXPORT}"


def _owner(_damage: Damage, _verdict: Verdict) -> tuple[str, str]:
    return "nothing is lost; no checkpoint can be made", "restart the operator: an opening writes this key"


def _sealed(damage: Damage, verdict: Verdict) -> tuple[str, str]:
    return _pointer_means("the segments themselves say how far the log is sealed", damage, verdict)


def _pointer(damage: Damage, verdict: Verdict) -> tuple[str, str]:
    return _pointer_means("an opening looks for the newest checkpoint itself", damage, verdict)


def _pointer_means(why: str, damage: Damage, verdict: Verdict) -> tuple[str, str]:
    if not verdict.recoverable:
        return f"{why}; what else is damaged decides what is lost", "see what is said of the other damage"
    means = f"nothing is lost: {why}{_whether(verdict)}"
    if verdict.opens:
        return means, "restart the operator: it writes this key again"
    return (
        means,
        (f"end the operator, delete the key {damage.where} in etcd, and start it again"),
    )


def _life(_damage: Damage, verdict: Verdict) -> tuple[str, str]:
    return (
        (
            f"etcd was wiped or set back to an older state. What is sealed is kept, up to sequence "
            f"{verdict.seen.end}; what was committed after that is lost"
        ),
        "restart the operator: it goes on from the object storage, puts aside what etcd has besides, and says so",
    )


def _surplus(_damage: Damage, _verdict: Verdict) -> tuple[str, str]:
    return (
        "nothing is lost: the head says what was committed, and this was not written by a commit",
        "find out who writes to this etcd; the next commit takes its place",
    )


def _identity(_damage: Damage, verdict: Verdict) -> tuple[str, str]:
    meta = verdict.seen.meta
    known = "" if meta is None else f" (`runabout-store-2` and the 16 bytes {meta.store_id.hex()})"
    return (
        "nobody can say whether etcd and the object storage belong together; the store cannot be opened as it is",
        f"see whether RUNABOUT_OST names the right place; if it does, {BACKUP}{known}",
    )


def _stranger(_damage: Damage, _verdict: Verdict) -> tuple[str, str]:
    return (
        "etcd and the object storage are of two installations; the store cannot be opened as it is",
        "correct RUNABOUT_ETCD_ENDPOINTS, RUNABOUT_STORE, or RUNABOUT_OST",
    )


def _epoch(damage: Damage, verdict: Verdict) -> tuple[str, str]:
    head = verdict.seen.head
    if head is not None and damage.where == verdict.seen.keys.epoch(head.epoch):
        means = "nothing is lost; if etcd is set back now, this epoch may be given to a second writer"
    else:
        means = "nothing is lost: an opening takes an epoch above the highest one that was ever given"
    return means, "create the object again, empty; find out who deletes or writes objects here"


def _quarantine(_damage: Damage, _verdict: Verdict) -> tuple[str, str]:
    return "batches that an opening refused can no longer be looked at; the store does not need them", "nothing"


_EXPLAIN: Mapping[Part, Callable[[Damage, Verdict], tuple[str, str]]] = {
    Part.STATE: _state,
    Part.OWNER: _owner,
    Part.SEALED: _sealed,
    Part.POINTER: _pointer,
    Part.LIFE: _life,
    Part.FOREIGN: _life,
    Part.BATCH: _log_part,
    Part.SURPLUS: _surplus,
    Part.IDENTITY: _identity,
    Part.STRANGER: _stranger,
    Part.EPOCH: _epoch,
    Part.SEGMENT: _log_part,
    Part.MANIFEST: _manifest,
    Part.DATA: _data,
    Part.INDEX: _index,
    Part.ROWS: _rows,
    Part.QUARANTINE: _quarantine,
}
