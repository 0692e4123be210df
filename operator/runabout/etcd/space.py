"""How full the members of an etcd are, and what can be done about it: a port beside the one for keys.

The generated stubs are older than some fields of the answer that matter here, so it has a definition of its own.
"""

import functools
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

STATUS = "/etcdserverpb.Maintenance/Status"
DEFAULT_QUOTA = 2 * 1024**3
"""Bytes; what etcd takes for a quota that is not set."""
NO_SPACE = "NOSPACE"
_NUMBERS = {"dbSize": 3, "dbSizeInUse": 9, "dbSizeQuota": 12}
_ERRORS = 8


@dataclass(frozen=True, slots=True)
class MemberSpace:
    """A member's database; sizes in bytes."""

    member: str
    size: int
    """Of the file. It never shrinks by itself; the quota is for it."""
    in_use: int
    """Without the parts of the file that the next writes fill first."""
    quota: int | None
    """None: the server does not say (before etcd 3.6). Negative: none."""
    full: bool
    """Whether the alarm NOSPACE is on: no member takes writes until somebody ends it."""


class Upkeep(Protocol):
    """What is done with members, not with keys; all calls raise errors of :mod:`runabout.etcd.errors`."""

    async def space(self) -> tuple[MemberSpace, ...]:
        """Return what the members say of their space; those that do not answer are left out.

        Raises:
            EtcdError: none answers.
        """
        ...

    async def compact_now(self, revision: int) -> None:
        """Forget the changes before `revision`, as `Etcd.compact`; return when the room is there for other things.

        Raises:
            CompactedError: that is done already. Other PermanentEtcdError: this user may not.
        """
        ...

    async def defragment(self, member: str) -> None:
        """Have a member's file shrink to what is in use; the member answers nothing else meanwhile.

        Raises:
            PermanentEtcdError: this user may not.
        """
        ...

    async def disarm(self) -> None:
        """End the alarm NOSPACE; it comes back with the next write if there is still no room.

        Raises:
            PermanentEtcdError: this user may not.
        """
        ...


@functools.cache
def status_type() -> Any:  # noqa: ANN401 - made at run time
    """Return the class of what etcd answers to a question for its status, as far as it is of use here."""
    file = descriptor_pb2.FileDescriptorProto(name="runabout/etcd/status.proto", package="runabout", syntax="proto3")
    message = file.message_type.add(name="EtcdStatus")
    field = descriptor_pb2.FieldDescriptorProto
    for name, number in _NUMBERS.items():
        message.field.add(name=name, number=number, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    message.field.add(name="errors", number=_ERRORS, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("runabout.EtcdStatus"))


def read_status(data: bytes, *, member: str) -> MemberSpace:
    """Return what a member says."""
    said = status_type().FromString(data)
    return MemberSpace(
        member,
        size=int(said.dbSize),
        in_use=int(said.dbSizeInUse) or int(said.dbSize),
        quota=int(said.dbSizeQuota) or None,
        full=any(NO_SPACE in each for each in said.errors),
    )
