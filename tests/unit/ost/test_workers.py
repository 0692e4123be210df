import asyncio
import os
import threading

import pytest

from runabout.ost import UnavailableError
from runabout.ost.workers import Workers

WAIT = 60.0


async def test_a_call_returns_or_raises_what_it_does() -> None:
    workers = Workers("t", threads=1, timeout=WAIT)
    assert await workers.run(lambda: 5, "five") == 5
    with pytest.raises(KeyError, match="NO_SUCH"):
        await workers.run(lambda: os.environ["NO_SUCH"], "lookup")
    workers.close()


async def test_a_call_that_takes_too_long_is_given_up_with_its_name() -> None:
    workers, release = Workers("t", threads=2, timeout=0.05), threading.Event()
    with pytest.raises(UnavailableError, match="a dead disk: no answer within"):
        await workers.run(release.wait, "a dead disk")
    assert await workers.run(lambda: 1, "another", seconds=WAIT) == 1
    release.set()
    workers.close()


async def test_no_more_threads_than_allowed_work_at_once() -> None:
    workers = Workers("t", threads=3, timeout=WAIT)
    lock, now, most = threading.Lock(), 0, 0
    three = threading.Barrier(3, timeout=WAIT)  # no call ends before three have begun

    def call() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        three.wait()
        with lock:
            now -= 1

    await asyncio.gather(*(workers.run(call, "x") for _ in range(60)))
    assert most == 3
    workers.close()


async def test_a_cancelled_call_that_has_not_begun_is_never_made() -> None:
    workers, release = Workers("t", threads=1, timeout=WAIT), threading.Event()
    made: list[int] = []
    first = asyncio.create_task(workers.run(release.wait, "first"))
    second = asyncio.create_task(workers.run(lambda: made.append(2), "second"))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    release.set()
    await first
    await workers.run(lambda: made.append(3), "third")
    assert made == [3]
    workers.close()


async def test_nothing_is_accepted_after_closing() -> None:
    workers = Workers("t", threads=1, timeout=WAIT)
    workers.close()
    with pytest.raises(UnavailableError, match="closed"):
        await workers.run(lambda: 1, "x")


async def test_cleaning_up_is_done_even_after_closing_and_its_errors_are_dropped() -> None:
    workers, done = Workers("t", threads=1, timeout=WAIT), threading.Event()

    def failing() -> None:
        done.set()
        raise OSError("gone")

    workers.run_later(failing)
    assert await asyncio.to_thread(done.wait, WAIT)
    done.clear()
    workers.close()
    workers.run_later(failing)
    assert done.is_set()


async def test_threads_do_not_keep_the_process_from_ending() -> None:
    before = set(threading.enumerate())
    workers = Workers("t", threads=1, timeout=WAIT)
    await workers.run(lambda: 1, "x")
    assert [thread.daemon for thread in set(threading.enumerate()) - before] == [True]
    workers.close()
