"""The pods of one run's attempts, as this process knows them.

What decides whether a pod may be created: only the process that committed an assignment creates its pod, and only until
it has seen the pod once. An assignment read from the store at start has no such permission: if its pod is not there, it
is lost, and a new attempt takes its place. So no attempt is executed twice, whatever crashes.
"""

from dataclasses import dataclass
from enum import Enum

from runabout.executors.state import Ended, Fault, Machinery
from runabout.records.json import JsonObject


class Creation(Enum):
    """How far this process got with a pod."""

    WANTED = "wanted"
    """the assignment is committed here; the pod is to be created"""
    SENT = "sent"
    """a request is under way, or its outcome is not known"""
    DONE = "done"
    """the API server said that it exists"""
    FOREIGN = "foreign"
    """the assignment was read from the store: never create it"""


@dataclass(slots=True)
class Attempt:
    """One pod; times are milliseconds since 1970."""

    pod: str
    task: str
    number: int
    creation: Creation
    since: int
    uid: str | None = None
    last: JsonObject | None = None
    """the pod as last seen, trimmed"""
    gone: bool = False
    refused: str = ""
    """why the API server does not take the pod, in its words"""
    refused_since: int | None = None
    next_try: int = 0
    tries: int = 0
    invalid: str = ""
    stop_sent: int | None = None
    fault: Fault | None = None
    """why it has to be ended, or was, for a failure of its own: then that is its end, and not a stop"""
    force_sent: int | None = None
    cleanup_due: int | None = None
    """when a pod whose main container has ended is deleted, if it has not ended by then"""
    force: bool = False
    removed: bool = False
    lost: Ended | Machinery | None = None
    """how it ended that another one follows, while its pod is being removed: what becomes of that is our own doing"""

    @property
    def known(self) -> bool:
        """Whether the pod exists or once did."""
        return self.last is not None or self.creation is Creation.DONE
