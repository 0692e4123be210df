"""Who is let in and what can be reached: TLS with client certificates, users with tokens, members, space."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from etcd3.etcdrpc import rpc_pb2

from fixtures.certificates import certificates
from fixtures.etcd_server import EtcdServer
from fixtures.ports import free_port
from lab.guarded import PASSWORD, guard
from runabout.etcd import (
    Compare,
    FullError,
    GrpcEtcd,
    Login,
    PermanentEtcdError,
    Put,
    RetryableEtcdError,
    TlsFiles,
    UnavailableError,
    connect,
)

DEADLINE = 4.0
SHORT = 0.5
WAIT = 60.0


# TLS


def _certificates(folder: Path, *, name: str) -> TlsFiles:
    made = certificates(folder, name=name)
    return TlsFiles(made.ca, made.cert, made.key)


@pytest.fixture
def tls(tmp_path: Path) -> TlsFiles:
    return _certificates(tmp_path, name="test")


@pytest.fixture
def secured(tmp_path: Path, tls: TlsFiles) -> Iterator[EtcdServer]:
    options = (f"--cert-file={tls.cert}", f"--key-file={tls.key}", f"--trusted-ca-file={tls.ca}", "--client-cert-auth")
    with EtcdServer(tmp_path / "etcd", fsync=False, scheme="https", options=options) as server:
        yield server


async def _answer(client: GrpcEtcd) -> bytes | None:
    try:
        await client.txn((), [Put(b"a", b"1")])
        return await client.get(b"a")
    finally:
        await client.close()


async def test_a_client_with_a_certificate_of_the_authority_is_let_in(secured: EtcdServer, tls: TlsFiles) -> None:
    assert await _answer(connect(secured.endpoint, tls=tls)) == b"1"


async def test_nobody_else_is_let_in_and_no_foreign_server_is_trusted(
    secured: EtcdServer, tls: TlsFiles, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    foreign = _certificates(tmp_path / "other", name="other")
    for files in (TlsFiles(tls.ca), TlsFiles(tls.ca, foreign.cert, foreign.key), foreign, None):
        with pytest.raises(RetryableEtcdError):
            await _answer(connect(secured.endpoint, tls=files, deadline=SHORT))
    with pytest.raises(RetryableEtcdError):
        await _answer(connect(secured.endpoint.replace("https", "http"), deadline=SHORT))


# users


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[EtcdServer]:
    """A server on which the user `runabout` may use keys that begin with `store/`; tokens live for two seconds."""
    with EtcdServer(tmp_path, fsync=False, options=("--auth-token-ttl=2",)) as server:
        await guard(server)
        yield server


async def test_a_user_is_let_in_to_what_is_allowed(guarded: EtcdServer) -> None:
    client = connect(guarded.endpoint, login=Login("runabout", PASSWORD))
    assert (await client.txn([Compare(b"store/a", None)], [Put(b"store/a", b"1")])).succeeded
    assert await client.get(b"store/a") == b"1"
    with pytest.raises(PermanentEtcdError, match="permission denied"):
        await client.get(b"other")
    async with asyncio.timeout(WAIT), aclosing(client.watch(b"store/", b"store0", revision=1)) as events:
        assert (await anext(events)).value == b"1"
    await client.close()


async def test_a_wrong_password_and_no_user_at_all_are_refused_in_etcds_words(guarded: EtcdServer) -> None:
    for login, words in ((Login("runabout", "wrong"), "authentication failed"), (None, "user name is empty")):
        client = connect(guarded.endpoint, login=login)
        with pytest.raises(PermanentEtcdError, match=words):
            await client.get(b"store/a")
        await client.close()


async def test_a_token_that_is_forgotten_or_outdated_is_renewed_and_nobody_notices(guarded: EtcdServer) -> None:
    client = connect(guarded.endpoint, login=Login("runabout", PASSWORD))
    assert (await client.txn((), [Put(b"store/a", b"1")])).succeeded
    client._connection._token = "unknown.1"  # as after the two seconds
    both = await asyncio.gather(client.get(b"store/a"), client.txn((), [Put(b"store/b", b"2")]))
    assert both[0] == b"1"
    root = connect(guarded.endpoint, login=Login("root", PASSWORD))
    member = root._connection._members[0]
    metadata = await root._connection.metadata(member, asyncio.get_running_loop().time() + WAIT)
    await member.auth.UserAdd(rpc_pb2.AuthUserAddRequest(name="new", password=PASSWORD), metadata=metadata)
    assert await client.get(b"store/b") == b"2"
    client._connection._token = "unknown.1"
    with pytest.raises(RetryableEtcdError):
        async with asyncio.timeout(WAIT), aclosing(client.watch(b"store/", b"store0", revision=1)) as events:
            await anext(events)
    async with asyncio.timeout(WAIT), aclosing(client.watch(b"store/", b"store0", revision=1)) as events:
        assert (await anext(events)).value == b"1"
    await client.close()
    await root.close()


# members


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_of_several_members_by_any_name_one_that_answers_is_enough(tmp_path: Path, host: str) -> None:
    with EtcdServer(tmp_path, fsync=False) as server:
        dead = f"http://{host}:{free_port()}"
        client = connect(f"{dead},{server.endpoint.replace('127.0.0.1', host)}, {dead}", deadline=WAIT)
        async with asyncio.timeout(WAIT / 2):  # nobody is waited for until the deadline
            assert await _answer(client) == b"1"


async def test_a_member_that_falls_silent_costs_one_call(tmp_path: Path) -> None:
    with EtcdServer(tmp_path / "1", fsync=False) as first, EtcdServer(tmp_path / "2", fsync=False) as second:
        client = connect(f"{first.endpoint},{second.endpoint}", deadline=DEADLINE)
        await client.txn((), [Put(b"which", b"first")])
        serving = client._connection._members[0].name
        (first if serving == first.endpoint else second).pause()
        with pytest.raises(RetryableEtcdError):
            await client.txn((), [Put(b"which", b"second")])
        # Two members of one cluster would hold the same; here the difference shows who answers.
        await client.txn((), [Put(b"which", b"second")])
        assert await client.get(b"which") == b"second"
        await client.close()


async def test_without_any_member_it_is_known_that_nothing_happened() -> None:
    client = connect(f"http://127.0.0.1:{free_port()},http://127.0.0.1:{free_port()}", deadline=0.5)
    with pytest.raises(UnavailableError, match=r"no connection to http://.*, http://.* within 0\.5 s"):
        await client.txn((), [Put(b"a", b"1")])
    await client.close()


# space


async def test_a_full_etcd_says_so_and_still_reads_and_deletes(tmp_path: Path) -> None:
    with EtcdServer(tmp_path, fsync=False, options=(f"--quota-backend-bytes={8 * 1024 * 1024}",)) as server:
        client = connect(server.endpoint)
        with pytest.raises(FullError, match="database space exceeded"):  # noqa: PT012 - which one it is nobody knows
            for number in range(32):
                await client.txn((), [Put(b"%d" % number, bytes(1024 * 1024))])
        assert (await client.txn([Compare(b"none", None)], (), otherwise=[b"0"])).succeeded
        assert await client.get(b"0") == bytes(1024 * 1024)
        assert await client.delete(b"0") == 1
        await client.close()
