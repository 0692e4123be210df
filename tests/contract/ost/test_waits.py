"""A store that is waited for says so while that lasts: what it does, where, and how the last attempt failed."""

import asyncio
import re
from pathlib import Path

import pytest

from contract.ost.proxied import connected, settings
from fixtures.s3_proxy import Fault, proxy
from fixtures.s3_server import S3Server
from runabout.ost import OstSettings, UnavailableError, Waits, open_ost
from runabout.ost.waits import AFTER_SECONDS

DEADLINE = 60.0


class _Told:
    def __init__(self) -> None:
        self.sentences: asyncio.Queue[str] = asyncio.Queue()
        self.waits = Waits(self.sentences.put_nowait, after=0.1, again=0.1)

    async def next(self) -> str:
        async with asyncio.timeout(DEADLINE):
            return await self.sentences.get()


async def test_a_silent_s3_server_is_named_while_its_probe_waits_for_it(s3: S3Server) -> None:
    told = _Told()
    async with proxy(s3, lambda _request: Fault(silent=True)) as between:
        what = settings(between.server, request_timeout_seconds=0.5, retry_seconds=5.0)
        opening = asyncio.create_task(open_ost(what, waits=told.waits))
        said = await told.next()
        assert not opening.done()
        assert re.fullmatch(
            rf"writing '[0-9a-f]+/probe/.*' in the bucket 'contract' at {between.server.endpoint}: "
            r"waited for since \d+ s(; the last attempt failed: .*)?",
            said,
        )
        while "the last attempt failed: " not in said:
            said = await told.next()
        with pytest.raises(UnavailableError):
            await opening
    assert {each.partition(" ")[0] for each in between.seen} == {"PUT"}  # cleaning up would be waited for as well


async def test_an_s3_server_that_refuses_for_now_is_told_of_in_its_own_words(s3: S3Server) -> None:
    told = _Told()
    async with proxy(s3, lambda _request: Fault(status=503, code="SlowDown")) as between:
        store = await connected(settings(between.server, retry_seconds=3.0), told.waits)
        with pytest.raises(UnavailableError):
            await store.stat("key")
        await store.close()
    said = await told.next()
    assert "looking at" in said
    while "the last attempt failed" not in said:  # the first sentence may come before the first answer
        said = await told.next()
    assert "503" in said


async def test_what_is_answered_in_time_is_not_told_of(s3: S3Server, tmp_path: Path) -> None:
    sentences: list[str] = []
    for what in (settings(s3), OstSettings(f"file://{tmp_path}/ost")):
        store = await open_ost(what, waits=Waits(sentences.append, after=AFTER_SECONDS * 10))
        await store.write("key", b"x")
        assert await store.read("key") == b"x"
        await store.close()
    assert sentences == []
