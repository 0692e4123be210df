"""Long calls are told of: when, how often, and in which words."""

import asyncio

import pytest

from runabout.ost.errors import UnavailableError
from runabout.ost.waits import Waits

pytestmark = pytest.mark.looptime


async def told(seconds: float, *, calls: int = 1, fails: bool = False) -> list[str]:
    """Return what is said of calls that begin at once and last so long."""
    said: list[str] = []
    waits = Waits(said.append, after=3, again=15)

    async def call(number: int) -> None:
        with waits.on(f"call {number}") as wait:
            if fails:
                wait.failed = UnavailableError("no answer")
            await asyncio.sleep(seconds)

    await asyncio.gather(*(call(number) for number in range(calls)))
    await asyncio.sleep(100)
    return said


async def test_a_short_call_is_not_told_of() -> None:
    assert await told(2.5, calls=5) == []


async def test_a_long_call_is_told_of_after_some_seconds_and_then_now_and_then_until_it_ends() -> None:
    assert await told(40) == [f"call 0: waited for since {seconds} s" for seconds in (3, 18, 33)]


async def test_many_long_calls_make_no_more_sentences_than_one() -> None:
    assert len(await told(40, calls=50)) == 3


async def test_how_the_last_attempt_failed_is_said() -> None:
    assert await told(10, fails=True) == ["call 0: waited for since 3 s; the last attempt failed: no answer"]


async def test_the_calls_that_take_long_are_counted_while_they_last_however_they_end() -> None:
    waits = Waits(after=3, again=15)

    async def call(seconds: float) -> None:
        with waits.on("call"):
            await asyncio.sleep(seconds)
            raise UnavailableError("no answer")

    calls = [asyncio.create_task(call(seconds)) for seconds in (2, 10, 40, 1000)]
    counts = []
    for _ in range(6):
        await asyncio.sleep(8.5)
        counts.append(waits.long)
    assert counts == [3, 2, 2, 2, 1, 1]
    calls[-1].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert waits.long == 0
