"""etcd over gRPC, with the generated stubs of `etcd3.etcdrpc` on `grpc.aio`.

gRPC's own balancer finds a server that answers; a call whose request was not sent is tried on another one by gRPC, so a
lost member costs at most a reconnect.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc

from runabout.etcd.errors import (
    CompactedError,
    EtcdError,
    PermanentEtcdError,
    UnavailableError,
    UnknownOutcomeError,
)
from runabout.etcd.port import Compare, KeyValue, Page, Put, TxnResult, WatchEvent

DEADLINE = 5.0
"""Seconds for one call, reconnects included."""
MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes of an answer; a page of the log may hold many batches."""
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.lb_policy_name", "round_robin"),
)
_REFUSED = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.NOT_FOUND,
    }
)
"""Codes with which a server says that it did nothing. After all others, also those that gRPC makes up when a connection
breaks (UNKNOWN, INTERNAL), a write may have happened."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; `cert` and `key` for a client certificate."""

    ca: Path
    cert: Path | None = None
    key: Path | None = None


def connect(endpoints: str, *, tls: TlsFiles | None = None, deadline: float = DEADLINE) -> "GrpcEtcd":
    """Return a client of the servers at comma-separated URLs; nothing is sent yet.

    `deadline` is in seconds: for one call, reconnects included.

    Raises:
        ValueError: no usable endpoint.
    """
    hosts = []
    for endpoint in endpoints.split(","):
        parts = urlsplit(endpoint.strip())
        if not parts.hostname:
            raise ValueError(f"{endpoint!r} is no etcd endpoint: write it as http://HOST:2379")
        hosts.append(f"{parts.hostname}:{parts.port or 2379}")
    target = f"ipv4:{','.join(hosts)}" if len(hosts) > 1 and all(h[0].isdigit() for h in hosts) else hosts[0]
    if tls is None:
        channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
    else:
        credentials = grpc.ssl_channel_credentials(
            tls.ca.read_bytes(),
            tls.key.read_bytes() if tls.key else None,
            tls.cert.read_bytes() if tls.cert else None,
        )
        channel = grpc.aio.secure_channel(target, credentials, options=_OPTIONS)
    return GrpcEtcd(channel, deadline=deadline)


class GrpcEtcd:
    """See :class:`runabout.etcd.port.Etcd`."""

    def __init__(self, channel: grpc.aio.Channel, *, deadline: float = DEADLINE) -> None:
        self._channel = channel
        self._deadline = deadline
        self._kv = rpc_pb2_grpc.KVStub(channel)
        self._watch = rpc_pb2_grpc.WatchStub(channel)

    async def get(self, key: bytes) -> bytes | None:
        """Return a key's value by a quorum read, None if there is none."""
        answer = await self._call(self._kv.Range, rpc_pb2.RangeRequest(key=key))
        return bytes(answer.kvs[0].value) if answer.kvs else None

    async def range(self, start: bytes, end: bytes, *, limit: int = 0) -> Page:
        """Return the keys from `start` up to `end`."""
        answer = await self._call(self._kv.Range, rpc_pb2.RangeRequest(key=start, range_end=end, limit=limit))
        items = tuple(KeyValue(bytes(kv.key), bytes(kv.value), int(kv.mod_revision)) for kv in answer.kvs)
        return Page(items, bool(answer.more), int(answer.header.revision))

    async def txn(
        self, compares: Sequence[Compare], puts: Sequence[Put], *, otherwise: Sequence[bytes] = ()
    ) -> TxnResult:
        """Write if all compares hold, else read."""
        request = rpc_pb2.TxnRequest(
            compare=[_compare(item) for item in compares],
            success=[
                rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=item.key, value=item.value)) for item in puts
            ],
            failure=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key)) for key in otherwise],
        )
        answer = await self._call(self._kv.Txn, request)
        if answer.succeeded:
            return TxnResult(succeeded=True)
        ranges = (item.response_range for item in answer.responses)
        return TxnResult(False, tuple(bytes(item.kvs[0].value) if item.kvs else None for item in ranges))

    async def delete(self, start: bytes, end: bytes | None = None) -> int:
        """Delete a key or a range."""
        answer = await self._call(self._kv.DeleteRange, rpc_pb2.DeleteRangeRequest(key=start, range_end=end or b""))
        return int(answer.deleted)

    async def watch(self, start: bytes, end: bytes, *, revision: int) -> AsyncGenerator[WatchEvent, None]:
        """Return changes of a range from `revision` on."""
        create = rpc_pb2.WatchCreateRequest(key=start, range_end=end, start_revision=revision)
        call = self._watch.Watch()
        try:
            await call.write(rpc_pb2.WatchRequest(create_request=create))
            async for answer in call:
                if answer.compact_revision:
                    raise CompactedError(f"revision {revision} is compacted; the oldest is {answer.compact_revision}")
                if answer.canceled:
                    raise UnavailableError(f"etcd ended the watch: {answer.cancel_reason}")
                for event in answer.events:
                    value = bytes(event.kv.value) if event.type == 0 else None
                    yield WatchEvent(bytes(event.kv.key), value, int(event.kv.mod_revision))
        except grpc.aio.AioRpcError as error:
            raise _error(error) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        """Close the connections."""
        await self._channel.close(grace=None)

    async def _call(self, method: Any, request: Any) -> Any:  # noqa: ANN401 - generated code has no types
        try:
            return await method(request, timeout=self._deadline, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise _error(error) from error


def _compare(item: Compare) -> rpc_pb2.Compare:
    if item.value is None:
        return rpc_pb2.Compare(result=rpc_pb2.Compare.EQUAL, target=rpc_pb2.Compare.VERSION, key=item.key, version=0)
    return rpc_pb2.Compare(result=rpc_pb2.Compare.EQUAL, target=rpc_pb2.Compare.VALUE, key=item.key, value=item.value)


def _error(error: grpc.aio.AioRpcError) -> EtcdError:
    code, details = error.code(), error.details() or error.code().name
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return CompactedError(f"etcd: {details}")
    if code in _REFUSED:
        return PermanentEtcdError(f"etcd: {details}")
    return UnknownOutcomeError(f"etcd: {details}")
