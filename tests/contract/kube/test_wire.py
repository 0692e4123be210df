"""HTTP with an API server: one connection for many requests, whole answers or errors, and streams that wait."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fixtures.raw_server import CHUNKED, RawServer, Talk, answer, chunk
from lab.kube_suite import until
from runabout.kube.wire import BUFFERED, ResumingContext, Wire, WireError

MIB = 1024 * 1024


@asynccontextmanager
async def to(server: RawServer, *, path: str = "", tls: ssl.SSLContext | bool = False) -> AsyncIterator[Wire]:
    wire = Wire(f"{server.url}{path}", tls)
    try:
        async with asyncio.timeout(60):
            yield wire
    finally:
        wire.close()


async def ask(wire: Wire, method: str = "GET", path: str = "/x", body: bytes | None = None) -> tuple[int, bytes]:
    got = await wire.request(method, path, headers={"A": "b"}, body=body)
    return got.status, got.body


async def echo(talk: Talk) -> None:
    while (request := await talk.hear()) is not None:
        await talk.say(answer(request.partition(b"\r\n\r\n")[2] or b"none"))


async def test_one_connection_carries_one_request_after_the_other() -> None:
    async with RawServer(echo) as server, to(server) as wire:
        assert await ask(wire, body=b"one") == (200, b"one")
        assert await ask(wire) == (200, b"none")
        assert await ask(wire, "POST", body=b"") == (200, b"none")
    assert [len(talk.requests) for talk in server.talks] == [3]


async def test_requests_at_the_same_time_have_connections_of_their_own_and_their_own_answers() -> None:
    bodies = [b"%d" % number for number in range(20)]
    async with RawServer(echo) as server, to(server) as wire:
        for _ in range(3):
            got = await asyncio.gather(*(ask(wire, body=body) for body in bodies))
            assert [body for _, body in got] == bodies
    assert len(server.talks) == 20


async def test_a_request_is_as_it_was_asked_for() -> None:
    async with RawServer(echo) as server, to(server, path="/k8s/clusters/c-1/") as wire:
        await wire.request(
            "PATCH", "/api/v1/pods/a b?", query={"force": "true", "x": "a&b=c"}, headers={"Accept": "z"}, body=b"{}"
        )
    assert server.talks[0].requests == [
        b"PATCH /k8s/clusters/c-1/api/v1/pods/a%20b%3F?force=true&x=a%26b%3Dc HTTP/1.1\r\n"
        b"Host: 127.0.0.1:" + str(server.port).encode() + b"\r\nAccept: z\r\nContent-Length: 2\r\n\r\n{}"
    ]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb"])
async def test_a_header_cannot_smuggle_another(value: str) -> None:
    async with RawServer(echo) as server, to(server) as wire:
        with pytest.raises(ValueError, match="line break"):
            await wire.request("GET", "/", headers={"Authorization": value})
    assert server.talks == [] or server.talks[0].requests == []


PIECES: Mapping[str, tuple[list[bytes], bytes]] = {
    "byte by byte": ([bytes([byte]) for byte in answer(b"all of it")], b"all of it"),
    "in chunks": ([CHUNKED, chunk(b"all "), chunk(b"of it") + chunk(b"")], b"all of it"),
    "after a word that it will come": ([b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", answer(b"it")], b"it"),
    "without a body": ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
}


@pytest.mark.parametrize(("pieces", "body"), PIECES.values(), ids=PIECES)
async def test_an_answer_is_whole_however_it_comes(pieces: list[bytes], body: bytes) -> None:
    async def script(talk: Talk) -> None:
        while await talk.hear() is not None:
            for piece in pieces:
                await talk.say(piece)

    async with RawServer(script) as server, to(server) as wire:
        for _ in range(2):
            assert (await ask(wire))[1] == body
    assert len(server.talks) == 1, "it is over when it is complete, and the connection is good for another"


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def script(talk: Talk) -> None:
        await talk.hear()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\nsome")
        await talk.say(b" more")
        talk.cut()

    async with RawServer(script) as server, to(server) as wire:
        assert await ask(wire) == (200, b"some more")
        assert await ask(wire) == (200, b"some more")
    assert len(server.talks) == 2


BROKEN: Mapping[str, bytes] = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": answer(b"all of it")[:-3],
    "half a chunk": CHUNKED + chunk(b"all of it")[:-5],
    "no last chunk": CHUNKED + chunk(b"all of it"),
    "something else": b"SSH-2.0-OpenSSH_9.2\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
}


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
async def test_half_an_answer_is_none(said: bytes) -> None:
    async def script(talk: Talk) -> None:
        await talk.hear()
        await talk.say(said)
        talk.cut()

    async with RawServer(script) as server, to(server) as wire:
        with pytest.raises(WireError, match=r"broke off|no HTTP"):
            await ask(wire)
    assert len(server.talks) == 1, "on a new connection the server has seen it"


@pytest.mark.parametrize(("method", "again"), [("GET", True), ("PATCH", True), ("DELETE", True), ("POST", False)])
async def test_a_connection_that_was_ended_unseen_costs_no_request_but_a_creation(method: str, again: bool) -> None:
    """The server may have seen the creation: whether it is made again is for the caller to say."""

    async def script(talk: Talk) -> None:
        await talk.hear()
        await talk.say(answer(b"first"))
        await talk.hear()  # and say nothing

    async with RawServer(script) as server, to(server) as wire:
        await ask(wire)
        if again:
            assert await ask(wire, method) == (200, b"first")
        else:
            with pytest.raises(WireError, match="broke off") as caught:
                await ask(wire, method)
            assert caught.value.unanswered
    assert len(server.talks) == 1 + again


async def test_a_connection_that_the_server_has_ended_is_not_used_again() -> None:
    async def script(talk: Talk) -> None:
        await talk.hear()
        await talk.say(answer(b"x", headers=b"Connection: close\r\n"))

    async with RawServer(script) as server, to(server) as wire:
        for _ in range(3):
            assert await ask(wire, "POST") == (200, b"x")
    assert len(server.talks) == 3


async def test_what_nobody_asked_for_ends_the_connection() -> None:
    async def script(talk: Talk) -> None:
        await talk.hear()
        await talk.say(answer(b"x") + answer(b"an answer to whom?"))
        await talk.hear()

    async with RawServer(script) as server, to(server) as wire:
        assert await ask(wire) == (200, b"x")
        assert await ask(wire) == (200, b"x")
    assert len(server.talks) == 2


async def test_who_gives_up_waiting_does_not_get_the_answer_of_another() -> None:
    async def script(talk: Talk) -> None:
        request = await talk.hear()
        if request is not None and b"slow" not in request:
            await talk.say(answer(b"quick"))
            await talk.hear()
        await talk.ended.wait()

    async with RawServer(script) as server, to(server) as wire:
        asking = asyncio.create_task(ask(wire, path="/slow"))
        await until(lambda: bool(server.talks) and server.talks[0].requests != [])
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await ask(wire) == (200, b"quick")
    assert len(server.talks) == 2


async def test_a_stream_comes_piece_by_piece_and_its_connection_is_good_for_another() -> None:
    more = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.hear()
        await talk.say(CHUNKED + chunk(b"first"))
        await more.wait()
        await talk.say(chunk(b"second") + chunk(b""))
        await echo(talk)

    async with RawServer(script) as server, to(server) as wire:
        async with wire.stream("/log", query={"follow": "true"}, headers={}, quiet_seconds=None) as stream:
            pieces = aiter(stream)
            assert await anext(pieces) == b"first"
            more.set()
            assert [piece async for piece in pieces] == [b"second"]
        assert await ask(wire) == (200, b"none")
    assert len(server.talks) == 1


async def test_the_server_waits_for_the_reader_of_a_stream() -> None:
    sent = 0

    async def script(talk: Talk) -> None:
        nonlocal sent
        await talk.hear()
        await talk.say(CHUNKED)
        for _ in range(64):
            await talk.say(chunk(bytes(MIB)))
            sent += MIB
        await talk.say(chunk(b""))

    async with (
        RawServer(script) as server,
        to(server) as wire,
        wire.stream("/log", query={}, headers={}, quiet_seconds=None) as stream,
    ):
        before = -1
        while sent != before:  # until nothing moves any more
            before = sent
            for _ in range(50):
                await asyncio.sleep(0.002)
        assert sent < 32 * MIB, f"{BUFFERED} bytes are held, the rest is in the kernel's buffers"
        assert sum([len(piece) async for piece in stream]) == 64 * MIB


async def test_a_stream_that_is_left_is_closed() -> None:
    async def script(talk: Talk) -> None:
        await talk.hear()
        await talk.say(CHUNKED + chunk(b"first"))
        await talk.hear()

    async with RawServer(script) as server, to(server) as wire:
        async with wire.stream("/log", query={}, headers={}, quiet_seconds=None) as stream:
            assert await anext(aiter(stream)) == b"first"
        await server.talks[0].ended.wait()


async def test_a_stream_that_breaks_off_is_no_stream_that_ended() -> None:
    async def script(talk: Talk) -> None:
        await talk.hear()
        await talk.say(CHUNKED + chunk(b"first"))
        talk.cut()

    got: list[bytes] = []

    async def read(wire: Wire) -> None:
        async with wire.stream("/log", query={}, headers={}, quiet_seconds=None) as stream:
            async for piece in stream:
                got.append(piece)  # noqa: PERF401 - what came before it broke off is kept

    async with RawServer(script) as server, to(server) as wire:
        with pytest.raises(WireError, match="broke off"):
            await read(wire)
    assert got == [b"first"]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_stream_that_says_nothing_is_given_up(begun: bool) -> None:
    async def script(talk: Talk) -> None:
        await talk.hear()
        if begun:
            await talk.say(CHUNKED)
        await talk.hear()

    async with RawServer(script) as server, to(server) as wire:
        with pytest.raises(TimeoutError):
            async with wire.stream("/log", query={}, headers={}, quiet_seconds=0.5) as stream:
                await anext(aiter(stream))
        await server.talks[0].ended.wait()


async def test_without_a_server_the_message_says_where_it_was_looked_for() -> None:
    async with RawServer(echo) as server:
        pass
    with pytest.raises(WireError, match=rf"no connection to 127\.0\.0\.1:{server.port}: .*refused"):
        await ask(Wire(server.url, tls=False))


async def test_closing_ends_what_is_under_way() -> None:
    async def script(talk: Talk) -> None:
        await talk.hear()
        await talk.hear()

    async with RawServer(script) as server, to(server) as wire:
        asking = asyncio.create_task(ask(wire))
        await until(lambda: bool(server.talks) and server.talks[0].requests != [])
        wire.close()
        with pytest.raises(WireError, match="broke off"):
            await asking


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate with its key, of a server on loopback."""
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "both.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")),
        ],
        check=True,
        capture_output=True,
    )
    made.write_bytes((folder / "certificate.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return made


@asynccontextmanager
async def encrypted(certificate: Path) -> AsyncIterator[tuple[RawServer, list[bool]]]:
    """A server that notes of each connection whether its TLS session was resumed, and ends it after an answer."""
    resumed: list[bool] = []

    async def script(talk: Talk) -> None:
        resumed.append(talk.writer.get_extra_info("ssl_object").session_reused)
        await talk.hear()
        await talk.say(answer(b"x", headers=b"Connection: close\r\n"))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with RawServer(script, tls=context) as server:
        yield server, resumed


async def test_a_new_connection_resumes_the_session_of_an_earlier_one(certificate: Path) -> None:
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    async with encrypted(certificate) as (server, resumed), to(server, tls=context) as wire:
        for _ in range(3):
            assert await ask(wire) == (200, b"x")
    assert resumed == [False, True, True]


async def test_a_server_that_cannot_prove_who_it_is_hears_nothing(certificate: Path) -> None:
    async with encrypted(certificate) as (server, _), to(server, tls=True) as wire:
        with pytest.raises(WireError, match=r"no connection to .*CERTIFICATE_VERIFY_FAILED"):
            await ask(wire)
    assert [talk.requests for talk in server.talks] in ([], [[]])
