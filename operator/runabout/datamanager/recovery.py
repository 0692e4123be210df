"""What the opening of a store makes of what etcd and the object storage show: pure, so that every case can be listed.

The rule: the history on the object storage is the truth up to its end. What etcd has beyond it counts if it continues
it. What does not continue it belongs to a life of etcd that was set back or made anew, and goes to quarantine.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from runabout.datamanager.batch import Link
from runabout.datamanager.errors import BrokenLog
from runabout.datamanager.head import Head, Keys, Sealed


class Case(Enum):
    """In which state a store was found."""

    NEW = "new"
    """Nothing anywhere, or only what openings left that were cut off before anybody could commit."""
    NORMAL = "normal"
    """etcd continues the object storage."""
    WIPED = "wiped"
    """etcd is empty, the object storage is not."""
    SET_BACK = "set back"
    """etcd ends before the object storage does, or continues something else."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was lost, for people and for tests: everything committed after `sequence`, in so far as there was any."""

    case: Case
    sequence: int
    """The last one of the history that goes on; its end on the object storage."""
    sealed_at: datetime | None
    """When that end was stored, by the object storage's clock; what was committed before is kept."""
    head: Head | None
    """What etcd said: None if it was wiped."""
    refused: tuple[int, int] | None = None
    """The first and last sequence in etcd that do not belong to this history."""
    quarantine: tuple[str, ...] = ()
    """The objects in which they are kept."""

    def __str__(self) -> str:
        when = f", sealed at {self.sealed_at:%Y-%m-%dT%H:%M:%SZ}," if self.sealed_at is not None else ""
        found = "nothing" if self.head is None else f"sequence {self.head.sequence}"
        kept = ""
        if self.refused is not None:
            kept = (
                f"; its sequences {self.refused[0]} to {self.refused[1]} are of another history and were put aside in "
                f"{', '.join(self.quarantine)}"
            )
        return (
            f"etcd was {self.case.value}: it had {found}, the object storage goes up to sequence {self.sequence}{when} "
            f"and that is what goes on. Whatever was committed after it is lost{kept}"
        )


def judge(
    keys: Keys, *, head: Head | None, known: bool, end: Sealed, pointer: Sealed | None, following: Link | None
) -> Case:
    """Return in which state a store is.

    Args:
        keys: Names, for errors.
        head: What etcd says, None if there is no store in it.
        known: Whether the object storage knows this store as one that was open once.
        end: The last segment of the history on the object storage.
        pointer: What etcd says is sealed.
        following: The batch in etcd that comes after `end` by its sequence, None if there is none.

    Raises:
        BrokenLog: something is missing that was there.
    """
    if head is None:
        return Case.WIPED if known else Case.NEW
    if pointer is not None and pointer.last > end.last:
        raise BrokenLog(
            f"the object {keys.segment(pointer.first)} is missing: {keys.sealed.decode()} says that it holds the log "
            f"up to sequence {pointer.last}, and the object storage ends with {end.last}"
        )
    if head.sequence < end.last:
        return Case.SET_BACK
    if head.sequence == end.last:
        return Case.NORMAL if head.chain == end.chain else Case.SET_BACK
    if following is None:
        raise BrokenLog(f"{keys.wal(end.last + 1).decode()} is missing: the head says {head.sequence}")
    return Case.NORMAL if following.previous == end.chain else Case.SET_BACK
