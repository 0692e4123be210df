"""Looking at a store until what is found is the same twice: what a writer moves meanwhile is no damage."""

from dataclasses import dataclass

from runabout.datamanager.audit.entries import Log, look_at_state
from runabout.datamanager.audit.index import Indexes
from runabout.datamanager.audit.meaning import Finding, explain
from runabout.datamanager.audit.objects import Objects
from runabout.datamanager.audit.seen import Damage, Part, Seen
from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.head import Keys
from runabout.datamanager.indexed import IndexSource
from runabout.datamanager.objects import was_opened
from runabout.datamanager.progress import Progress, silent
from runabout.etcd import Etcd
from runabout.ost import ObjectStore

LOOKS = 5
"""After which only what was found in the last two looks is reported."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a check has found."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    """What is no damage, but good to know."""
    sequence: int
    objects: int
    """Whole ones."""
    size: int
    """Their bytes."""
    batches: int


async def audit_store(
    etcd: Etcd, ost: ObjectStore, keys: Keys, *, index: IndexSource | None = None, progress: Progress = silent
) -> Report:
    """Verify everything that a store has; changes nothing, and works while somebody writes the store.

    With `index` the rows of the newest index files are compared with the documents; which labels are indexed is taken
    from the store.

    Raises:
        BrokenLog: there is no store. Unavailable: the index's scratch folder takes no more. Errors of etcd and of the
            object storage: it could not be checked.
    """
    objects = Objects(ost, keys, progress, Indexes(ost, index))
    before: set[tuple[Part, str]] | None = None
    for look in range(1, LOOKS + 1):
        seen = await _look(etcd, objects, keys, progress)
        found = {_name(each) for each in seen.damages}
        if not found or (before is not None and (found <= before or look == LOOKS)):
            break
        before = found
    seen.damages = [each for each in seen.damages if _name(each) in (before or ())]
    head = seen.head_now or seen.head
    return Report(
        tuple(explain(seen)),
        tuple(seen.notes),
        seen.end if head is None else head.sequence,
        seen.objects,
        seen.size,
        seen.batches,
    )


def _name(damage: Damage) -> tuple[Part, str]:
    return damage.part, damage.where


async def _look(etcd: Etcd, objects: Objects, keys: Keys, progress: Progress) -> Seen:
    seen = Seen(keys)
    await look_at_state(etcd, seen)
    await objects.look(seen)
    await Log(etcd, seen, progress).look()
    if not seen.raw and not seen.in_ost:
        raise BrokenLog(f"there is no store {keys.store}: neither in etcd nor on the object storage")
    if not seen.raw and not await was_opened(objects.ost, keys):
        seen.notes.append("the store's first opening was cut off: nobody has committed anything, the next one makes it")
    elif keys.meta not in seen.raw and keys.head not in seen.raw:
        seen.add(
            Part.LIFE, keys.head, f"is missing: etcd has no store, the object storage ends with sequence {seen.end}"
        )
    elif seen.head_now is not None and seen.head_now.sequence < seen.end and seen.segments:
        what = f"says sequence {seen.head_now.sequence}, the object storage ends with {seen.end}"
        seen.add(Part.LIFE, keys.head, what)
    return seen
