"""Turns: so many at once, those who are known first, addresses one after the other, and an end to what waits."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.gateway.errors import TooManyError
from runabout.gateway.turns import Turns

pytestmark = pytest.mark.looptime


class Room:
    """Where turns are had: who is in it, in which order they came, and who was refused."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.came: list[str] = []
        self.refused: list[str] = []
        self.inside: Counter[bool] = Counter()
        self.most: Counter[bool] = Counter()
        self.open = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def _enter(self, source: str, *, known: bool) -> None:
        try:
            async with self.turns.turn(source, known=known):
                self.came.append(source)
                self.inside[known] += 1
                self.most = self.most | self.inside
                try:
                    await self.open.wait()
                finally:
                    self.inside[known] -= 1
        except TooManyError:
            self.refused.append(source)

    async def come(self, *sources: str, known: bool = False) -> None:
        """Have somebody come from each of these addresses, one after the other."""
        for source in sources:
            self.tasks.append(asyncio.create_task(self._enter(source, known=known)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def empty(self) -> None:
        """Let everybody in and out."""
        self.open.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_only_so_many_have_a_turn_at_once_and_strangers_not_all_of_them() -> None:
    room = Room(Turns("guests", at_once=3, strangers=2))
    await room.come(*["a"] * 5)
    assert room.inside == {False: 2}
    await room.come(*["b"] * 5, known=True)
    assert room.inside == {False: 2, True: 1}
    await room.empty()
    assert (len(room.came), room.refused) == (10, [])
    assert room.most[False] == 2
    assert room.most.total() <= 2 + 3


async def test_those_who_are_known_go_before_strangers() -> None:
    room = Room(Turns("guests", at_once=1, strangers=1))
    await room.come("stranger", "stranger", "stranger")
    await room.come("known", "known", known=True)
    await room.empty()
    assert room.came == ["stranger", "known", "known", "stranger", "stranger"]


async def test_an_address_that_floods_delays_another_by_one_turn() -> None:
    room = Room(Turns("guests", at_once=1, strangers=1))
    await room.come(*["flood"] * 50, "honest", "other")
    await room.empty()
    assert room.came.index("honest") <= 2
    assert room.came.index("other") <= 3
    assert len(room.came) == 52


async def test_a_full_line_refuses_the_address_that_has_most_of_it() -> None:
    room = Room(Turns("guests", at_once=1, strangers=1, waiting=4))
    await room.come("flood", *["flood"] * 4)
    assert room.refused == []
    await room.come("flood")
    assert room.refused == ["flood"]
    await room.come("honest", "other")
    assert room.refused == ["flood"] * 3, "the flood made room"
    await room.come("honest")
    assert room.refused == ["flood"] * 3 + ["honest"], "nobody has more than they would"
    await room.empty()
    assert sorted(room.came) == ["flood", "flood", "flood", "honest", "other"]


async def test_who_has_just_given_up_makes_room_in_a_full_line() -> None:
    room = Room(Turns("guests", at_once=1, strangers=1, waiting=2))
    await room.come("first", "flood", "flood")
    room.open.set()
    room.tasks[-1].cancel()  # which it learns only after this task has waited
    async with room.turns.turn("honest", known=False):
        assert room.refused == []
    await room.empty()
    assert (room.came, room.refused) == (["first", "flood"], [])


async def test_who_waits_too_long_is_refused_and_asked_to_come_again() -> None:
    turns = Turns("guests", at_once=1, strangers=1, seconds=5)
    room, loop = Room(turns), asyncio.get_running_loop()
    await room.come("first")
    begin = loop.time()
    with pytest.raises(TooManyError) as refused:
        async with turns.turn("second", known=False):
            raise AssertionError("there is no turn to have")
    assert (refused.value.status, loop.time() - begin) == (429, 5)
    assert str(refused.value) == "too many guests at once: come again"
    assert refused.value.retry_after is not None
    await room.empty()
    async with turns.turn("third", known=False):
        pass


@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.sampled_from(["come", "go", "cancel"]))),
    at_once=st.integers(1, 3),
)
def test_a_turn_is_never_lost_nor_had_twice_whoever_gives_up(steps: list[tuple[str, bool, str]], at_once: int) -> None:
    async def play() -> None:
        turns = Turns("guests", at_once=at_once, strangers=1, waiting=3)
        room = Room(turns)
        for number, (source, known, what) in enumerate(steps):
            match what:
                case "come":
                    await room.come(source, known=known)
                case "cancel" if room.tasks:
                    room.tasks[number % len(room.tasks)].cancel()
                case "go":
                    room.open.set()
                    room.open = asyncio.Event()
            await asyncio.sleep(0)
        assert room.most[False] <= 1
        await room.empty()
        async with asyncio.TaskGroup() as group:  # all turns are there again
            barrier = asyncio.Barrier(at_once)

            async def together() -> None:
                async with turns.turn("x", known=True):
                    await barrier.wait()

            for _ in range(at_once):
                group.create_task(together())

    asyncio.run(asyncio.wait_for(play(), 10))
