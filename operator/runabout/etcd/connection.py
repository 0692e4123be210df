"""Connections to the members of one etcd, and the token of a user.

What always holds: each member has a channel of its own, so several members with names or addresses of any kind can be
given; a call goes to one member, first to the one that served the last call; and a call is never sent twice here,
unless the first time was refused because of its token alone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc

from runabout.etcd.errors import (
    CompactedError,
    EtcdError,
    FullError,
    PermanentEtcdError,
    RequestTooLargeError,
    UnavailableError,
    UnknownOutcomeError,
)
from runabout.etcd.space import STATUS

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
_NO_SPACE = "database space exceeded"
_TOO_LARGE = ("request is too large", "grpc: received message larger than max")
"""Words of etcd, and of the gRPC in it, which looks first and counts 512 KiB more."""
_OLD_TOKEN = ("invalid auth token", "revision of auth store is old", "user name is empty")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; `cert` and `key` for a client certificate."""

    ca: Path
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """A user of etcd's own access control."""

    user: str
    password: str | Path = field(repr=False)
    """A path: the file that has it, read at each login, so that it may change; a line's end there does not count."""

    def secret(self) -> str:
        """Return the password.

        Raises:
            PermanentEtcdError: its file cannot be read.
        """
        if isinstance(self.password, str):
            return self.password
        try:
            return self.password.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise PermanentEtcdError(f"the file with etcd's password, {self.password}: {error}") from error


class Member:
    """One server: a channel and its stubs."""

    def __init__(self, name: str, channel: grpc.aio.Channel) -> None:
        self.name = name
        self.channel = channel
        self.kv: Any = rpc_pb2_grpc.KVStub(channel)
        self.watch: Any = rpc_pb2_grpc.WatchStub(channel)
        self.auth: Any = rpc_pb2_grpc.AuthStub(channel)
        self.maintenance: Any = rpc_pb2_grpc.MaintenanceStub(channel)
        self.status: Any = channel.unary_unary(STATUS)

    @property
    def ready(self) -> bool:
        """Whether its connection stands, as far as anybody knows; one that does not is begun."""
        return self.channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY


Call = Callable[[Member, tuple[tuple[str, str], ...], float], Awaitable[Any]]
"""Sends a request to a member with metadata, within some seconds."""


