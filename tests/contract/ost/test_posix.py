"""What only a directory can go through: crashes, foreign files, full and failing disks."""

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runabout.ost import (
    AlreadyExistsError,
    CorruptError,
    DeniedError,
    FullError,
    InvalidKeyError,
    NotFoundError,
    OstError,
    OstSettings,
    UnavailableError,
    UnsuitableError,
    WriteFailedError,
    iterate,
    open_ost,
)
from runabout.ost.draft import Draft
from runabout.ost.posix import PosixObjectStore

MIB = 1024 * 1024
DEADLINE = 60.0


@pytest.fixture
async def posix(tmp_path: Path) -> AsyncIterator[PosixObjectStore]:
    store = PosixObjectStore(tmp_path / "base", threads=4)
    await store.probe()
    yield store
    await store.close()


def drafts(base: Path) -> list[Path]:
    return list((base / "tmp").iterdir())


async def until_no_drafts(base: Path) -> None:
    async with asyncio.timeout(DEADLINE):
        while drafts(base):  # noqa: ASYNC110 - a file system has no events
            await asyncio.sleep(0.005)


keys = st.one_of(
    st.text(alphabet="ab./+~%-\\é\n", min_size=1, max_size=12),
    st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text),
    st.lists(st.sampled_from(["a" * 79, "a" * 80, "a" * 81, "", ".", "..", "b"]), min_size=2, max_size=4).map("/".join),
).filter(lambda text: text.isprintable() or text.encode("utf-8", "ignore").decode() == text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    written=st.lists(keys, min_size=1, max_size=12, unique=True),
    deleted=st.sets(st.integers(0, 11)),
    prefix=st.one_of(st.just(""), keys),
    after=st.one_of(st.just(""), keys),
    limit=st.integers(1, 4),
)
def test_any_keys_stay_inside_and_are_listed_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[str],
    deleted: set[int],
    prefix: str,
    after: str,
    limit: int,
) -> None:
    folder = tmp_path_factory.mktemp("keys")
    outside = {path.name for path in folder.iterdir()}
    kept = [key for at, key in enumerate(written) if at not in deleted]

    async def scenario() -> tuple[list[str], list[str]]:
        store = PosixObjectStore(folder / "base", threads=2)
        await store.probe()
        for key in written:
            await store.write(key, key.encode(), persist=False, create_only=True)
        for key in set(written) - set(kept):
            await store.delete(key)
        for key in kept:
            assert await store.read(key) == key.encode()
        everything = [each.key async for each in iterate(store)]
        paged: list[str] = []
        start = after
        while page := await store.list(prefix, start_after=start, limit=limit):
            paged += [each.key for each in page]
            start = page[-1].key
        await store.close()
        return everything, paged

    everything, paged = asyncio.run(scenario())
    assert everything == sorted(kept, key=str.encode)
    wanted = [key for key in kept if key.startswith(prefix) and key.encode() > after.encode()]
    assert paged == sorted(wanted, key=str.encode)
    assert {path.name for path in folder.iterdir()} - outside == {"base"}
    files = [path for path in (folder / "base" / "objects").rglob("*") if path.is_file()]
    assert len(files) == len(kept)


WRITER = """
import asyncio, sys
from pathlib import Path
from runabout.ost.posix import PosixObjectStore

async def endless():
    while True:
        yield b"x" * 100_000
        print("written", flush=True)

async def main():
    store = PosixObjectStore(Path(sys.argv[1]))
    await store.probe()
    print("ready", flush=True)
    if sys.argv[2] == "stream":
        await store.write("half", endless(), persist=False)
    number = 0
    while True:
        await store.write(f"whole/{number % 3}", bytes([number % 256]) * 300_000)
        print("written", flush=True)
        number += 1

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["stream", "replace"])
@pytest.mark.parametrize("lines", [2, 5, 9])
async def test_a_killed_writer_leaves_nothing_half_written(tmp_path: Path, kind: str, lines: int) -> None:
    await asyncio.to_thread(kill_writer, tmp_path, kind, lines)
    store = await open_ost(OstSettings(f"file://{tmp_path}"))
    found = await store.list()
    assert kind == "replace" or found == []
    for each in found:
        body = await store.read(each.key)
        assert len(body) == 300_000
        assert len(set(body)) == 1
    await store.close()


def kill_writer(folder: Path, kind: str, lines: int) -> None:
    """Kill a process that writes into `folder`, when it has said so many lines."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), kind],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert writer.stdout is not None
    try:
        for _ in range(lines):
            assert writer.stdout.readline()
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait(DEADLINE)
        writer.stdout.close()


