"""What only a bucket can go through: lost answers, failing and careless servers, wrong settings."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from contract.ost.conftest import BUCKET
from contract.ost.proxied import behind_proxy, connected, first, settings
from fixtures import s3_server
from fixtures.certificates import certificates
from fixtures.ports import free_port
from fixtures.s3_proxy import Fault, proxy
from fixtures.s3_server import S3Server
from runabout.ost import (
    AlreadyExistsError,
    Announced,
    ByteRange,
    ChangedError,
    DeniedError,
    InvalidKeyError,
    NotFoundError,
    ObjectStore,
    SizeMismatchError,
    UnavailableError,
    UnsuitableError,
    open_ost,
)

MIB = 1024 * 1024
DEADLINE = 60.0


async def once(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


LOST = [
    pytest.param(b"small", "PUT", "", id="one request"),
    pytest.param(b"x" * (9 * MIB), "POST", "uploadId", id="in parts"),
]


@pytest.mark.parametrize(("body", "method", "query"), LOST)
@pytest.mark.parametrize("times", [1, 2])
async def test_a_lost_answer_to_a_creation_is_no_other_writer(
    s3: S3Server, body: bytes, method: str, query: str, times: int
) -> None:
    async with behind_proxy(s3) as (store, between, _):
        between.judge = first(times, Fault(lose_answer=True), method=method, query=query)
        await store.write("key", body, create_only=True)
        assert await store.read("key") == body
        with pytest.raises(AlreadyExistsError):
            await store.write("key", body, create_only=True)


@pytest.mark.parametrize(("body", "method", "query"), LOST)
async def test_another_writers_object_is_never_taken_for_ones_own(
    s3: S3Server, body: bytes, method: str, query: str
) -> None:
    async with behind_proxy(s3) as (store, between, what):
        prefix = what.url.rsplit("/", 1)[1]

        def other_writer() -> None:
            s3.client().put_object(
                Bucket=BUCKET, Key=f"{prefix}/key", Body=body, Metadata={"runabout-write": "of the other"}
            )

        between.judge = first(1, Fault(status=503, before=other_writer), method=method, query=query)
        with pytest.raises(AlreadyExistsError):
            await store.write("key", body, create_only=True)


PASSING: dict[str, Fault] = {
    **{str(status): Fault(status=status) for status in (500, 502, 503, 429)},
    "409": Fault(status=409, code="OperationAborted"),
    "another writer at this moment": Fault(status=409, code="ConditionalRequestConflict"),
    "slow down": Fault(status=503, code="SlowDown"),
    "a slow body": Fault(trickle=0.5),
    "a lost request": Fault(reset=True),
    "half a request": Fault(cut_request=True),
    "a lost answer": Fault(lose_answer=True),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_every_call_outlives_failures_that_pass(s3: S3Server, fault: Fault) -> None:
    async with behind_proxy(s3) as (store, between, _):

        async def after_failures() -> None:
            between.judge = first(2, fault)

        await after_failures()
        await store.write("key", b"body")
        await after_failures()
        assert await store.read("key") == b"body"
        await after_failures()
        assert (await store.stat("key")).size == 4
        await after_failures()
        assert len(await store.list()) == 1
        await after_failures()
        await store.write("parts", b"p" * 17 * MIB)
        await after_failures()
        async with store.open("parts") as reader:
            assert sum([len(piece) async for piece in reader]) == 17 * MIB
        await after_failures()
        await store.delete("key")
        with pytest.raises(NotFoundError):
            await store.stat("key")


async def test_a_body_that_comes_slowly_is_waited_for(s3: S3Server) -> None:
    async with behind_proxy(s3, request_timeout_seconds=2.0) as (store, between, _):
        await store.write("key", bytes(MIB))
        between.judge = lambda _request: Fault(trickle=3.5)
        assert await store.read("key") == bytes(MIB)
        assert len([line for line in between.seen if line.startswith("GET")]) == 1


@pytest.mark.parametrize("fault", [Fault(lose_answer=True), Fault(cut_after=2 * MIB + 17)])
@pytest.mark.parametrize("span", [ByteRange(), ByteRange(1000, 3 * MIB)])
async def test_a_body_that_breaks_off_is_read_on(s3: S3Server, fault: Fault, span: ByteRange) -> None:
    data = bytes(range(251)) * (4 * MIB // 251)
    async with behind_proxy(s3) as (store, between, _):
        await store.write("key", data)
        expected = data[slice(*span.within(len(data)))]
        between.judge = first(2, fault, method="GET")
        assert await store.read("key", span) == expected
        between.judge = first(2, fault, method="GET")
        async with store.open("key", span) as reader:
            assert b"".join([piece async for piece in reader]) == expected


async def test_two_versions_are_never_mixed_in_one_reading(s3: S3Server) -> None:
    async with behind_proxy(s3) as (store, between, _):
        await store.write("key", b"a" * 4 * MIB)
        between.judge = first(1, Fault(cut_after=2 * MIB), method="GET")
        async with store.open("key") as reader:
            pieces = aiter(reader)
            await anext(pieces)
            await store.write("key", b"b" * 4 * MIB)
            with pytest.raises(ChangedError, match="no longer what it was"):
                _ = [piece async for piece in pieces]


async def test_a_silent_server_is_given_up_in_time(s3: S3Server) -> None:
    async with behind_proxy(s3, request_timeout_seconds=0.3, retry_seconds=1.0) as (store, between, _):
        between.judge = lambda _request: Fault(silent=True)
        for call in (store.read("key"), store.stat("key"), store.write("key", b"x"), store.list(), store.delete("key")):
            async with asyncio.timeout(DEADLINE):
                with pytest.raises(UnavailableError, match=r"in the bucket 'contract' at http|no answer within"):
                    await call


async def test_a_failed_upload_leaves_no_parts(s3: S3Server) -> None:
    what = settings(s3)
    prefix = what.url.rsplit("/", 1)[1]
    store = await connected(what)

    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * 9 * MIB
        raise ConnectionResetError("the source is gone")

    with pytest.raises(ConnectionResetError):
        await store.write("key", failing())
    with pytest.raises(SizeMismatchError):
        await store.write("key", once(b"x" * 9 * MIB), size=10 * MIB)

    def uploads() -> int:
        return len(s3.client().list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", []))

    async with asyncio.timeout(DEADLINE):
        while await asyncio.to_thread(uploads):  # noqa: ASYNC110 - the server has no events
            await asyncio.sleep(0.02)
    await store.close()


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        (lambda r: Fault(drop_headers=("If-None-Match",)) if r.method == "PUT" else None, "exists already, so two"),
        (lambda r: Fault(drop_headers=("If-None-Match",)) if r.method == "POST" else None, "when it comes in parts"),
        (lambda _: Fault(drop_headers=("x-amz-meta-runabout-write",)), "does not keep an object's metadata"),
        (lambda _: Fault(drop_headers=("Range",)), "does not answer to ranges"),
    ],
)
async def test_a_careless_server_is_refused_at_the_start(
    moto: S3Server, judge: Callable[[web.Request], Fault | None], words: str
) -> None:
    # moto checks no signatures, so that headers can be dropped.
    async with proxy(moto, judge) as between:
        with pytest.raises(UnsuitableError, match=words) as raised:
            await open_ost(settings(between.server))
        assert "\n" not in str(raised.value)


async def test_a_wrong_bucket_is_refused_in_one_sentence(s3: S3Server) -> None:
    wrong = replace(s3.settings(BUCKET), url="s3://no-such-bucket/x")
    with pytest.raises(
        UnsuitableError, match=r"the bucket 'no-such-bucket' at .*create the bucket or correct its name"
    ):
        await open_ost(wrong)


@pytest.mark.parametrize(("name", "value"), [("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_ACCESS_KEY_ID", "nobody")])
async def test_wrong_credentials_are_refused_in_one_sentence(
    versitygw: S3Server, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(DeniedError, match="correct the credentials"):
        await open_ost(settings(versitygw))


async def test_missing_credentials_are_refused_in_one_sentence(
    versitygw: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(DeniedError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a role"):
        await open_ost(settings(versitygw))


async def test_a_bucket_that_may_only_be_read_is_refused_in_one_sentence_and_left_as_it_was(
    versitygw: S3Server,
) -> None:
    def judge(request: web.Request) -> Fault | None:
        return Fault(status=403) if request.method in ("PUT", "POST") else None

    async with proxy(versitygw, judge) as between:
        what = settings(between.server)
        with pytest.raises(
            DeniedError, match=r"writing '.*probe/.*' in the bucket 'contract' .*the server says 403"
        ) as raised:
            await open_ost(what)
    assert "\n" not in str(raised.value)
    prefix = what.url.rsplit("/", 1)[1]
    assert "Contents" not in versitygw.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)


async def test_nobody_listening_is_said_after_the_time_for_tries() -> None:
    nowhere = S3Server(f"http://127.0.0.1:{free_port()}")
    async with asyncio.timeout(DEADLINE):
        # A busy machine may take all of that time to make the client.
        with pytest.raises(UnavailableError, match=r"Could not connect|no answer within 0\.5 seconds"):
            await open_ost(settings(nowhere, retry_seconds=0.5))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"s3_endpoint": "not a url"}, "the S3 settings cannot be used"),
        ({"s3_ca_file": "/no/such/file"}, "/no/such/file, is not there"),
        ({"url": "ftp://x"}, "neither file"),
    ],
)
async def test_impossible_settings_are_refused(changes: dict[str, str], words: str) -> None:
    fixed = {name: Path(value) if name == "s3_ca_file" else value for name, value in changes.items()}
    with pytest.raises(UnsuitableError, match=words):
        await open_ost(settings(S3Server("http://127.0.0.1:1"), **fixed))


@pytest.fixture
def private(tmp_path: Path) -> Iterator[S3Server]:
    """Return a server whose certificate is of an authority that nobody knows, for 127.0.0.1 alone."""
    folder = tmp_path / "s3"
    folder.mkdir()
    with s3_server.versitygw(folder, tls=certificates(tmp_path / "tls", name="private")) as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


async def test_a_server_with_a_certificate_of_the_named_authority_is_trusted(private: S3Server) -> None:
    store = await open_ost(settings(private))
    await store.write("a", b"stored")
    assert await store.read("a") == b"stored"
    await store.close()


@pytest.mark.parametrize(
    ("authority", "host", "words"),
    [
        (None, "127.0.0.1", r"name the file of the authority that signed it \(RUNABOUT_S3_CA_FILE\)"),
        ("another", "127.0.0.1", r"name the file of the authority that signed it \(RUNABOUT_S3_CA_FILE\)"),
        (
            "no certificate",
            "127.0.0.1",
            r"/no certificate/ca\.crt, cannot be used: .*; put certificates in PEM",
        ),
        ("tls", "localhost", r"use a name that its certificate has \(RUNABOUT_S3_ENDPOINT\)"),
    ],
)
async def test_a_server_that_could_be_anybody_is_refused_at_once_with_what_to_do(
    private: S3Server, tmp_path: Path, authority: str | None, host: str, words: str
) -> None:
    file = tmp_path / authority / "ca.crt" if authority is not None else None
    if authority == "another":
        certificates(tmp_path / authority, name=authority)
    if authority == "no certificate":
        (tmp_path / authority).mkdir()
        (tmp_path / authority / "ca.crt").write_text("not PEM")
    endpoint = private.endpoint.replace("127.0.0.1", host)
    with pytest.raises(UnsuitableError, match=words):
        await open_ost(settings(private, s3_ca_file=file, s3_endpoint=endpoint))


def announced(body: bytes) -> Announced:
    return Announced(len(body), hashlib.sha256(body).digest())


async def test_a_signed_url_reads_and_writes_without_credentials(s3: S3Server) -> None:
    store = await connected(settings(s3))
    await store.write("some key/ü+%", b"stored")
    reading = await store.presign("some key/ü+%")
    writing = await store.presign("new", expires_seconds=60, put=announced(b"uploaded"))
    assert reading is not None
    assert writing is not None
    asked = [URL(each.url, encoded=True).query["X-Amz-Expires"] for each in (reading, writing)]
    assert asked == ["900", "60"]
    async with aiohttp.ClientSession() as http:
        async with http.request(reading.method, URL(reading.url, encoded=True)) as answer:
            assert await answer.read() == b"stored"
        where = URL(writing.url, encoded=True)
        async with http.request(writing.method, where, headers=writing.headers, data=b"uploaded") as answer:
            assert answer.status == 200
    assert await store.read("new") == b"uploaded"
    with pytest.raises(ValueError, match="604800"):
        await store.presign("new", expires_seconds=604801)
    await store.close()


@pytest.mark.parametrize("body", [b"uploadex", b"upload", b"uploaded and more"], ids=["other", "shorter", "longer"])
async def test_a_signed_url_takes_no_bytes_but_the_ones_that_were_announced(versitygw: S3Server, body: bytes) -> None:
    store = await connected(settings(versitygw))
    writing = await store.presign("new", put=announced(b"uploaded"))
    assert writing is not None
    async with aiohttp.ClientSession() as http:
        where = URL(writing.url, encoded=True)
        async with http.put(where, headers=writing.headers, data=body) as answer:
            assert answer.status in (400, 403)
        async with http.put(where, data=b"uploaded") as answer:  # without the checksum that was signed
            assert answer.status in (400, 403)
    assert await store.list() == []
    await store.close()


async def test_a_prefix_is_a_world_of_its_own(s3: S3Server) -> None:
    name = uuid.uuid4().hex
    stores: list[ObjectStore] = [
        await connected(s3.settings(BUCKET, f"{name}{suffix}")) for suffix in ("/a", "/ab", "/a/b", "")
    ]
    for number, store in enumerate(stores):
        await store.write("key", str(number).encode(), create_only=True)
    assert [await store.read("key") for store in stores] == [b"0", b"1", b"2", b"3"]
    assert [each.key for each in await stores[0].list()] == ["b/key", "key"]
    assert [each.key for each in await stores[3].list("a")] == ["a/b/key", "a/key", "ab/key"]
    for store in stores:
        await store.close()


async def test_a_prefix_counts_in_the_length_of_a_key(s3: S3Server) -> None:
    store = await connected(s3.settings(BUCKET, "p" * 100))
    with pytest.raises(InvalidKeyError, match="at most 923 are possible here"):
        await store.write("a/" * 462, b"")
    await store.close()


async def test_the_object_that_shows_a_folder_is_not_listed(s3: S3Server) -> None:
    name = uuid.uuid4().hex
    await asyncio.to_thread(lambda: s3.client().put_object(Bucket=BUCKET, Key=f"{name}/", Body=b""))
    store = await open_ost(s3.settings(BUCKET, name))
    await store.write("key", b"")
    assert [each.key for each in await store.list()] == ["key"]
    await store.close()
