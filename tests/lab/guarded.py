"""An etcd with users."""

from typing import Any

import grpc.aio
from etcd3.etcdrpc import auth_pb2, rpc_pb2, rpc_pb2_grpc

from fixtures.etcd_server import EtcdServer

PASSWORD = "opens nothing but a server started here"
READ, READWRITE = auth_pb2.Permission.READ, auth_pb2.Permission.READWRITE


async def guard(server: EtcdServer, *, permission: int = READWRITE) -> None:
    """Let the user `runabout` use keys that begin with `store/`, as far as `permission` goes, and root use all."""
    async with grpc.aio.insecure_channel(server.endpoint.removeprefix("http://")) as channel:
        auth: Any = rpc_pb2_grpc.AuthStub(channel)
        await auth.RoleAdd(rpc_pb2.AuthRoleAddRequest(name="store"), wait_for_ready=True)
        allowed = auth_pb2.Permission(permType=permission, key=b"store/", range_end=b"store0")
        await auth.RoleGrantPermission(rpc_pb2.AuthRoleGrantPermissionRequest(name="store", perm=allowed))
        for user, role in (("root", "root"), ("runabout", "store")):
            await auth.UserAdd(rpc_pb2.AuthUserAddRequest(name=user, password=PASSWORD))
            await auth.UserGrantRole(rpc_pb2.AuthUserGrantRoleRequest(user=user, role=role))
        await auth.AuthEnable(rpc_pb2.AuthEnableRequest())