async def test_what_a_dead_writer_left_is_removed_after_a_day(posix: PosixObjectStore, tmp_path: Path) -> None:
    folder = tmp_path / "base" / "tmp"
    for name, age in (("old", 25 * 3600), ("young", 23 * 3600)):
        (folder / name).write_bytes(b"left")
        os.utime(folder / name, (time.time() - age,) * 2)
    await posix.probe()
    assert [path.name for path in folder.iterdir()] == ["young"]


async def test_a_write_leaves_no_draft_behind(posix: PosixObjectStore, tmp_path: Path) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x"
        raise ConnectionResetError

    for create_only in (True, False):
        await posix.write("a", b"1", create_only=create_only)
    with pytest.raises(AlreadyExistsError):
        await posix.write("a", b"1", create_only=True)
    with pytest.raises(ConnectionResetError):
        await posix.write("b", failing())
    await until_no_drafts(tmp_path / "base")


async def test_emptied_folders_go_with_the_last_object(posix: PosixObjectStore, tmp_path: Path) -> None:
    await posix.write("a/b/c", b"")
    await posix.write("a/d", b"")
    root = tmp_path / "base" / "objects"
    await posix.delete("a/b/c")
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == ["a+", "a+/d"]
    await posix.delete("a/d")
    assert list(root.iterdir()) == []


async def test_writers_and_deleters_in_one_folder_do_not_disturb_each_other(posix: PosixObjectStore) -> None:
    async def come_and_go(name: str) -> None:
        for _ in range(60):
            await posix.write(f"deep/er/{name}", b"x", create_only=True)
            assert await posix.read(f"deep/er/{name}") == b"x"
            await posix.delete(f"deep/er/{name}")

    await asyncio.gather(*(come_and_go(name) for name in "abcd"))
    assert await posix.list() == []


async def test_files_of_others_are_passed_over_and_links_are_not_followed(
    posix: PosixObjectStore, tmp_path: Path
) -> None:
    root = tmp_path / "base" / "objects"
    (tmp_path / "secret").write_text("outside")
    for name in ("lost+found", "folder"):
        (root / name).mkdir()
        (root / name / "file").write_text("x")
    (root / ".nfs0001").write_text("x")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "dir+").symlink_to(tmp_path)
    await posix.write("mine", b"")
    assert [each.key for each in await posix.list()] == ["mine"]
    with pytest.raises(CorruptError, match="no file"):
        await posix.read("link")


