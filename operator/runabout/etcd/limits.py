"""What a server takes in one call: the same for all that stand in its place."""

from collections.abc import Sequence

from runabout.etcd.errors import PermanentEtcdError, RequestTooLargeError
from runabout.etcd.port import KeyRange, Put

MAX_OPERATIONS = 128
"""Puts and deletes of one transaction; etcd's own default, as the next one."""
MAX_REQUEST = 1536 * 1024
"""Bytes of one call."""


def check_size(size: int, most: int = MAX_REQUEST) -> None:
    """Refuse a request of `size` bytes that is over the limit.

    Raises:
        RequestTooLargeError
    """
    if size > most:
        raise RequestTooLargeError(f"a request of {size} bytes is over etcd's limit of {most}")


def put_size(puts: Sequence[Put]) -> int:
    """Return the bytes of what is to be written."""
    return sum(len(each.key) + len(each.value) for each in puts)


def check_operations(puts: Sequence[Put], deletes: Sequence[KeyRange]) -> None:
    """Refuse a transaction with too many operations, or that changes a key twice.

    Raises:
        PermanentEtcdError
    """
    if len(puts) + len(deletes) > MAX_OPERATIONS:
        raise PermanentEtcdError(f"{len(puts) + len(deletes)} operations are over etcd's limit of {MAX_OPERATIONS}")
    twice = any(item.start <= put.key < item.end for item in deletes for put in puts)
    if twice or len({item.key for item in puts}) < len(puts):
        raise PermanentEtcdError("etcd writes a key at most once in a transaction")
