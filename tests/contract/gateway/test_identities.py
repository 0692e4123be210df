"""Tokens under pressure: what a flood of bad ones may cost the API server, and that good ones are still taken."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from fixtures.fake_kube import API_AUDIENCE, FakeKube, Fault, Kind
from lab.gateways import GatewayLab, spec_task, web_token
from runabout.gateway.errors import TooManyError, UnauthorizedError
from runabout.gateway.identities import BAD_SECONDS, GOOD_SECONDS, STRANGERS_AT_ONCE, TASK_AUDIENCE, Identities
from runabout.gateway.metrics import GatewayMetrics
from runabout.gateway.turns import WAITING, Turns
from runabout.kube.connection import Connection
from runabout.kube.session import Session
from runabout.ost import ObjectStore

NOW = 1_800_000_000.0
SECONDS = 10


class Desk:
    """Identities before a fake API server, with a clock that stands still."""

    def __init__(self, kube: FakeKube, session: Session, turns: Turns | None, most: int) -> None:
        self.kube = kube
        self.clock = 0.0
        self.metrics = GatewayMetrics()
        self.identities = Identities(
            session, clock=lambda: self.clock, now=lambda: NOW, turns=turns, metrics=self.metrics, most=most
        )
        kube.tokens["good"] = {"user": {"username": "ann"}, "audiences": [API_AUDIENCE]}

    @property
    def asked(self) -> int:
        """How often the API server was asked."""
        return self.kube.requests["create", "tokenreviews"]

    async def who(self, token: str, *, audience: str = "", source: str = "10.0.0.1") -> str:
        return (await self.identities.of(f"Bearer {token}", audience=audience, source=source)).user

    async def refuses(self, token: str, *, audience: str = "") -> None:
        with pytest.raises(UnauthorizedError):
            await self.who(token, audience=audience)

    def hang(self, number: int) -> None:
        """Have the API server not answer the next questions."""
        self.kube.faults.extend([Fault("create", "tokenreviews", kind=Kind.HANG)] * number)


@asynccontextmanager
async def desk(turns: Turns | None = None, most: int = 100) -> AsyncIterator[Desk]:
    async with (
        FakeKube() as kube,
        Session(Connection(server=kube.url, ssl=False, authorize=dict)) as session,
        asyncio.timeout(SECONDS),
    ):
        yield Desk(kube, session, turns, most)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for is the server's
        await asyncio.sleep(0.01)


async def test_nonsense_does_not_drive_out_what_is_known_of_those_who_work() -> None:
    async with desk(most=3) as at:
        assert await at.who("good") == "ann"
        for number in range(9):
            await at.refuses(f"nonsense-{number}")
        assert await at.who("good") == "ann"
        assert at.asked == 1 + 9


async def test_the_identity_that_was_not_needed_for_longest_is_forgotten_first() -> None:
    async with desk(most=2) as at:
        for token in ("other", "more"):
            at.kube.tokens[token] = at.kube.tokens["good"]
        for token in ("good", "other", "good", "more"):
            await at.who(token)
        assert at.asked == 3
        await at.who("good")
        assert at.asked == 3
        await at.who("other")
        assert at.asked == 4


async def test_a_token_is_asked_about_once_however_many_send_it_at_once() -> None:
    async with desk() as at:
        said = await asyncio.gather(*(at.who("good") for _ in range(20)))
        assert (said, at.asked) == (["ann"] * 20, 1)
        await asyncio.gather(*(at.refuses("bad") for _ in range(20)))
        assert at.asked == 2


async def test_a_refusal_is_good_for_a_second_and_an_identity_for_a_minute() -> None:
    async with desk() as at:
        await at.who("good")
        await at.refuses("bad")
        at.clock = BAD_SECONDS / 2
        await at.refuses("bad")
        assert at.asked == 2
        at.clock = BAD_SECONDS
        await at.refuses("bad")
        assert at.asked == 3
        at.clock = GOOD_SECONDS
        await at.who("good")
        assert at.asked == 4


async def test_a_token_that_was_good_is_refused_once_it_is_not_any_more() -> None:
    async with desk() as at:
        await at.who("good")
        del at.kube.tokens["good"]
        at.clock = GOOD_SECONDS
        await at.refuses("good")


@pytest.mark.parametrize(
    ("token", "audience"),
    [
        ("opaque", TASK_AUDIENCE),
        (web_token(aud=["another"], exp=NOW + 60), TASK_AUDIENCE),
        (web_token(aud=[TASK_AUDIENCE], exp=NOW - 3600), TASK_AUDIENCE),
        (web_token(aud=[TASK_AUDIENCE]), TASK_AUDIENCE),
        (web_token(aud=[API_AUDIENCE], exp=NOW - 3600), ""),
    ],
    ids=["no token of a pod", "another audience", "expired", "without an end", "a person's, expired"],
)
async def test_a_token_that_says_itself_that_it_is_not_good_is_refused_without_a_question(
    token: str, audience: str
) -> None:
    async with desk() as at:
        await at.refuses(token, audience=audience)
        assert at.asked == 0


async def test_what_a_token_says_of_itself_lets_nobody_in() -> None:
    async with desk() as at:
        await at.refuses(web_token(aud=[TASK_AUDIENCE], exp=NOW + 60), audience=TASK_AUDIENCE)
        await at.refuses(web_token(exp=NOW + 60))
        assert at.asked == 2


async def test_a_flood_asks_as_much_at_once_as_it_may_and_who_is_known_goes_on() -> None:
    async with desk(Turns("tokens", at_once=4, strangers=3, waiting=5, seconds=60)) as at:
        await at.who("good")
        at.clock = GOOD_SECONDS
        at.hang(3)
        flood = [asyncio.create_task(at.who(f"bad-{number}")) for number in range(50)]
        await until(lambda: at.asked == 1 + 3 and sum(task.done() for task in flood) == 50 - 3 - 5)
        assert {type(task.exception()) for task in flood if task.done()} == {TooManyError}
        assert await at.who("good", source="10.0.0.2") == "ann", "its minute was over: it had to be asked about"
        assert at.asked == 1 + 3 + 1
        sample = at.metrics.registry.get_sample_value
        assert sample("runabout_gateway_token_reviews_total", {"outcome": "turned away"}) == 42
        assert sample("runabout_gateway_token_reviews_total", {"outcome": "valid"}) == 2
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)


async def test_a_new_token_of_another_address_goes_before_what_a_flood_has_waiting() -> None:
    async with desk(Turns("tokens", at_once=2, strangers=1, waiting=5, seconds=60)) as at:
        at.hang(1)
        flood = [asyncio.create_task(at.who(f"bad-{number}")) for number in range(50)]
        await until(lambda: at.asked == 1)
        new = asyncio.create_task(at.who("good", source="10.0.0.2"))
        await asyncio.sleep(0)
        flood[0].cancel()
        assert await new == "ann"
        assert at.asked <= 1 + 1 + 2
        await asyncio.gather(*flood, return_exceptions=True)


async def test_whoever_asked_first_and_went_leaves_the_others_their_answer() -> None:
    async with desk() as at:
        at.hang(1)
        first = asyncio.create_task(at.who("good"))
        await until(lambda: at.asked == 1)
        others = [asyncio.create_task(at.who("good")) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.gather(*others) == ["ann"] * 5
        assert at.asked == 2


async def test_a_flood_is_told_to_come_again_and_a_task_at_work_is_not(directory: ObjectStore) -> None:
    async with GatewayLab(directory) as lab:
        config = await lab.run(spec_task("build"))
        await lab.set_task(config, "build")
        attempt = lab.attempt(config, "build")
        assert (await attempt.ask("GET", "workspace")).status == 200
        asked = lab.kube.requests["create", "tokenreviews"]
        lab.kube.faults.extend([Fault("create", "tokenreviews", kind=Kind.HANG)] * 1000)

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http, asyncio.timeout(SECONDS):

            async def bad(number: int) -> tuple[int, str]:
                token = web_token(aud=[TASK_AUDIENCE], exp=time.time() + 60, jti=number)
                address, headers = f"{lab.url}{attempt.base}/workspace", {"Authorization": f"Bearer {token}"}
                async with http.get(address, headers=headers) as answer:
                    return answer.status, answer.headers["Retry-After"]

            flood = [asyncio.create_task(bad(number)) for number in range(WAITING + STRANGERS_AT_ONCE + 20)]
            await until(lambda: sum(task.done() for task in flood) == 20)
            assert {task.result() for task in flood if task.done()} == {(429, "1")}
            assert lab.kube.requests["create", "tokenreviews"] - asked == STRANGERS_AT_ONCE
            assert (await attempt.ask("GET", "workspace")).status == 200
            for task in flood:
                task.cancel()
            await asyncio.gather(*flood, return_exceptions=True)
