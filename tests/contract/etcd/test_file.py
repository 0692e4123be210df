"""The log in a file: what it promises beyond the contract, across openings and deaths of the process."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runabout.etcd import CompactedError, Compare, PermanentEtcdError, Put, UnavailableError, UnknownOutcomeError
from runabout.etcd.file import FileEtcd, LogInUseError, open_file

WAIT = 30.0

WRITER = """
import asyncio, pathlib, sys
from runabout.etcd import Put
from runabout.etcd.file import open_file

async def main() -> None:
    etcd = open_file(pathlib.Path(sys.argv[1]))
    number = 0
    while True:
        number += 1
        value = b"%d" % number
        assert (await etcd.txn((), [Put(b"a", value), Put(b"b", value * 1000)])).succeeded
        print(number, flush=True)

asyncio.run(main())
"""


def _killed(path: Path, *, after: int) -> int:
    """Kill a writer after so many acknowledged writes; return the last number that it was told is written."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        last = max(int(writer.stdout.readline()) for _ in range(after))
        writer.send_signal(signal.SIGKILL)
        return max([last, *(int(line) for line in writer.stdout if line.endswith("\n"))])


async def _reopened(etcd: FileEtcd, path: Path) -> FileEtcd:
    await etcd.close()
    return open_file(path)


async def test_what_was_written_is_there_again_with_its_revisions(tmp_path: Path) -> None:
    etcd = open_file(tmp_path / "log")
    await etcd.txn((), [Put(b"a", b"1"), Put(b"gone", b"1")])
    await etcd.delete(b"gone")
    before = await etcd.range(b"", b"\xff")
    etcd = await _reopened(etcd, tmp_path / "log")
    assert await etcd.range(b"", b"\xff") == before
    assert (await etcd.txn([Compare(b"a", b"1"), Compare(b"gone", None)], [Put(b"a", b"2")])).succeeded
    assert (await etcd.range(b"", b"\xff")).revision == before.revision + 1
    await etcd.close()


async def test_a_watch_from_before_the_opening_is_told_that_it_missed_something(tmp_path: Path) -> None:
    etcd = open_file(tmp_path / "log")
    await etcd.txn((), [Put(b"a", b"1")])
    revision = (await etcd.range(b"", b"\xff")).revision
    etcd = await _reopened(etcd, tmp_path / "log")
    with pytest.raises(CompactedError):
        await anext(etcd.watch(b"", b"\xff", revision=revision))
    await etcd.close()


@pytest.mark.parametrize("rounds", [3])
async def test_a_kill_loses_nothing_that_was_acknowledged_and_leaves_nothing_by_halves(
    tmp_path: Path, rounds: int
) -> None:
    path = tmp_path / "log"
    for round_ in range(rounds):
        last = _killed(path, after=20 + 7 * round_)
        etcd = open_file(path)
        first, second = await etcd.get(b"a"), await etcd.get(b"b")
        await etcd.close()
        assert first is not None
        assert int(first) in (last, last + 1)  # the next one may have been written without anybody being told
        assert second == first * 1000


async def test_only_one_process_has_the_file_and_the_next_one_is_told_who(tmp_path: Path) -> None:
    etcd = open_file(tmp_path / "log")
    with pytest.raises(LogInUseError, match=str(os.getpid())):
        open_file(tmp_path / "log")
    etcd = await _reopened(etcd, tmp_path / "log")
    await etcd.close()


async def test_a_file_that_is_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"somebody's letter\n" * 1000)
    for _ in range(2):  # the lock of the first try is free again
        with pytest.raises(PermanentEtcdError, match="log"):
            open_file(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == b"somebody's letter\n" * 1000


async def test_after_a_write_whose_outcome_is_unknown_nothing_is_answered_until_it_is_opened_again(
    tmp_path: Path,
) -> None:
    etcd = open_file(tmp_path / "log")
    await etcd.txn((), [Put(b"a", b"1")])
    # A constraint that is looked at when the transaction ends: so the commit itself fails, as when the disk refuses it.
    etcd._database.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    etcd._database.execute("CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    etcd._database.execute("PRAGMA foreign_keys = ON")
    etcd._database.execute("CREATE TRIGGER fault AFTER INSERT ON items BEGIN INSERT INTO child VALUES (7); END")
    with pytest.raises(UnknownOutcomeError):
        await etcd.txn((), [Put(b"a", b"2")])
    with pytest.raises(UnavailableError, match="opened again"):
        await etcd.get(b"a")
    etcd = await _reopened(etcd, tmp_path / "log")
    assert await etcd.get(b"a") == b"1"
    await etcd.close()


async def test_a_call_whose_caller_is_gone_does_not_disturb_the_next_one(tmp_path: Path) -> None:
    etcd = open_file(tmp_path / "log")
    call = asyncio.ensure_future(etcd.txn((), [Put(b"a", b"1")]))
    done, _ = await asyncio.wait([call], timeout=0)
    assert not done
    call.cancel()
    async with asyncio.timeout(WAIT):
        assert (await etcd.txn((), [Put(b"b", b"1")])).succeeded
        revision = (await etcd.range(b"", b"\xff")).revision
        assert (await anext(etcd.watch(b"b", b"c", revision=revision))).value == b"1"
    await etcd.close()
