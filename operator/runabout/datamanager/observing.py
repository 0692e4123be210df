"""What a store tells whoever watches over it, as plain calls: this package knows nothing of metrics or logs."""

from typing import Literal, Protocol

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

    def space_seen(self, space: MemberSpace, quota: int | None, words: str) -> None:
        """The fullest member of etcd, its quota (None: it has none), and what there is to say about it, if anything."""
        ...


class _Nobody:
    """Watches over nothing."""

    def committed(self, *, transactions: int, size: int, seconds: float) -> None:
        pass

    def sealed(self, *, batches: int, size: int, seconds: float) -> None:
        pass

    def covered(self, *, covers: int, seconds: float) -> None:
        pass

    def failed(self, work: Work, error: Exception) -> None:
        pass

    def space_seen(self, space: MemberSpace, quota: int | None, words: str) -> None:
        pass


NOBODY: Observer = _Nobody()
