"""Object storage: one small protocol, with a directory or an S3 bucket behind it.

Everything here is about bytes under keys; what they mean is the datamanager's and the logs' business.
"""

from runabout.ost.errors import (
    AlreadyExistsError,
    ChangedError,
    CorruptError,
    DeniedError,
    FullError,
    InvalidKeyError,
    NotFoundError,
    OstError,
    PermanentOstError,
    RetryableOstError,
    SizeMismatchError,
    UnavailableError,
    UnsuitableError,
    WriteFailedError,
)
from runabout.ost.factory import open_ost
from runabout.ost.memory import MemoryObjectStore
from runabout.ost.observed import ObservedStore, Operation, OstObserver
from runabout.ost.settings import OstSettings
from runabout.ost.store import (
    MAX_KEY_BYTES,
    MAX_PAGE,
    WHOLE,
    Announced,
    ByteRange,
    ObjectInfo,
    ObjectReader,
    ObjectStore,
    SignedRequest,
    iterate,
)
from runabout.ost.waits import Waits

__all__ = [
    "MAX_KEY_BYTES",
    "MAX_PAGE",
    "WHOLE",
    "AlreadyExistsError",
    "Announced",
    "ByteRange",
    "ChangedError",
    "CorruptError",
    "DeniedError",
    "FullError",
    "InvalidKeyError",
    "MemoryObjectStore",
    "NotFoundError",
    "ObjectInfo",
    "ObjectReader",
    "ObjectStore",
    "ObservedStore",
    "Operation",
    "OstError",
    "OstObserver",
    "OstSettings",
    "PermanentOstError",
    "RetryableOstError",
    "SignedRequest",
    "SizeMismatchError",
    "UnavailableError",
    "UnsuitableError",
    "Waits",
    "WriteFailedError",
    "iterate",
    "open_ost",
]
