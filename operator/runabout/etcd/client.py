"""etcd over gRPC, with the generated stubs of `etcd3.etcdrpc` on `grpc.aio`."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import grpc
import grpc.aio
from etcd3.etcdrpc import rpc_pb2

from runabout.etcd.connection import Connection, Login, Member, TlsFiles, open_connection, translated
from runabout.etcd.errors import CompactedError, EtcdError, UnavailableError
from runabout.etcd.port import Compare, KeyRange, KeyValue, Page, Put, TxnResult, WatchEvent
from runabout.etcd.space import MemberSpace, read_status

DEADLINE = 5.0
"""Seconds for one call, reconnects included."""
UPKEEP_SECONDS = 120.0
"""For calls that work on all of a database."""
_DEACTIVATE, _NOSPACE = 2, 1
"""An alarm's numbers in etcd's API."""


def connect(
    endpoints: str, *, tls: TlsFiles | None = None, login: Login | None = None, deadline: float = DEADLINE
) -> "GrpcEtcd":
    """Return a client of the servers at comma-separated URLs; nothing is sent yet.

    `deadline` is in seconds: for one call, reconnects included. With `https` and without `tls` the system's authorities
    are trusted.

    Raises:
        ValueError: no usable endpoint.
        OSError: a file of `tls` cannot be read.
    """
    connection = open_connection(endpoints, tls=tls, login=login, deadline=deadline)
    return GrpcEtcd(connection, deadline=deadline)


class GrpcEtcd:
    """See :class:`runabout.etcd.port.Etcd` and :class:`runabout.etcd.space.Upkeep`."""

    def __init__(self, connection: Connection, *, deadline: float = DEADLINE) -> None:
        self._connection = connection
        self._deadline = deadline

    async def get(self, key: bytes) -> bytes | None:
        """Return a key's value by a quorum read, None if there is none."""
        answer = await self._kv("Range", rpc_pb2.RangeRequest(key=key))
        return bytes(answer.kvs[0].value) if answer.kvs else None

    async def range(self, start: bytes, end: bytes, *, limit: int = 0) -> Page:
        """Return the keys from `start` up to `end`."""
        answer = await self._kv("Range", rpc_pb2.RangeRequest(key=start, range_end=end, limit=limit))
        items = tuple(KeyValue(bytes(kv.key), bytes(kv.value), int(kv.mod_revision)) for kv in answer.kvs)
        return Page(items, bool(answer.more), int(answer.header.revision))

    async def txn(
        self,
        compares: Sequence[Compare],
        puts: Sequence[Put],
        *,
        deletes: Sequence[KeyRange] = (),
        otherwise: Sequence[bytes] = (),
    ) -> TxnResult:
        """Write and delete if all compares hold, else read."""
        success = [rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=item.key, value=item.value)) for item in puts]
        success += [
            rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=item.start, range_end=item.end))
            for item in deletes
        ]
        request = rpc_pb2.TxnRequest(
            compare=[_compare(item) for item in compares],
            success=success,
            failure=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key)) for key in otherwise],
        )
        answer = await self._kv("Txn", request)
        if answer.succeeded:
            return TxnResult(succeeded=True)
        ranges = (item.response_range for item in answer.responses)
        return TxnResult(False, tuple(bytes(item.kvs[0].value) if item.kvs else None for item in ranges))

    async def delete(self, start: bytes, end: bytes | None = None) -> int:
        """Delete a key or a range."""
        answer = await self._kv("DeleteRange", rpc_pb2.DeleteRangeRequest(key=start, range_end=end or b""))
        return int(answer.deleted)

    async def compact(self, revision: int) -> None:
        """Forget the changes before a revision."""
        await self._kv("Compact", rpc_pb2.CompactionRequest(revision=revision))

    async def watch(self, start: bytes, end: bytes, *, revision: int) -> AsyncGenerator[WatchEvent, None]:
        """Return changes of a range from `revision` on."""
        create = rpc_pb2.WatchCreateRequest(key=start, range_end=end, start_revision=revision)
        until = asyncio.get_running_loop().time() + self._deadline
        member = await self._connection.member(until)
        call = member.watch.Watch(metadata=await self._connection.metadata(member, until))
        try:
            await call.write(rpc_pb2.WatchRequest(create_request=create))
            async for answer in call:
                if answer.compact_revision:
                    raise CompactedError(f"revision {revision} is compacted; the oldest is {answer.compact_revision}")
                if answer.canceled:
                    self._connection.forget_token(answer.cancel_reason)
                    raise UnavailableError(f"etcd ended the watch: {answer.cancel_reason}")
                for event in answer.events:
                    value = bytes(event.kv.value) if event.type == 0 else None
                    yield WatchEvent(bytes(event.kv.key), value, int(event.kv.mod_revision))
        except grpc.aio.AioRpcError as error:
            self._connection.forget_token(error.details() or "")
            self._connection.leave(member, error)
            raise translated(error) from error
        finally:
            call.cancel()

    async def space(self) -> tuple[MemberSpace, ...]:
        """Return what the members say of their space."""
        found = await asyncio.gather(*map(self._space, self._connection.members), return_exceptions=True)
        answers = tuple(each for each in found if isinstance(each, MemberSpace))
        for each in found:
            if isinstance(each, BaseException) and (not answers or not isinstance(each, EtcdError)):
                raise each
        return answers

    async def _space(self, member: Member) -> MemberSpace:
        async def send(member: Member, metadata: tuple[tuple[str, str], ...], seconds: float) -> bytes:
            answer: bytes = await member.status(b"", timeout=seconds, metadata=metadata)
            return answer

        return read_status(await self._connection.call(send, only=member), member=member.name)

    async def compact_now(self, revision: int) -> None:
        """Forget the changes before a revision, and wait until that is done."""
        request = rpc_pb2.CompactionRequest(revision=revision, physical=True)

        async def send(member: Member, metadata: tuple[tuple[str, str], ...], seconds: float) -> None:
            await member.kv.Compact(request, timeout=seconds, metadata=metadata)

        await self._connection.call(send, seconds=UPKEEP_SECONDS)

    async def defragment(self, member: str) -> None:
        """Have a member's file shrink to what is in use."""

        async def send(member: Member, metadata: tuple[tuple[str, str], ...], seconds: float) -> None:
            await member.maintenance.Defragment(rpc_pb2.DefragmentRequest(), timeout=seconds, metadata=metadata)

        only = next(each for each in self._connection.members if each.name == member)
        await self._connection.call(send, only=only, seconds=UPKEEP_SECONDS)

    async def disarm(self) -> None:
        """End the alarm NOSPACE."""
        for alarm in (await self._alarm(rpc_pb2.AlarmRequest())).alarms:
            if alarm.alarm == _NOSPACE:
                request = rpc_pb2.AlarmRequest(action=_DEACTIVATE, alarm=_NOSPACE, memberID=alarm.memberID)
                await self._alarm(request)

    async def _alarm(self, request: Any) -> Any:  # noqa: ANN401 - generated code has no types
        async def send(member: Member, metadata: tuple[tuple[str, str], ...], seconds: float) -> Any:  # noqa: ANN401 - as above
            return await member.maintenance.Alarm(request, timeout=seconds, metadata=metadata)

        return await self._connection.call(send)

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def _kv(self, method: str, request: Any) -> Any:  # noqa: ANN401 - generated code has no types
        async def send(member: Member, metadata: tuple[tuple[str, str], ...], seconds: float) -> Any:  # noqa: ANN401 - as above
            return await getattr(member.kv, method)(request, timeout=seconds, metadata=metadata)

        return await self._connection.call(send)


def _compare(item: Compare) -> rpc_pb2.Compare:
    if item.value is None:
        return rpc_pb2.Compare(result=rpc_pb2.Compare.EQUAL, target=rpc_pb2.Compare.VERSION, key=item.key, version=0)
    return rpc_pb2.Compare(result=rpc_pb2.Compare.EQUAL, target=rpc_pb2.Compare.VALUE, key=item.key, value=item.value)
