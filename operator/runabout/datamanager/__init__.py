"""The datamanager: a transactional store of small documents, a log in etcd.

A transaction is acknowledged when an etcd quorum has it; reads are from memory and, what a checkpoint covers, from the
object storage. There is one writer at a time, and its
safety rests on a compare in each commit, never on a lease or a clock. docs/internals/datamanager.md has the protocol.
"""

from runabout.datamanager.checkpointer import Checkpointer, CheckpointPolicy
from runabout.datamanager.datareader import CacheUse, ReadPolicy
from runabout.datamanager.durability import Durability
from runabout.datamanager.errors import (
    BrokenLog,
    Conflict,
    Damaged,
    Fenced,
    Gone,
    NewerFormat,
    ReadOnly,
    Refused,
    StorageFailed,
    StoreError,
    TooLarge,
    Unavailable,
    Unknown,
    Unreadable,
)
from runabout.datamanager.follow import Follower, follow_store
from runabout.datamanager.indexed import IndexSize, IndexSource, Runs
from runabout.datamanager.joining import open_store
from runabout.datamanager.observing import Observer, Work
from runabout.datamanager.outcome import Outcome
from runabout.datamanager.recovery import Case, Recovery
from runabout.datamanager.sealer import Sealer, SealPolicy
from runabout.datamanager.space import SpacePolicy, Verdict
from runabout.datamanager.store import Store
from runabout.datamanager.tables import Column, Kind, Table, Tables, Value
from runabout.datamanager.transaction import Action, Append, BatchId, Committed, Delete, Put, Sequence, Transaction
from runabout.datamanager.vitals import Vitals, vitals

__all__ = [
    "Action",
    "Append",
    "BatchId",
    "BrokenLog",
    "CacheUse",
    "Case",
    "CheckpointPolicy",
    "Checkpointer",
    "Column",
    "Committed",
    "Conflict",
    "Damaged",
    "Delete",
    "Durability",
    "Fenced",
    "Follower",
    "Gone",
    "IndexSize",
    "IndexSource",
    "Kind",
    "NewerFormat",
    "Observer",
    "Outcome",
    "Put",
    "ReadOnly",
    "ReadPolicy",
    "Recovery",
    "Refused",
    "Runs",
    "SealPolicy",
    "Sealer",
    "Sequence",
    "SpacePolicy",
    "StorageFailed",
    "Store",
    "StoreError",
    "Table",
    "Tables",
    "TooLarge",
    "Transaction",
    "Unavailable",
    "Unknown",
    "Unreadable",
    "Value",
    "Verdict",
    "Vitals",
    "Work",
    "follow_store",
    "open_store",
    "vitals",
]
