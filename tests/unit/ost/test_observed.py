"""What is told of the calls to an object storage."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from runabout.ost import (
    AlreadyExistsError,
    ByteRange,
    MemoryObjectStore,
    NotFoundError,
    ObservedStore,
    Operation,
    OstError,
    UnavailableError,
)

Told = tuple[str, str, float, int, OstError | None]


@dataclass
class Observer:
    """Keeps what it is told; as a clock, every look at it takes a second."""

    told: list[Told] = field(default_factory=list)
    time: float = 0.0

    def called(self, operation: Operation, key: str, *, seconds: float, size: int, error: OstError | None) -> None:
        self.told.append((operation, key, seconds, size, error))

    def clock(self) -> float:
        self.time += 1
        return self.time

    def take(self) -> Told:
        [one] = self.told
        self.told.clear()
        return one


async def pieces() -> AsyncIterator[bytes]:
    yield b"ab"
    yield b"c"


async def test_every_call_is_told_once_with_its_time_and_bytes() -> None:
    seen = Observer()
    store = ObservedStore(MemoryObjectStore(), seen, clock=seen.clock)
    await store.write("a", b"12345")
    assert seen.take() == ("write", "a", 1, 5, None)
    await store.write("b", pieces())
    assert seen.take() == ("write", "b", 1, 3, None)
    await store.read("a", ByteRange(1, 2))
    assert seen.take() == ("read", "a", 1, 2, None)
    async with store.open("a") as reader:
        assert b"".join([piece async for piece in reader]) == b"12345"
        assert seen.told == []
    assert seen.take() == ("open", "a", 1, 5, None)
    for operation, call in (("stat", store.stat("a")), ("presign", store.presign("a")), ("delete", store.delete("a"))):
        await call
        assert seen.take() == (operation, "a", 1, 0, None)
    await store.list("p")
    assert seen.take() == ("list", "p", 1, 0, None)
    await store.probe()
    assert seen.take() == ("probe", "", 1, 0, None)


async def test_an_answer_is_no_error_and_a_failure_is_told_and_raised() -> None:
    seen = Observer()
    inner = MemoryObjectStore()
    store = ObservedStore(inner, seen, clock=seen.clock)
    await store.write("a", b"x")
    seen.take()
    with pytest.raises(AlreadyExistsError):
        await store.write("a", b"y", create_only=True)
    assert seen.take() == ("write", "a", 1, 0, None)
    with pytest.raises(NotFoundError):
        await store.read("none")
    assert seen.take() == ("read", "none", 1, 0, None)
    away = UnavailableError("the bucket does not answer")
    inner.fault = lambda _operation, _key, _done: away
    with pytest.raises(UnavailableError):
        await store.write("a", b"y")
    assert seen.take() == ("write", "a", 1, 0, away)
    with pytest.raises(UnavailableError):
        async with store.open("a"):
            pass
    assert seen.take() == ("open", "a", 1, 0, away)


async def test_a_reading_that_breaks_off_is_told_with_what_came() -> None:
    seen = Observer()
    inner = MemoryObjectStore()
    store = ObservedStore(inner, seen, clock=seen.clock)
    await inner.write("a", b"x" * 300_000)
    async with store.open("a") as reader:
        assert len(await anext(aiter(reader))) == 256 * 1024
    assert seen.take() == ("open", "a", 1, 256 * 1024, None)