async def test_a_lost_answer_to_a_link_is_told_from_another_file(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    first, second = Draft(tmp_path), Draft(tmp_path)
    target = tmp_path / "root" / "target"
    assert first.create(target, tmp_path / "root")
    assert first.create(target, tmp_path / "root")
    assert not second.create(target, tmp_path / "root")
    first.discard()
    second.discard()
    assert target.exists()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("create_only", [True, False])
async def test_without_room_nothing_is_stored(posix: PosixObjectStore, tmp_path: Path, create_only: bool) -> None:
    with largest_file(MIB), pytest.raises(FullError, match=r"writing 'big' in .*; make room"):
        await posix.write("big", bytes(3 * MIB), create_only=create_only)
    assert await posix.list() == []
    await until_no_drafts(tmp_path / "base")
    await posix.write("big", bytes(3 * MIB), create_only=create_only)


@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
async def test_a_failed_sync_fails_the_write_and_shows_nothing(
    posix: PosixObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    calls: list[int] = []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    await posix.write("kept", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        for key in ("kept", "new"):
            with pytest.raises(WriteFailedError, match="check the disk"):
                await posix.write(key, bytes(33 * MIB))
    assert len(calls) == 2
    assert await posix.read("kept") == b"old"
    assert [each.key for each in await posix.list()] == ["kept"]
    await until_no_drafts(tmp_path / "base")


async def test_persist_syncs_the_file_and_every_folder_above_it(
    posix: PosixObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def recording(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    await posix.write("a/b/c", b"x")
    assert synced[1:] == ["b+", "a+", "objects"]
    synced.clear()
    await posix.write("a/b/d", b"x", persist=False)
    assert synced == []


async def test_an_object_that_is_there_already_is_synced_before_that_is_said(
    posix: PosixObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await posix.write("a/b", b"x", persist=False)  # as by one who died before he had it synced
    synced: list[str] = []
    sync = os.fsync

    def recording(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    with pytest.raises(AlreadyExistsError):
        await posix.write("a/b", b"y", persist=False, create_only=True)
    assert synced == []
    with pytest.raises(AlreadyExistsError):
        await posix.write("a/b", b"y", create_only=True)
    assert synced == ["b", "a+", "objects"]


async def test_a_shortened_file_is_no_shorter_object(posix: PosixObjectStore, tmp_path: Path) -> None:
    await posix.write("key", bytes(3 * MIB))
    async with posix.open("key") as reader:
        pieces = aiter(reader)
        await anext(pieces)
        os.truncate(tmp_path / "base" / "objects" / "key", MIB + 5)
        with pytest.raises(CorruptError, match="shorter"):
            _ = [piece async for piece in pieces]


async def test_a_volume_that_went_away_is_no_empty_store(posix: PosixObjectStore, tmp_path: Path) -> None:
    await posix.write("key", b"x")
    (tmp_path / "base" / "objects").rename(tmp_path / "elsewhere")
    for call in (posix.list(), posix.read("key"), posix.stat("key")):
        with pytest.raises(UnavailableError, match="is its volume mounted"):
            await call
    with pytest.raises(UnavailableError):
        await posix.write("other", b"x")


async def test_a_place_that_cannot_be_written_says_so(posix: PosixObjectStore, tmp_path: Path) -> None:
    folder = tmp_path / "base" / "tmp"
    folder.rmdir()
    folder.symlink_to("/sys/kernel")  # refuses new files, also to root
    with pytest.raises(DeniedError, match="must be able to read and write there"):
        await posix.write("key", b"x")
    with pytest.raises(UnsuitableError, match=r"cannot be used .*: make it a directory that user \d+ may write"):
        await posix.probe()


@pytest.mark.parametrize("base", ["/sys/kernel", "/proc/runabout", "/dev/null", "/dev/null/x"])
async def test_an_impossible_directory_is_refused_in_one_sentence(base: str) -> None:
    with pytest.raises(UnsuitableError, match=f"the object storage's directory {base} cannot be used") as raised:
        await open_ost(OstSettings(f"file://{base}"))
    assert "\n" not in str(raised.value)


def entries(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


async def test_a_full_disk_is_refused_at_the_start_in_one_sentence(tmp_path: Path) -> None:
    with largest_file(0), pytest.raises(FullError, match=r"writing 'probe/.*' in .*; make room") as raised:
        await open_ost(OstSettings(f"file://{tmp_path}/some/base"))
    assert "\n" not in str(raised.value)
    assert entries(tmp_path) == []
    store = await open_ost(OstSettings(f"file://{tmp_path}/some/base"))
    assert await store.list() == []
    await store.close()


async def test_a_full_disk_leaves_the_folders_that_were_there_before(tmp_path: Path) -> None:
    await (await open_ost(OstSettings(f"file://{tmp_path}"))).close()
    (tmp_path / "tmp").rmdir()
    with largest_file(0), pytest.raises(FullError):
        await open_ost(OstSettings(f"file://{tmp_path}"))
    assert entries(tmp_path) == ["objects"]


async def test_a_base_too_long_for_the_longest_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsuitableError, match="no absolute path of at most 512 bytes"):
        await open_ost(OstSettings(f"file://{tmp_path}/{'x/' * 300}"))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOENT, NotFoundError),
        (errno.ENOSPC, FullError),
        (errno.EDQUOT, FullError),
        (errno.EFBIG, FullError),
        (errno.EACCES, DeniedError),
        (errno.EPERM, DeniedError),
        (errno.EROFS, DeniedError),
        (errno.ENAMETOOLONG, InvalidKeyError),
        (errno.EIO, WriteFailedError),
        (errno.ESTALE, UnavailableError),
        (errno.EMFILE, UnavailableError),
    ],
)
async def test_an_error_of_the_system_becomes_one_of_ours(
    posix: PosixObjectStore, number: int, expected: type[OstError]
) -> None:
    found = posix._translate(OSError(number, os.strerror(number)), "writing 'x'", WriteFailedError)
    assert type(found) is expected
    assert str(found).startswith("writing 'x' in ")
