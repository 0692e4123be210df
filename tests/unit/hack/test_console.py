"""What a person sees of a step: that it begins, how long it has lasted while it lasts, and how it ended."""

import io
import sys
import threading
from types import SimpleNamespace

import pytest

from localcluster import console

DEADLINE_SECONDS = 60
TICKS = ("FIRST_TICK_SECONDS", "TICK_SECONDS", "LATER_TICK_SECONDS", "SCREEN_TICK_SECONDS")


class Screen(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """The time of a step, which it is asked for along with `detail`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._asked = 0
        self._news = threading.Condition()

    def monotonic(self) -> float:
        return self.now

    def detail(self) -> str:
        with self._news:
            self._asked += 1
            self._news.notify_all()
        return "3 of 5"

    def passes(self, seconds: float) -> None:
        """Let time pass, and return when the step has said so."""
        with self._news:
            self.now += seconds
            # The next answer may belong to the time before; the one after it is printed when the third is asked for.
            enough = self._asked + 3
            assert self._news.wait_for(lambda: self._asked >= enough, DEADLINE_SECONDS)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=made.monotonic))
    for name in TICKS:
        monkeypatch.setattr(console, name, 0.001)
    return made


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    found = capsys.readouterr()
    assert found.out == ""
    return found.err.splitlines()


def test_a_step_says_how_long_it_has_lasted_and_at_its_end_how_long_it_took(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.step("building (some minutes)", detail=clock.detail):
        clock.passes(125)
        during = lines(capsys)
    assert during[0] == "· building (some minutes) …"
    assert during[-1] == "    2:05 · 3 of 5"
    assert lines(capsys)[-1] == "  building: done in 2 min 05 s"


def test_a_step_that_fails_says_after_how_long_and_hands_on_why(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        with console.step("building"):
            clock.now += 9.3
            raise console.LocalClusterError("no room", "make some")

    with pytest.raises(console.LocalClusterError, match="no room\n  make some"):
        fail()
    assert lines(capsys)[-1] == "  building: ended after 9.3 s"


def test_a_quiet_step_speaks_only_if_it_lasts(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with console.step("looking", detail=clock.detail, quiet=True):
        clock.passes(7)
        assert lines(capsys)[-1] == "    looking: 0:07 · 3 of 5"
    assert lines(capsys)[-1] == "  looking: done in 7.0 s"
    monkeypatch.setattr(console, "FIRST_TICK_SECONDS", DEADLINE_SECONDS)
    with console.step("looking", quiet=True):
        clock.now += 1
    assert lines(capsys) == []


def test_on_a_terminal_the_time_is_one_line_that_is_gone_at_the_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with console.step("building", detail=clock.detail):
        clock.passes(61)
    first, *times, last = screen.getvalue().split("\r\033[K")
    assert first == "· building …\n"
    assert times[-1] == "    1:01 · 3 of 5"
    assert last == "  building: done in 1 min 01 s\n"
