"""etcd as it is: single calls over gRPC, for limits and for the design that was replaced."""

from typing import Any, Self

import grpc.aio
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc


class RawEtcd:
    """The calls of one server at an `http` URL; use as an async context manager."""

    def __init__(self, endpoint: str) -> None:
        self._channel = grpc.aio.insecure_channel(endpoint.removeprefix("http://"))
        self._kv: Any = rpc_pb2_grpc.KVStub(self._channel)
        self._leases: Any = rpc_pb2_grpc.LeaseStub(self._channel)

    async def put(self, key: bytes, value: bytes) -> int:
        """Write a key; return the revision of that."""
        answer = await self._kv.Put(rpc_pb2.PutRequest(key=key, value=value))
        return int(answer.header.revision)

    async def changed(self, key: bytes) -> int:
        """Read a key; return the revision of its last change, 0 if there is none."""
        answer = await self._kv.Range(rpc_pb2.RangeRequest(key=key))
        return int(answer.kvs[0].mod_revision) if answer.kvs else 0

    async def put_if(self, key: bytes, value: bytes, *, changed: int, lease: int = 0) -> bool:
        """Write a key if its last change was at a revision (0: if there is none); return whether it was."""
        condition = rpc_pb2.Compare(
            result=rpc_pb2.Compare.EQUAL, target=rpc_pb2.Compare.MOD, key=key, mod_revision=changed
        )
        put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value, lease=lease))
        answer = await self._kv.Txn(rpc_pb2.TxnRequest(compare=[condition], success=[put]))
        return bool(answer.succeeded)

    async def delete(self, key: bytes) -> None:
        """Remove a key."""
        await self._kv.DeleteRange(rpc_pb2.DeleteRangeRequest(key=key))

    async def grant(self, seconds: int) -> int:
        """Begin a lease."""
        answer = await self._leases.LeaseGrant(rpc_pb2.LeaseGrantRequest(TTL=seconds))
        return int(answer.ID)

    async def left(self, lease: int) -> int:
        """Return how many seconds of a lease are left."""
        answer = await self._leases.LeaseTimeToLive(rpc_pb2.LeaseTimeToLiveRequest(ID=lease))
        return int(answer.TTL)

    async def revoke(self, lease: int) -> None:
        """End a lease."""
        await self._leases.LeaseRevoke(rpc_pb2.LeaseRevokeRequest(ID=lease))

    async def __aenter__(self) -> Self:
        await self.changed(b"connected")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close(grace=None)
