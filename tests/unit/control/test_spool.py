"""Where output waits until it is stored: what goes in comes out, step by step, up to the limit."""

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from tempfile import gettempdir

from hypothesis import given, settings
from hypothesis import strategies as st

from runabout.control.spool import IN_MEMORY, PIECE, Budget, Kept, Spool

HERE = Path(gettempdir())
"""Only what is over IN_MEMORY is written there, without a name."""
APPENDS = st.lists(st.tuples(st.integers(-1, 3), st.binary(max_size=30), st.booleans()), max_size=30)


def content(spool: Spool) -> dict[int, bytes]:
    async def read() -> dict[int, bytes]:
        return {step: b"".join([piece async for piece in whole(step)]) for step in spool.sizes}

    async def whole(step: int) -> AsyncIterator[bytes]:
        for part in spool.parts(step):
            assert isinstance(part, Kept)
            async for piece in spool.read(part):
                yield piece

    return asyncio.run(read())


@settings(max_examples=200)
@given(APPENDS, st.integers(0, 400))
def test_each_step_has_its_own_bytes_in_their_order_up_to_the_limit(
    appends: list[tuple[int, bytes, bool]], limit: int
) -> None:
    expected: dict[int, bytes] = {}
    cut: dict[int, int] = {}
    with contextlib.closing(Spool(HERE, limit=limit, budget=Budget(0))) as spool:
        for step, data, ours in appends:
            before = expected.get(step, b"")
            if ours:
                line = b"[" + data.replace(b"\n", b"") + b"]\n"
                spool.note(step, line)
                kept = line if not before or before.endswith(b"\n") else b"\n" + line
            else:
                spool.append(step, data)
                kept = data[: max(0, limit - sum(map(len, expected.values())))]
                if len(kept) < len(data):
                    cut[step] = cut.get(step, 0) + len(data) - len(kept)
            if kept:
                expected[step] = before + kept
        assert content(spool) == expected
        assert spool.sizes == {step: len(data) for step, data in expected.items()}
        assert spool.size == sum(map(len, expected.values()))
        assert spool.cut == cut


def test_output_larger_than_memory_and_a_piece_comes_back_whole() -> None:
    first, second = b"a" * (IN_MEMORY + 1), bytes(range(256)) * (PIECE // 256 + 1)
    with contextlib.closing(Spool(HERE, limit=10 * PIECE, budget=Budget(10 * PIECE))) as spool:
        spool.append(0, first)
        spool.append(1, second)
        spool.append(0, b"end of the first")
        assert content(spool) == {0: first + b"end of the first", 1: second}


def test_all_files_together_have_one_budget_and_what_exceeds_it_is_cut() -> None:
    budget, told = Budget(100), list[str]()
    with (
        contextlib.closing(Spool(HERE, limit=10 * PIECE, budget=budget)) as one,
        contextlib.closing(Spool(HERE, limit=10 * PIECE, budget=budget, on_full=told.append)) as other,
    ):
        one.append(0, b"a" * (IN_MEMORY + 70))
        other.append(0, b"b" * IN_MEMORY)
        assert (budget.left, told) == (30, [])
        other.append(0, b"c" * 50)
        other.append(1, b"d" * 5)
        other.note(1, b"[about it]\n")
        assert (one.cut, other.cut) == ({}, {0: 20, 1: 5})
        assert content(other) == {0: b"b" * IN_MEMORY + b"c" * 30, 1: b"[about it]\n"}
        assert told == ["the limit is 100 for all attempts that wait to be stored"]
        assert budget.left == 0


def test_the_budget_is_given_back_once_and_whole_when_a_spool_is_closed() -> None:
    budget = Budget(100)
    spool = Spool(HERE, limit=10 * PIECE, budget=budget)
    spool.append(0, b"a" * (IN_MEMORY + 300))
    spool.note(0, b"[about it]\n")
    assert budget.left == 0
    spool.close()
    spool.close()
    assert budget.left == 100
    assert budget.take(200) == 100


def test_a_spool_that_lost_something_keeps_no_more_output_though_there_is_room_again() -> None:
    budget = Budget(100)
    with contextlib.closing(Spool(HERE, limit=10 * PIECE, budget=budget)) as spool:
        other = Spool(HERE, limit=10 * PIECE, budget=budget)
        other.append(0, b"a" * (IN_MEMORY + 100))
        spool.append(0, b"b" * (IN_MEMORY + 10))
        other.close()
        spool.append(0, b"what came later\n")
        assert content(spool) == {0: b"b" * IN_MEMORY}
        assert spool.cut == {0: 26}


class FullDisk:
    """A file on a disk that has room for 1000 bytes."""

    def __init__(self) -> None:
        self._bytes = BytesIO()
        self.read = self._bytes.read
        self.seek = self._bytes.seek
        self.close = self._bytes.close

    def write(self, data: memoryview, /) -> int:
        room = 1000 - self._bytes.tell()
        if room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._bytes.write(data[:room])


def test_output_that_the_disk_has_no_room_for_is_cut_and_lines_about_it_are_kept() -> None:
    budget, told = Budget(PIECE), list[str]()
    spool = Spool(HERE, limit=10 * PIECE, budget=budget, on_full=told.append, open_file=lambda _directory: FullDisk())
    with contextlib.closing(spool):
        spool.append(0, b"a" * (IN_MEMORY + 400))
        spool.append(1, b"b" * 700)
        spool.append(1, b"c" * 50)
        spool.append(2, b"d" * 50)
        spool.note(1, b"[about it]\n")
        spool.note(2, b"[about that]\n")
        assert content(spool) == {
            0: b"a" * (IN_MEMORY + 400),
            1: b"b" * 600 + b"\n[about it]\n",
            2: b"[about that]\n",
        }
        assert spool.cut == {1: 150, 2: 50}
        assert spool.full == "they could not be written: No space left on device"
        assert told == [spool.full]
        assert budget.left == PIECE - 1000
    assert budget.left == PIECE


def test_the_first_reason_to_cut_is_the_one_that_is_told() -> None:
    told = list[str]()
    spool = Spool(
        HERE, limit=IN_MEMORY + 999, budget=Budget(PIECE), on_full=told.append, open_file=lambda _directory: FullDisk()
    )
    with contextlib.closing(spool):
        spool.append(0, b"a" * (IN_MEMORY + 1200))
        spool.note(0, b"[about it]\n")
        assert spool.cut == {0: 201}
        assert told == [spool.full] == [f"the limit is {IN_MEMORY + 999} an attempt"]


def test_a_line_about_output_that_the_disk_has_no_room_for_is_whole() -> None:
    budget = Budget(PIECE)
    with contextlib.closing(
        Spool(HERE, limit=10 * PIECE, budget=budget, open_file=lambda _directory: FullDisk())
    ) as spool:
        spool.append(0, b"a" * (IN_MEMORY + 995))
        spool.note(0, b"[about it]\n")
        assert content(spool) == {0: b"a" * (IN_MEMORY + 995) + b"\n[about it]\n"}
        assert spool.cut == {}
    assert budget.left == PIECE
