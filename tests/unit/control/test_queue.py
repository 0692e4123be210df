"""The work queue, in virtual time: delays cost nothing and are exact."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from runabout.control.queue import FIRST_BACKOFF, LAST_BACKOFF, Lane, WorkQueue

pytestmark = pytest.mark.looptime

Handler = Callable[[str], Awaitable[None]]


def queue() -> WorkQueue[str]:
    return WorkQueue(clock=asyncio.get_running_loop().time)


async def run(work: WorkQueue[str], handle: Handler, *, workers: int = 4) -> list[tuple[str, Exception]]:
    errors: list[tuple[str, Exception]] = []
    async with asyncio.timeout(3600):
        await work.work(handle, workers=workers, on_error=lambda key, error: errors.append((key, error)))
    return errors


async def test_a_key_added_many_times_is_worked_on_once() -> None:
    work, seen = queue(), list[str]()
    for _ in range(5):
        work.add("a")
    work.add("end")

    async def handle(key: str) -> None:
        seen.append(key)
        if key == "end":
            work.close()

    await run(work, handle)
    assert seen == ["a", "end"]


async def test_a_key_added_while_it_is_worked_on_is_worked_on_again_and_never_twice_at_once() -> None:
    work, active, most, passes = queue(), 0, 0, 0

    async def handle(key: str) -> None:
        nonlocal active, most, passes
        active += 1
        most = max(most, active)
        passes += 1
        if passes == 1:
            work.add(key)
            work.add(key)
        await asyncio.sleep(1)
        active -= 1
        if passes == 2:
            work.close()

    work.add("a")
    await run(work, handle)
    assert (passes, most) == (2, 1)


async def test_keys_are_taken_in_the_order_of_their_arrival() -> None:
    work, seen = queue(), list[str]()
    for key in "cab":
        work.add(key)

    async def handle(key: str) -> None:
        seen.append(key)
        if len(seen) == 3:
            work.close()

    await run(work, handle, workers=1)
    assert seen == ["c", "a", "b"]


async def test_no_more_keys_are_worked_on_at_once_than_there_are_workers() -> None:
    work, active, most, done = queue(), 0, 0, 0
    for key in range(20):
        work.add(str(key))

    async def handle(_key: str) -> None:
        nonlocal active, most, done
        active += 1
        most = max(most, active)
        await asyncio.sleep(1)
        active -= 1
        done += 1
        if done == 20:
            work.close()

    await run(work, handle, workers=3)
    assert most == 3


async def test_a_delayed_key_comes_at_its_time_and_the_earlier_of_two_times_counts() -> None:
    work, seen = queue(), list[tuple[str, float]]()
    start = asyncio.get_running_loop().time()
    work.add_after("late", 50)
    work.add_after("late", 20)
    work.add_after("late", 30)
    work.add_after("soon", 5)

    async def handle(key: str) -> None:
        seen.append((key, asyncio.get_running_loop().time() - start))
        if key == "late":
            work.close()

    await run(work, handle)
    assert [key for key, _ in seen] == ["soon", "late"]
    assert [time for _, time in seen] == pytest.approx([5, 20], abs=0.01)


async def test_a_failing_key_comes_back_after_growing_delays_and_stops_nobody_else() -> None:
    work, times, others = queue(), list[float](), list[str]()

    async def handle(key: str) -> None:
        if key != "bad":
            others.append(key)
            return
        times.append(asyncio.get_running_loop().time())
        if len(times) < 12:
            raise RuntimeError("no")
        work.close()

    work.add("bad")
    work.add("good")
    errors = await run(work, handle)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert others == ["good"]
    assert gaps == pytest.approx([min(LAST_BACKOFF, FIRST_BACKOFF * 2**number) for number in range(11)], abs=0.01)
    assert [key for key, _ in errors] == ["bad"] * 11


async def test_an_error_that_nobody_can_go_on_with_ends_the_work() -> None:
    work = queue()
    work.add("a")

    async def handle(_key: str) -> None:
        raise ValueError("beyond repair")

    def raise_again(_key: str, error: Exception) -> None:
        raise error

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="beyond repair")):
        async with asyncio.timeout(3600):
            await work.work(handle, workers=4, on_error=raise_again)


async def test_a_success_ends_the_growth_of_delays() -> None:
    work, times = queue(), list[float]()
    outcomes = iter([False, False, True, False, True])

    async def handle(key: str) -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 5:
            work.close()
        if not next(outcomes):
            raise RuntimeError("no")
        work.add(key)

    work.add("a")
    await run(work, handle)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([FIRST_BACKOFF, 2 * FIRST_BACKOFF, 0, FIRST_BACKOFF], abs=0.01)


async def test_closing_waits_for_what_is_being_worked_on_and_takes_nothing_more() -> None:
    work, done = queue(), list[str]()
    work.add("a")
    work.add("b")

    async def handle(key: str) -> None:
        work.close()
        await asyncio.sleep(10)
        done.append(key)

    await run(work, handle, workers=1)
    assert done == ["a"]


async def test_what_is_urgent_goes_first_and_nobody_starves() -> None:
    """Urgent and begun work comes without end; the new get one of eight turns, the begun another."""
    work, seen = queue(), list[str]()
    for number in range(3):
        work.add(f"new {number}", Lane.NEW)
    work.add("begun 0")
    work.add("urgent 0", Lane.URGENT)
    rest = itertools.count(1)

    async def handle(key: str) -> None:
        seen.append(key)
        number = next(rest)
        work.add(f"begun {number}")
        work.add(f"urgent {number}", Lane.URGENT)
        if len(seen) == 24:
            work.close()

    await run(work, handle, workers=1)
    first_round = ["urgent", "urgent", "urgent", "begun", "urgent", "urgent", "urgent", "new"]
    assert [key.split()[0] for key in seen] == 3 * first_round
    for lane in ("urgent", "begun", "new"):
        numbers = [int(key.split()[1]) for key in seen if key.startswith(lane)]
        assert numbers == list(range(len(numbers)))


async def test_a_key_that_waits_moves_up_when_it_becomes_urgent_and_is_worked_on_once() -> None:
    work, seen = queue(), list[str]()
    for key in "abc":
        work.add(key)
    work.add("c", Lane.URGENT)
    work.add("c", Lane.NEW)
    work.add("end", Lane.NEW)
    assert len(work) == 4

    async def handle(key: str) -> None:
        seen.append(key)
        if key == "end":
            work.close()

    await run(work, handle, workers=1)
    assert seen == ["c", "a", "b", "end"]


async def test_what_becomes_urgent_while_it_is_worked_on_is_the_next() -> None:
    work, seen = queue(), list[str]()
    for key in "ab":
        work.add(key)

    async def handle(key: str) -> None:
        seen.append(key)
        if len(seen) == 1:
            work.add("a", Lane.URGENT)
            work.add("a", Lane.NEW)
        if key == "b":
            work.close()

    await run(work, handle, workers=1)
    assert seen == ["a", "a", "b"]


async def test_work_on_a_key_takes_the_place_of_its_delayed_turn() -> None:
    work, seen = queue(), list[float]()
    clock = asyncio.get_running_loop().time
    begin = clock()

    async def handle(_: str) -> None:
        seen.append(clock() - begin)
        if len(seen) == 2:
            work.close()

    work.add_after("a", 10)
    work.add("a")
    asyncio.get_running_loop().call_later(20, work.add, "a")
    await run(work, handle)
    assert seen == [0, 20]


async def test_times_that_were_given_up_are_not_kept() -> None:
    work, left = queue(), 10_000

    async def handle(key: str) -> None:
        nonlocal left
        left -= 1
        work.add_after(key, 1_000_000)
        if left:
            work.add(key)
        else:
            work.close()

    work.add("a")
    await run(work, handle)
    assert work.delayed == 1
    assert work.kept_times < 200
