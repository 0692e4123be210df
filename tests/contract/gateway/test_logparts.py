"""A running attempt hands in its log, a part at a time, and nobody else's."""

import base64
import json

import pytest

from lab.gateways import GatewayLab, described, spec_task
from runabout.control.logchunks import LARGEST_CHUNK, LogChunk, attempt_chunks, chunk_key
from runabout.ost import ObjectStore
from runabout.records import RunConfig, Status


@pytest.fixture
async def config(lab: GatewayLab) -> RunConfig:
    made = await lab.run(spec_task("build", {"run": "make"}, {"run": "make test"}), spec_task("other"))
    await lab.set_task(made, "build")
    return made


async def test_parts_of_a_log_are_stored_under_their_step_and_place_however_often_they_are_sent(
    lab: GatewayLab, config: RunConfig, ost: ObjectStore
) -> None:
    build = lab.attempt(config, "build")
    texts = {(-1, 0): b"toolbox\n", (0, 0): b"one\n", (0, 4): b"two\n", (1, 0): b"x" * 1_000_000}
    for _ in range(2):
        for (step, offset), text in texts.items():
            await build.send({"log": {"step": step, "offset": offset}}, 0, text)
    found = await attempt_chunks(ost, config.id, "build", 1)
    assert [(chunk.step, chunk.offset, chunk.size) for chunk in found] == [
        (step, offset, len(text)) for (step, offset), text in texts.items()
    ]
    assert [await ost.read(chunk.key) for chunk in found] == list(texts.values())
    sha256 = described(b"two\n")["sha256"]
    assert found[2] == LogChunk(0, 4, 4, chunk_key(config.id, "build", 1, 0, 4, sha256))


async def test_what_is_no_part_of_the_attempts_log_is_refused(lab: GatewayLab, config: RunConfig) -> None:
    build = lab.attempt(config, "build")
    part = {"part": 0, **described(b"one\n")}
    for log, more in (
        ({"step": 2, "offset": 0}, {}),
        ({"step": -2, "offset": 0}, {}),
        ({"step": 0, "offset": -1}, {}),
        ({"step": 0}, {}),
        ({"step": 0, "offset": 0, "task": "other"}, {}),
        ({"step": 0, "offset": 0}, {"part": 1}),
        ({"step": 0, "offset": 0}, {"size": LARGEST_CHUNK + 1}),
    ):
        answer = await build.ask("POST", "parts", {"for": {"log": log}, **part, **more})
        assert (answer.status, answer.code) == (400, "BadRequest"), log
    both = {"log": {"step": 0, "offset": 0}, "workspace": 0}
    assert (await build.ask("POST", "parts", {"for": both, **part})).status == 400
    whole = {"for": {"log": {"step": 0, "offset": 0}}, "parts": [described(b"one\n")], "files": 0, "bytes": 4}
    assert (await build.ask("POST", "archives", whole)).status == 400


async def test_an_attempt_hands_in_so_many_parts_and_no_more_also_at_another_gateway(
    lab: GatewayLab, config: RunConfig, ost: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runabout.gateway.logparts.MOST_CHUNKS", 4)
    build = lab.attempt(config, "build")

    async def refused(offset: int) -> bool:
        asked = {"for": {"log": {"step": 0, "offset": offset}}, "part": 0, **described(b"%d" % offset)}
        answer = await build.ask("POST", "parts", asked)
        if answer.status == 200:
            return False
        assert (answer.status, answer.code) == (413, "TooLarge")
        assert "has uploaded 4 parts of its log" in answer.message
        return True

    for offset in range(2):
        await build.send({"log": {"step": 0, "offset": offset}}, 0, b"%d" % offset)
    async with lab.away():  # the next one counts what is there
        pass
    for offset in range(2, 4):
        await build.send({"log": {"step": 0, "offset": offset}}, 0, b"%d" % offset)
    assert await refused(4)
    assert not await refused(3)  # it is there
    assert len(await attempt_chunks(ost, config.id, "build", 1)) == 4
    await lab.set_task(config, "other")
    await lab.attempt(config, "other").send({"log": {"step": 0, "offset": 0}}, 0, b"one")


async def test_a_part_that_was_not_asked_for_counts_as_well(
    streaming: GatewayLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runabout.gateway.logparts.MOST_CHUNKS", 4)
    config = await streaming.run(spec_task("build", {"run": "make"}))
    await streaming.set_task(config, "build")
    build = streaming.attempt(config, "build")
    for offset in range(6):
        body = b"%d" % offset
        asked = {"for": {"log": {"step": 0, "offset": offset}}, "part": 0, **described(body)}
        name = base64.urlsafe_b64encode(json.dumps(asked).encode()).decode().rstrip("=")
        assert (await build.ask("PUT", f"parts/{name}", data=body)).status == (204 if offset < 4 else 413)
    assert len(await attempt_chunks(streaming.ost, config.id, "build", 1)) == 4


async def test_an_attempt_that_is_over_hands_in_nothing(lab: GatewayLab, config: RunConfig) -> None:
    await lab.set_task(config, "build", Status.SUCCESS)
    asked = {"for": {"log": {"step": 0, "offset": 0}}, "part": 0, **described(b"one\n")}
    assert (await lab.attempt(config, "build").ask("POST", "parts", asked)).status == 409
    other = lab.attempt(config, "other")
    foreign = await lab.ask("POST", f"{lab.attempt(config, 'build').base}/parts", token=other.token, json=asked)
    assert foreign.status == 403