class Connection:
    """All members; safe for any number of calls at once on one event loop."""

    def __init__(self, members: list[Member], *, login: Login | None, deadline: float) -> None:
        self._members = members
        self._login = login
        self._deadline = deadline
        self._token: str | None = None
        self._logging_in = asyncio.Lock()

    @property
    def members(self) -> tuple[Member, ...]:
        """All of them, in no order that matters."""
        return tuple(self._members)

    async def call(self, send: Call, *, only: Member | None = None, seconds: float | None = None) -> Any:  # noqa: ANN401 - generated code has no types
        """Return what `send` returns, within the deadline or some other time, from any member or from one alone.

        Raises:
            EtcdError
        """
        until = asyncio.get_running_loop().time() + (seconds or self._deadline)
        for last in (False, True):
            member = await self.member(until, only=only)
            metadata = await self.metadata(member, until)
            try:
                return await send(member, metadata, _left(until))
            except grpc.aio.AioRpcError as error:
                if not last and metadata and self.forget_token(error.details() or ""):
                    continue
                self.leave(member, error)
                raise translated(error) from error
        raise AssertionError

    async def member(self, until: float, *, only: Member | None = None) -> Member:
        """Return a member whose connection stands, any or this one; waits for one up to a time.

        Raises:
            UnavailableError: there is none.
        """
        members = tuple(self._members) if only is None else (only,)
        for member in members:
            if member.ready:
                return self._prefer(member) if only is None else member
        waiting = [asyncio.ensure_future(member.channel.channel_ready()) for member in members]
        try:
            await asyncio.wait(waiting, timeout=_left(until), return_when=asyncio.FIRST_COMPLETED)
            for member, wait in zip(members, waiting, strict=True):
                if wait.done() and not wait.cancelled() and wait.exception() is None:
                    return self._prefer(member) if only is None else member
        finally:
            for wait in waiting:
                wait.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        names = ", ".join(member.name for member in members)
        raise UnavailableError(f"etcd: no connection to {names} within {self._deadline:g} s")

    async def metadata(self, member: Member, until: float) -> tuple[tuple[str, str], ...]:
        """Return what says who is calling; logs in if need be.

        Raises:
            EtcdError
        """
        if self._login is None:
            return ()
        async with self._logging_in:
            if self._token is None:
                request = rpc_pb2.AuthenticateRequest(name=self._login.user, password=self._login.secret())
                try:
                    answer = await member.auth.Authenticate(request, timeout=_left(until))
                except grpc.aio.AioRpcError as error:
                    self.leave(member, error)
                    raise translated(error) from error
                self._token = str(answer.token)
            return (("token", self._token),)

    def forget_token(self, said: str) -> bool:
        """Have the next call log in again if that is what etcd's words ask for; return whether it is."""
        old = self._login is not None and any(words in said for words in _OLD_TOKEN)
        if old:
            self._token = None
        return old

    def leave(self, member: Member, error: grpc.aio.AioRpcError) -> None:
        """Ask another member first from now on, unless this one answered by refusing."""
        if error.code() not in _REFUSED and error.code() is not grpc.StatusCode.OUT_OF_RANGE:
            self._members.remove(member)
            self._members.append(member)

    def _prefer(self, member: Member) -> Member:
        self._members.remove(member)
        self._members.insert(0, member)
        return member

    async def close(self) -> None:
        """Close all channels."""
        for member in self._members:
            await member.channel.close(grace=None)


def open_connection(endpoints: str, *, tls: TlsFiles | None, login: Login | None, deadline: float) -> Connection:
    """Return the connection to servers at comma-separated URLs; nothing is sent yet.

    Raises:
        ValueError: no usable endpoint.
        OSError: a file of `tls` cannot be read.
    """
    names = [text.strip() for text in endpoints.split(",")]
    members = []
    for name, (secure, host) in [(name, _parse(name)) for name in names]:
        if secure or tls is not None:
            channel = grpc.aio.secure_channel(host, _credentials(tls), options=_OPTIONS)
        else:
            channel = grpc.aio.insecure_channel(host, options=_OPTIONS)
        members.append(Member(name, channel))
    return Connection(members, login=login, deadline=deadline)


def translated(error: grpc.aio.AioRpcError) -> EtcdError:
    """Return what a failed call means."""
    code, details = error.code(), error.details() or error.code().name
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return CompactedError(f"etcd: {details}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _NO_SPACE in details:
        return FullError(f"etcd: {details}")
    if code in _REFUSED and any(words in details for words in _TOO_LARGE):
        return RequestTooLargeError(f"etcd: {details}")
    if code in _REFUSED:
        return PermanentEtcdError(f"etcd: {details}")
    return UnknownOutcomeError(f"etcd: {details}")


def _parse(endpoint: str) -> tuple[bool, str]:
    try:
        parts = urlsplit(endpoint)
        port = parts.port or 2379
    except ValueError as error:
        raise ValueError(f"{endpoint!r} is no etcd endpoint: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise ValueError(f"{endpoint!r} is no etcd endpoint: write it as http://HOST:2379 or https://HOST:2379")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts.scheme == "https", f"{host}:{port}"


def _credentials(tls: TlsFiles | None) -> grpc.ChannelCredentials:
    if tls is None:
        return grpc.ssl_channel_credentials()
    return grpc.ssl_channel_credentials(
        tls.ca.read_bytes(),
        tls.key.read_bytes() if tls.key else None,
        tls.cert.read_bytes() if tls.cert else None,
    )


def _left(until: float) -> float:
    # gRPC takes a time-out of 0 for none.
    return max(until - asyncio.get_running_loop().time(), 0.001)
