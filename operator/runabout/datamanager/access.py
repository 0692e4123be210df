"""Whether etcd lets a writer do what it has to, found out without any effect before anything is changed."""

from runabout.datamanager.batch import MAX_BATCH
from runabout.datamanager.errors import ReadOnly, Refused, StoreError, Unavailable
from runabout.datamanager.head import Keys
from runabout.etcd import (
    Compare,
    Etcd,
    EtcdError,
    FullError,
    KeyRange,
    PermanentEtcdError,
    RequestTooLargeError,
)
from runabout.ost import DeniedError, OstError, UnsuitableError

LARGEST_REQUEST = MAX_BATCH + 64 * 1024
"""Bytes of the largest request: a batch that cannot be compressed, and what stands around it."""
_READS_HAVE_MORE = 512 * 1024
"""A server's limit for a request is looked at twice: for each by gRPC, with this allowance, then for writes alone."""
_NO_HEAD = b"none"
"""No head has this size."""
FULL = "etcd has no room left (its alarm NOSPACE is on) and takes no writes"


async def check_access(etcd: Etcd, keys: Keys) -> None:
    """Ask etcd for a key with a very long name, and to delete nothing on a condition that never holds.

    Raises:
        PermanentEtcdError: it does not take requests of the size of a batch, or this user may not read or write the
            store's keys. Other errors of etcd.
    """
    name = keys.meta + b"?"
    await etcd.get(name + bytes(LARGEST_REQUEST + _READS_HAVE_MORE - len(name)))
    await etcd.txn([Compare(keys.head, _NO_HEAD)], (), deletes=[KeyRange(keys.wal(0), keys.wal(0) + b"\x00")])


def why_not_opened(error: EtcdError | OstError, keys: Keys) -> StoreError:
    """Return what an error of etcd or the object storage means for an opening."""
    if isinstance(error, RequestTooLargeError):
        return Refused(too_large(error, LARGEST_REQUEST))
    if isinstance(error, PermanentEtcdError):
        return Refused(
            f"{error}: etcd's user and password must be right, and the user must be allowed to read and write the keys "
            f"that begin with store/{keys.store}/"
        )
    if isinstance(error, FullError):
        return ReadOnly(f"{FULL}: {error}")
    if isinstance(error, DeniedError | UnsuitableError):
        return Refused(str(error))
    return Unavailable(str(error))


def why_not_written(error: PermanentEtcdError | FullError, size: int) -> Unavailable:
    """Return what the refusal of a batch of `size` bytes means, of which nothing was written."""
    if isinstance(error, RequestTooLargeError):
        return Unavailable(too_large(error, size))
    if isinstance(error, FullError):
        return ReadOnly(f"{FULL}: {error}")
    return Unavailable(str(error))


def too_large(error: RequestTooLargeError, size: int) -> str:
    """Return what to do about a request of some bytes that etcd does not take."""
    return (
        f"etcd does not take a request of {size} bytes, as a transaction may need ({error}): start every member with "
        "--max-request-bytes=2097152 or more"
    )
