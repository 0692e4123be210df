"""What a store tells whoever watches over it, as plain calls: this package knows nothing of metrics or logs."""

from typing import Literal, Protocol

from runabout.datamanager.progress import Step
from runabout.datamanager.recovery import Recovery
from runabout.etcd import MemberSpace

Work = Literal["seal", "checkpoint"]


class Observer(Protocol):
    """Calls from the event loop; they raise nothing and take no time. Sizes are in bytes."""

    def committed(self, *, transactions: int, size: int, seconds: float) -> None:
        """A batch of `size` is in etcd; `seconds` from the first request to the definite answer."""
        ...

    def sealed(self, *, batches: int, size: int, seconds: float) -> None:
        """A segment of `size` is on the object storage, and etcd knows."""
        ...

    def covered(self, *, covers: int, seconds: float) -> None:
        """A checkpoint is published that covers the log up to a sequence."""
        ...

    def failed(self, work: Work, error: Exception) -> None:
        """An attempt failed and is made again a little later."""
        ...

    def recovers(self, recovery: Recovery) -> None:
        """An opening is about to go on from the object storage, because etcd was wiped or set back.

        Said before it is done: whoever opens the store next, after this process has died in it, finds a store to which
        nothing has happened.
        """
        ...

    def opening(self, step: Step) -> None:
        """An opening that reads much is so far; told often."""
        ...

    def space_seen(self, space: MemberSpace, quota: int | None, words: str) -> None:
        """The fullest member of etcd, its quota (None: it has none), and what there is to say about it, if anything."""
        ...


class Nobody:
    """Watches over nothing; to be extended by who wants to hear only some calls."""

    def committed(self, *, transactions: int, size: int, seconds: float) -> None:
        """See `Observer.committed`."""

    def sealed(self, *, batches: int, size: int, seconds: float) -> None:
        """See `Observer.sealed`."""

    def covered(self, *, covers: int, seconds: float) -> None:
        """See `Observer.covered`."""

    def failed(self, work: Work, error: Exception) -> None:
        """See `Observer.failed`."""

    def recovers(self, recovery: Recovery) -> None:
        """See `Observer.recovers`."""

    def opening(self, step: Step) -> None:
        """See `Observer.opening`."""

    def space_seen(self, space: MemberSpace, quota: int | None, words: str) -> None:
        """See `Observer.space_seen`."""


NOBODY: Observer = Nobody()
