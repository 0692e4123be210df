"""What every store promises: the same tests on memory, a directory, and two S3 servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from runabout.ost import (
    AlreadyExistsError,
    ByteRange,
    InvalidKeyError,
    NotFoundError,
    ObjectStore,
    SizeMismatchError,
    iterate,
)

MIB = 1024 * 1024

PLAIN_KEYS = [
    "x",
    "logs/1il7g1c000001/build/1/0",
    "with space and + and %2F",
    "%",
    "100%/+/~",
    "a?b#c&d=e;f",
    "*|<>:\"'`$(x)\\",
    "ünï/çødé",
    "日本語/😀",
    "é combined e\u0301",
    ".hidden/..b/c..",
    ".nfs0001",
    "CON/aux.",
    "y" * 255,
    "y" * 79,
    "y" * 80,
    "y" * 80 + "/z",
    "a/" * 450 + "b",
]
"""Keys that every store takes."""
ODD_KEYS = [
    "..",
    "../x",
    "a/../../../../x",
    "a/./b",
    "a//b",
    "/leading",
    "trailing/",
    "/",
    "line\nfeed",
    "\x01\x7f",
    "\ufffe",
    "x" * 256,
    "é" * 256,
    "k" * 990,
]
"""Keys that a store takes as they are or refuses, but never takes for another."""


async def once(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def whole(store: ObjectStore, key: str, span: ByteRange) -> bytes:
    async with store.open(key, span) as reader:
        return b"".join([piece async for piece in reader])


@pytest.mark.parametrize("size", [0, 1, 5 * MIB + 1, 8 * MIB, 20 * MIB + 7])
async def test_bytes_come_back_as_they_were_written(store: ObjectStore, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"\xff" * (size % 256)
    await store.write("some/object", data)
    assert await store.read("some/object") == data
    assert await whole(store, "some/object", ByteRange()) == data
    assert (await store.stat("some/object")).size == size


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("pieces", [[], [b""], [b"", b"a", b"", b"bc"], [b"x" * MIB] * 9, [b"y" * (17 * MIB + 3)]])
async def test_a_stream_is_stored_as_one_object(store: ObjectStore, pieces: list[bytes], known: bool) -> None:
    size = sum(map(len, pieces))
    await store.write("streamed", once(*pieces), size=size if known else None, create_only=True)
    assert await store.read("streamed") == b"".join(pieces)


async def test_reading_in_pieces_never_holds_more_than_a_mebibyte(store: ObjectStore) -> None:
    await store.write("large", bytes(3 * MIB + 1))
    async with store.open("large") as reader:
        assert reader.info.size == 3 * MIB + 1
        sizes = [len(piece) async for piece in reader]
    assert sum(sizes) == 3 * MIB + 1
    assert max(sizes) <= MIB


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (ByteRange(), b"0123456789"),
        (ByteRange(0, 4), b"0123"),
        (ByteRange(3), b"3456789"),
        (ByteRange(3, 2), b"34"),
        (ByteRange(8, 100), b"89"),
        (ByteRange(10), b""),
        (ByteRange(10, 1), b""),
        (ByteRange(500, 5), b""),
        (ByteRange(2, 0), b""),
    ],
)
async def test_a_range_is_cut_at_the_end(store: ObjectStore, span: ByteRange, expected: bytes) -> None:
    await store.write("ten", b"0123456789")
    assert await store.read("ten", span) == expected
    assert await whole(store, "ten", span) == expected
    async with store.open("ten", span) as reader:
        assert reader.info.size == 10


@pytest.mark.parametrize("span", [ByteRange(), ByteRange(0, 1), ByteRange(4, 0)])
async def test_an_empty_object_has_ranges_too(store: ObjectStore, span: ByteRange) -> None:
    await store.write("empty", b"")
    assert await store.read("empty", span) == b""
    assert await whole(store, "empty", span) == b""


@pytest.mark.parametrize("span", [ByteRange(), ByteRange(0, 1), ByteRange(4, 0)])
async def test_what_is_not_there_is_said_to_be_not_there(store: ObjectStore, span: ByteRange) -> None:
    with pytest.raises(NotFoundError, match="no/such"):
        await store.read("no/such", span)
    with pytest.raises(NotFoundError, match="no/such"):
        await whole(store, "no/such", span)
    with pytest.raises(NotFoundError, match="no/such"):
        await store.stat("no/such")
    await store.delete("no/such")


async def test_a_write_replaces_what_was_there(store: ObjectStore) -> None:
    await store.write("key", b"a longer first version")
    await store.write("key", b"second")
    assert await store.read("key") == b"second"
    await store.write("key", once(b"th", b"ird"), persist=False)
    assert await store.read("key") == b"third"
    assert [each.key for each in await store.list()] == ["key"]


@pytest.mark.parametrize("size", [1, 9 * MIB])
async def test_create_only_leaves_what_was_there(store: ObjectStore, size: int) -> None:
    await store.write("key", b"first", create_only=True)
    with pytest.raises(AlreadyExistsError, match="key"):
        await store.write("key", b"x" * size, create_only=True)
    with pytest.raises(AlreadyExistsError, match="key"):
        await store.write("key", once(b"x" * size), create_only=True, persist=False)
    assert await store.read("key") == b"first"


@pytest.mark.parametrize("race", range(5))
@pytest.mark.parametrize("size", [10, 9 * MIB])
async def test_one_of_many_creators_wins(atomic_store: ObjectStore, race: int, size: int) -> None:
    store = atomic_store
    writers = 12 if size < MIB else 3
    key = f"race/{race}"

    async def create(writer: int) -> bool:
        try:
            await store.write(key, bytes([writer]) * size, create_only=True)
        except AlreadyExistsError:
            return False
        return True

    won = await asyncio.gather(*(create(writer) for writer in range(writers)))
    assert won.count(True) == 1
    assert await store.read(key) == bytes([won.index(True)]) * size


async def test_a_deleted_object_can_be_created_again(store: ObjectStore) -> None:
    await store.write("a/b/c", b"1", create_only=True)
    await store.delete("a/b/c")
    with pytest.raises(NotFoundError):
        await store.stat("a/b/c")
    assert await store.list() == []
    await store.write("a/b/c", b"2", create_only=True)
    assert await store.read("a/b/c") == b"2"


@pytest.mark.parametrize(
    ("announced", "size"),
    [(3, 2), (3, 4), (0, 1), (8 * MIB, 8 * MIB + 1), (9 * MIB, 9 * MIB - 1), (9 * MIB, 9 * MIB + 1)],
)
async def test_data_of_another_size_than_announced_is_not_stored(store: ObjectStore, announced: int, size: int) -> None:
    with pytest.raises(SizeMismatchError, match="key"):
        await store.write("key", bytes(size), size=announced)
    with pytest.raises(SizeMismatchError, match="key"):
        await store.write("key", once(bytes(size - 1), b"1"), size=announced)
    assert await store.list() == []


@pytest.mark.parametrize("before", [b"", b"a little", b"x" * 9 * MIB])
async def test_a_stream_that_fails_stores_nothing(store: ObjectStore, before: bytes) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield before
        raise ConnectionResetError("the source is gone")

    await store.write("kept", b"old")
    for key in ("kept", "new"):
        with pytest.raises(ConnectionResetError, match="the source is gone"):
            await store.write(key, failing())
    assert [each.key for each in await store.list()] == ["kept"]
    assert await store.read("kept") == b"old"


async def test_a_cancelled_write_leaves_nothing_half_written(store: ObjectStore) -> None:
    started = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 9 * MIB
        started.set()
        await asyncio.Event().wait()
        yield b"never"

    writing = asyncio.create_task(store.write("key", endless()))
    await asyncio.wait_for(started.wait(), 60)
    writing.cancel()
    with suppress(asyncio.CancelledError):
        await writing
    assert await store.list() == []


async def test_a_reader_sees_one_version_or_fails(store: ObjectStore) -> None:
    await store.write("key", b"a" * 4 * MIB)
    async with store.open("key") as reader:
        pieces = aiter(reader)
        first = await anext(pieces)
        await store.write("key", b"b" * 4 * MIB)
        rest = b"".join([piece async for piece in pieces])
    assert set(first + rest) == {ord("a")}


@pytest.mark.parametrize("key", PLAIN_KEYS)
async def test_every_store_takes_a_plain_key(store: ObjectStore, key: str) -> None:
    await store.write(key, key.encode(), create_only=True)
    assert await store.read(key) == key.encode()
    assert [each.key for each in await store.list()] == [key]
    assert [each.key for each in await store.list(key[: len(key) // 2])] == [key]
    await store.delete(key)
    assert await store.list() == []


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_an_odd_key_is_taken_as_it_is_or_refused(store: ObjectStore, key: str) -> None:
    neighbours = ["x", "a/b", "leading", "trailing"]
    for each in neighbours:
        await store.write(each, b"neighbour")
    try:
        await store.write(key, key.encode(), create_only=True)
    except InvalidKeyError:
        expected = neighbours
    else:
        expected = [*neighbours, key]
        assert await store.read(key) == key.encode()
    assert [each.key for each in await store.list()] == sorted(expected, key=str.encode)
    for each in neighbours:
        assert await store.read(each) == b"neighbour"


@pytest.mark.parametrize("key", ["", "\ud800", "nul\0", "x" * 1025, "é" * 513])
async def test_what_no_object_can_be_called_is_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(InvalidKeyError):
        await store.write(key, b"")
    with pytest.raises(InvalidKeyError):
        await store.read(key)
    with pytest.raises(InvalidKeyError):
        await store.stat(key)
    with pytest.raises(InvalidKeyError):
        await store.delete(key)


async def test_a_key_that_begins_another_is_taken_or_refused_and_harms_nobody(store: ObjectStore) -> None:
    await store.write("a/b/c", b"deep")
    kept = {"a/b/c": b"deep"}
    for key in ("a", "a/b", "a/b/c/d", "a/b/c-"):
        try:
            await store.write(key, key.encode(), create_only=True)
        except InvalidKeyError:
            continue
        kept[key] = key.encode()
    assert [each.key for each in await store.list()] == sorted(kept)
    for key, body in kept.items():
        assert await store.read(key) == body


async def test_a_listing_is_in_the_order_of_the_bytes(store: ObjectStore) -> None:
    keys = [
        "B",
        "a",
        "a!",
        "a-b",
        "a.b/c",
        "a0",
        "b/a",
        "b/é",
        "b/z",
        "c/😀",
        "c/\uffee",
        "é",
        "z" * 90,
        "z" * 90 + "!",
    ]
    for key in reversed(keys):
        await store.write(key, b"", persist=False)
    assert [each.key for each in await store.list()] == sorted(keys, key=str.encode)


@pytest.mark.parametrize(
    ("prefix", "start_after", "expected"),
    [
        ("", "", ["a", "b-1", "b/1", "b/2", "b/2-", "b/c/d", "b0", "c"]),
        ("b", "", ["b-1", "b/1", "b/2", "b/2-", "b/c/d", "b0"]),
        ("b/", "", ["b/1", "b/2", "b/2-", "b/c/d"]),
        ("b/2", "", ["b/2", "b/2-"]),
        ("b/", "b/2", ["b/2-", "b/c/d"]),
        ("b/", "a", ["b/1", "b/2", "b/2-", "b/c/d"]),
        ("b/", "b/c/", ["b/c/d"]),
        ("b/", "c", []),
        ("", "b/1x", ["b/2", "b/2-", "b/c/d", "b0", "c"]),
        ("", "b/c/d", ["b0", "c"]),
        ("no", "", []),
        ("b/no/", "", []),
    ],
)
async def test_a_listing_begins_where_it_is_told(
    store: ObjectStore, prefix: str, start_after: str, expected: list[str]
) -> None:
    for key in ("a", "b/1", "b/2", "b/2-", "b/c/d", "b-1", "b0", "c"):
        await store.write(key, b"", persist=False)
    assert [each.key for each in await store.list(prefix, start_after=start_after)] == expected
    found: list[str] = []
    while page := await store.list(prefix, start_after=found[-1] if found else start_after, limit=2):
        assert len(page) <= 2
        found += [each.key for each in page]
    assert found == expected


async def test_a_long_listing_has_everything_once(store: ObjectStore) -> None:
    keys = [f"many/{number % 7}/{number:04}" for number in range(1030)]
    for at in range(0, len(keys), 103):
        await asyncio.gather(*(store.write(key, b"", persist=False) for key in keys[at : at + 103]))
    assert len(await store.list("many/")) == 1000
    assert [each.key async for each in iterate(store, "many/")] == sorted(keys)
    after = sorted(keys)[500]
    assert [each.key async for each in iterate(store, "many/", start_after=after)] == sorted(keys)[501:]


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_page_has_between_one_and_a_thousand_objects(store: ObjectStore, limit: int) -> None:
    with pytest.raises(ValueError, match="1000"):
        await store.list(limit=limit)


async def test_an_object_is_described_with_size_and_time(store: ObjectStore) -> None:
    await store.write("key", b"12345")
    described, (listed,) = await store.stat("key"), await store.list()
    assert (described.key, described.size) == (listed.key, listed.size) == ("key", 5)
    for info in (described, listed):
        assert info.modified.tzinfo is not None
        assert abs(datetime.now(UTC) - info.modified) < timedelta(minutes=5)


async def test_many_calls_at_once_are_all_answered(store: ObjectStore) -> None:
    async def one(number: int) -> bool:
        await store.write(f"n/{number}", str(number).encode(), persist=False)
        return await store.read(f"n/{number}") == str(number).encode()

    assert all(await asyncio.gather(*(one(number) for number in range(150))))


async def test_a_probe_leaves_nothing_behind(store: ObjectStore) -> None:
    await store.probe()
    assert await store.list() == []
