"""A thin async client of etcd: the few verbs that a transactional log needs, and one error tree.

The port is :class:`Etcd`; behind it is a real server over gRPC (:func:`connect`), a file for one process
(:mod:`runabout.etcd.file`), or :class:`MemoryEtcd` for tests. All pass the same contract tests.
"""

from runabout.etcd.client import GrpcEtcd, connect
from runabout.etcd.connection import Login, TlsFiles
from runabout.etcd.errors import (
    CompactedError,
    EtcdError,
    FullError,
    PermanentEtcdError,
    RequestTooLargeError,
    RetryableEtcdError,
    UnavailableError,
    UnknownOutcomeError,
)
from runabout.etcd.memory import MemoryEtcd
from runabout.etcd.port import Compare, Etcd, KeyRange, KeyValue, Page, Put, TxnResult, WatchEvent
from runabout.etcd.space import DEFAULT_QUOTA, MemberSpace, Upkeep

__all__ = [
    "DEFAULT_QUOTA",
    "CompactedError",
    "Compare",
    "Etcd",
    "EtcdError",
    "FullError",
    "GrpcEtcd",
    "KeyRange",
    "KeyValue",
    "Login",
    "MemberSpace",
    "MemoryEtcd",
    "Page",
    "PermanentEtcdError",
    "Put",
    "RequestTooLargeError",
    "RetryableEtcdError",
    "TlsFiles",
    "TxnResult",
    "UnavailableError",
    "UnknownOutcomeError",
    "Upkeep",
    "WatchEvent",
    "connect",
]
