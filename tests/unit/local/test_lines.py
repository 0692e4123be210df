"""The lines of a log that grows: what the toolbox writes around them is not seen, and none comes twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runabout.control.logs import LogGoneError
from runabout.executors.local import ProcessDriver
from runabout.executors.localsecrets import LocalSecrets
from runabout.local.lines import LocalLogs

POD = "1il7g1c000001-a-1"
NONCE = "0f" * 16
HEAD = (
    f"[runabout {NONCE} v1 1il7g1c000001 a 1]\n"
    f"[runabout {NONCE} end setup 0 success 0 1]\n"
    f"[runabout {NONCE} begin 0 1 0 s]\n"
)
WAIT = 30.0


class Growing:
    """A log that a test writes, read as the collector reads it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / POD / "log"
        self.file.parent.mkdir()
        self.file.write_text(HEAD)
        self.seen: list[str] = []
        driver = ProcessDriver(
            work=folder,
            toolbox=folder / "none",
            secrets=LocalSecrets(),
            on_change=lambda _before, _after: None,
            now=lambda: 0,
        )
        self.logs = LocalLogs(driver, steps=lambda pod: ("a", ("s",)) if pod == POD else None, show=self._show)

    def _show(self, task: str, lines: list[str]) -> None:
        assert task == "a"
        self.seen += lines

    def write(self, text: str) -> None:
        with self.file.open("a") as file:
            file.write(text)

    async def read(self) -> bytes:
        async with self.logs.read("local", POD, "main", follow=False) as pieces:
            return b"".join([piece async for piece in pieces])


@pytest.fixture
async def growing(tmp_path: Path) -> AsyncIterator[Growing]:
    async with asyncio.timeout(WAIT):
        yield Growing(tmp_path)


async def test_the_collector_gets_all_bytes_and_people_the_steps_lines(growing: Growing) -> None:
    growing.write(f"one\ntwo\n[runabout {NONCE} end 0 8 success 0 2]\n[runabout {NONCE} done 0 Completed 0,8]\n")
    assert await growing.read() == growing.file.read_bytes()
    assert growing.seen == ["one", "two"]


async def test_what_is_read_again_is_not_shown_again(growing: Growing) -> None:
    growing.write(f"one\n[runabout {NONCE} at 0 4]\n")
    await growing.read()
    growing.write(f"two\n[runabout {NONCE} end 0 8 success 0 2]\n")
    await growing.read()
    assert growing.seen == ["one", "two"]


async def test_the_last_line_so_far_is_shown_and_its_end_is_no_line_of_its_own(growing: Growing) -> None:
    growing.write("waiting\n")  # the newline may be the toolbox's own: only what follows can tell
    await growing.read()
    assert growing.seen == ["waiting"]
    growing.write(f"\ndone\n[runabout {NONCE} end 0 14 success 0 2]\n")
    await growing.read()
    assert growing.seen == ["waiting", "", "done"]


async def test_a_log_that_is_gone_is_said_to_be(growing: Growing) -> None:
    growing.file.unlink()
    with pytest.raises(LogGoneError):
        await growing.read()
