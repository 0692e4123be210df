"""Where output waits until it is stored: what goes in comes out, step by step, up to the limit."""

import asyncio
import contextlib
from pathlib import Path
from tempfile import gettempdir

from hypothesis import given, settings
from hypothesis import strategies as st

from runabout.control.spool import IN_MEMORY, PIECE, Spool

HERE = Path(gettempdir())
"""Only what is over IN_MEMORY is written there, without a name."""
APPENDS = st.lists(st.tuples(st.integers(-1, 3), st.binary(max_size=30), st.booleans()), max_size=30)


def content(spool: Spool) -> dict[int, bytes]:
    async def read() -> dict[int, bytes]:
        return {step: b"".join([piece async for piece in spool.read(step)]) for step in spool.sizes}

    return asyncio.run(read())


@settings(max_examples=200)
@given(APPENDS, st.integers(0, 400))
def test_each_step_has_its_own_bytes_in_their_order_up_to_the_limit(
    appends: list[tuple[int, bytes, bool]], limit: int
) -> None:
    expected: dict[int, bytes] = {}
    cut: dict[int, int] = {}
    with contextlib.closing(Spool(HERE, limit=limit)) as spool:
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
    with contextlib.closing(Spool(HERE, limit=10 * PIECE)) as spool:
        spool.append(0, first)
        spool.append(1, second)
        spool.append(0, b"end of the first")
        assert content(spool) == {0: first + b"end of the first", 1: second}
