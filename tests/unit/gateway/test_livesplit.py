"""A view of a running log shows no byte out of its place, whatever the kubelet skips; in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final

import pytest

from models.container_log import ToolboxLog
from runabout.executors.steplog import StepLogSplitter
from runabout.gateway.livesplit import SKIP_BYTES, SKIP_SECONDS, BehindError, split

pytestmark = pytest.mark.looptime
QUIET: Final = 1.0
"""Seconds: longer than what a view waits for."""


def log(size: int) -> tuple[bytes, bytes]:
    """Return the log of a step that has written so many bytes and runs, and these bytes; markers are rare."""
    made = ToolboxLog(mark_from=64_000, max_line=16_000)
    made.marker("v1", "1il7g1c000001", "build", 1)
    made.end()
    made.begin(0)
    output = b"".join(b"%015d\n" % number for number in range(size // 16))
    made.write(output)
    return bytes(made.text), output


TEXT, OUTPUT = log(SKIP_BYTES + 200_000)
FIRST: Final = SKIP_BYTES + 5_000
"""Where the first file that is read ends, and the last one begins: between two markers."""
LAST: Final = TEXT.rindex(b"]\n") + 2 + 16 * 100
"""Behind the last marker."""


async def came(parts: Sequence[bytes], *, seconds: float) -> AsyncIterator[bytes]:
    """Send parts so far apart, and then nothing more for a moment."""
    for part in parts:
        for begin in range(0, len(part), 16_000):
            await asyncio.sleep(seconds)
            yield part[begin : begin + 16_000]
    await asyncio.sleep(QUIET)


async def shown(parts: Sequence[bytes], *, seconds: float, follow: bool = True, stay: bool = False) -> dict[int, bytes]:
    """Return what is shown of the step, by its places."""
    found: dict[int, bytes] = {}
    splitter = StepLogSplitter(("x",))
    with suppress(BehindError):
        async for chunks in split(splitter, came(parts, seconds=seconds), follow=follow, stay=lambda: stay):
            found.update({chunk.offset: chunk.data for chunk in chunks if chunk.step == 0 and chunk.gap is None})
    return found


def in_place(found: dict[int, bytes]) -> bool:
    return all(OUTPUT[place : place + len(data)] == data for place, data in found.items())


SLOW: Final = 0.25
"""Seconds between pieces: no pause, and together longer than `SKIP_SECONDS`."""
SKIPPED = [TEXT[:FIRST], TEXT[LAST:]]


@pytest.mark.parametrize("stay", [False, True])
async def test_what_comes_behind_files_that_were_skipped_is_not_shown_before_a_marker(stay: bool) -> None:
    assert SLOW * FIRST / 16_000 > SKIP_SECONDS
    found = await shown(SKIPPED, seconds=SLOW, stay=stay)
    assert found
    assert in_place(found)


async def test_without_care_it_would_be_shown_out_of_its_place() -> None:
    """So the case above is one: the same bytes, of a log that nobody is behind of."""
    assert not in_place(await shown(SKIPPED, seconds=0.01))


@pytest.mark.parametrize(("seconds", "follow"), [(0.01, True), (SLOW, False)])
async def test_all_of_a_log_is_shown_that_was_read_at_once_or_from_one_file(seconds: float, follow: bool) -> None:
    found = await shown([TEXT], seconds=seconds, follow=follow)
    assert in_place(found)
    assert sum(map(len, found.values())) == len(OUTPUT) - 1  # the last newline may be the marker's


async def test_a_slow_log_is_shown_as_it_comes() -> None:
    text, output = log(32_000)
    found = await shown([text[begin : begin + 100] for begin in range(0, len(text), 100)], seconds=SLOW)
    assert b"".join(found[place] for place in sorted(found)) == output[:-1]
