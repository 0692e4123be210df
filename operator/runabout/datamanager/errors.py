"""What can happen to a transaction or a store. The names are the outcomes themselves."""

from runabout.datamanager.transaction import BatchId


class StoreError(Exception):
    """The root of the tree."""


class Conflict(StoreError):  # noqa: N818 - an outcome
    """Another transaction wrote one of the groups after `read_at`: read again and try again."""


class TooLarge(StoreError):  # noqa: N818 - an outcome
    """The transaction alone is over the size of a batch: split it."""


class Unavailable(StoreError):  # noqa: N818 - an outcome
    """Nothing was written: etcd cannot be reached, or too much is waiting. Try again later."""


class ReadOnly(Unavailable):
    """Nothing was written, since etcd has no room left, or soon has none; the message says how much there is.

    This ends by itself when there is room again.
    """


class Unreadable(Unavailable):
    """A document could not be read, since the object storage does not answer: try again later. Nothing is wrong."""


class Refused(StoreError):  # noqa: N818 - an outcome
    """The store was not opened: a setting, a right or a limit is wrong, and the message says which. Nothing changed."""


class NewerFormat(Refused):
    """A newer version of this program wrote a part of the store: no older part may stand in for it."""


class StorageFailed(StoreError):  # noqa: N818 - an outcome
    """The object storage's device failed in a write: what it has said to be on the disk may not be.

    The store is read-only until it is opened again, which finds out.
    """


class Gone(StoreError):  # noqa: N818 - an outcome
    """What was asked for was there once and has been removed: begin later."""


class Unknown(StoreError):  # noqa: N818 - an outcome
    """No definite answer came before the deadline; the writer keeps asking; `Store.settled` waits until it knows.

    `Store.outcome` says by `batch` what became of it, also in a later process; the message ends with it. If commits are
    acknowledged when they are sealed: it is in etcd, perhaps, and not on the object storage yet.
    """

    def __init__(self, message: str, *, batch: BatchId) -> None:
        super().__init__(f"{message} (batch {batch})")
        self.batch = batch


class Fenced(StoreError):  # noqa: N818 - an outcome
    """Another writer has opened the store, or etcd was wiped or set back: this writer must stop."""


class BrokenLog(StoreError):  # noqa: N818 - an outcome
    """The log cannot be continued at some place; nothing is repaired silently. The message names the key."""


class Damaged(BrokenLog):
    """What an object should have is not there, or not what was stored; `object` is its key."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.object = key


class SplitHistory(BrokenLog):
    """Two logs were continued from one place, and the object storage has the other one."""


class MissingBatch(BrokenLog):
    """A batch that should be in etcd is not there: lost, or moved on by an earlier writer that is not yet fenced."""


BROKEN_OR_NEWER = (BrokenLog, NewerFormat)
"""Why a part cannot be read, for those who look at all of them and go on."""
