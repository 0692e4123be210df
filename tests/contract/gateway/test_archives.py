"""Workspaces: what a task saves, those that depend on it restore, and it is there as a whole or not at all."""

import asyncio
import hashlib
import io

import pytest

from lab.gateways import RESTORES, SAVES, GatewayLab, archive, described, spec_task
from runabout.gateway.app import Options
from runabout.ost import MemoryObjectStore, ObjectStore, iterate
from runabout.records import RunConfig, RunId, Status

STEP_0 = {"workspace": 0}
BODY = bytes(range(256)) * 4000
"""1,024,000 bytes: more than one piece of any transfer."""


async def chain(lab: GatewayLab, *names: str) -> RunConfig:
    """Return a run of saving tasks, each after the one before, the first of which is running."""
    tasks = [spec_task(name, SAVES, SAVES, after=names[at - 1 : at] if at else ()) for at, name in enumerate(names)]
    config = await lab.run(*tasks)
    await lab.set_task(config, names[0])
    return config


async def keys(ost: ObjectStore, prefix: str = "archives/") -> list[str]:
    return [item.key async for item in iterate(ost, prefix)]


def put(path: str, token: str, size: int) -> bytes:
    """Return the beginning of a request that sends a body."""
    lines = [f"PUT {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", f"Content-Length: {size}"]
    return "\r\n".join([*lines, "", ""]).encode()


async def test_what_a_task_saves_its_child_restores(lab: GatewayLab) -> None:
    config = await chain(lab, "build", "test")
    parts = [BODY, b"second", b"third", b"4", b"5"]
    saved = await lab.attempt(config, "build").save(STEP_0, *parts)
    assert saved.status == 201
    await lab.set_task(config, "build", Status.SUCCESS)
    await lab.set_task(config, "test")
    child = lab.attempt(config, "test")
    listed = await child.ask("GET", "workspace")
    size = sum(map(len, parts))
    assert listed.content == {
        "archives": [{"task": "build", "step": 0, "parts": 5, "size": size, "bytes": 1000, "files": 3}]
    }
    assert await child.fetch("workspace/build/0") == parts


async def test_a_manifest_is_read_once_however_many_pages_of_parts_are_asked_for() -> None:
    read: list[str] = []

    def note(operation: str, key: str, _done: bool) -> None:
        if operation == "read" and key.endswith("/manifest"):
            read.append(key)

    async with GatewayLab(MemoryObjectStore(fault=note)) as lab:
        config = await chain(lab, "build", "test")
        parts = [b"%d" % number for number in range(7)]
        assert (await lab.attempt(config, "build").save(STEP_0, *parts)).status == 201
        await lab.set_task(config, "build", Status.SUCCESS)
        await lab.set_task(config, "test")
        child = lab.attempt(config, "test")
        read.clear()
        assert (await child.ask("GET", "workspace")).content["archives"][0]["parts"] == len(parts)
        assert await child.fetch("workspace/build/0") == parts
        assert len(read) == 1
        await lab.ost.delete(read[0])
        assert (await child.ask("GET", "workspace/build/0")).status == 404


async def test_archives_are_listed_in_the_order_in_which_they_are_unpacked(lab: GatewayLab) -> None:
    config = await lab.run(
        spec_task("z-first", SAVES, SAVES),
        spec_task("b", SAVES, after=["z-first"]),
        spec_task("a", SAVES, after=["z-first"]),
        spec_task("left-none", SAVES, after=["a"]),
        spec_task("beside", SAVES),
        spec_task("last", RESTORES, after=["left-none", "b"]),
    )
    for name, steps in (("a", 1), ("b", 1), ("z-first", 2), ("beside", 1)):
        await lab.set_task(config, name)
        for step in range(steps):
            assert (await lab.attempt(config, name).save({"workspace": step}, b"x")).status == 201
        await lab.set_task(config, name, Status.SUCCESS)
    await lab.set_task(config, "left-none", Status.SUCCESS)
    await lab.set_task(config, "last")
    listed = await lab.attempt(config, "last").ask("GET", "workspace")
    order = [(each["task"], each["step"]) for each in listed.content["archives"]]
    assert order == [("z-first", 0), ("z-first", 1), ("a", 0), ("b", 0)]


async def test_the_attempt_that_decided_a_task_is_the_one_whose_archive_counts(lab: GatewayLab) -> None:
    config = await chain(lab, "build", "test")
    await lab.attempt(config, "build").save(STEP_0, b"of the first attempt")
    await lab.set_task(config, "build", attempt=2)
    await lab.attempt(config, "build", attempt=2).save(STEP_0, b"of the second")
    await lab.set_task(config, "build", Status.SUCCESS, attempt=2)
    await lab.set_task(config, "test")
    assert await lab.attempt(config, "test").fetch("workspace/build/0") == [b"of the second"]


async def test_a_restart_restores_what_the_run_before_it_has_saved(lab: GatewayLab) -> None:
    old = await chain(lab, "build", "test")
    await lab.attempt(old, "build").save(STEP_0, b"of the old run")
    new = await chain(lab, "build", "test")
    await lab.set_task(new, "build", Status.SUCCESS, executed_by=RunId(old.id))
    await lab.set_task(new, "test")
    attempt = lab.attempt(new, "test")
    assert [each["task"] for each in (await attempt.ask("GET", "workspace")).content["archives"]] == ["build"]
    assert await attempt.fetch("workspace/build/0") == [b"of the old run"]


async def test_the_end_of_a_parent_that_is_not_known_here_yet_is_waited_for(ost: ObjectStore) -> None:
    async with GatewayLab(ost, interval=3600) as lab:
        config = await chain(lab, "build", "test")
        await lab.records.catch_up()
        await lab.attempt(config, "build").save(STEP_0, b"saved")
        # What happens now the gateway is not told by anything but its own reading.
        await lab.set_task(config, "build", Status.SUCCESS)
        await lab.set_task(config, "test")
        listed = await lab.attempt(config, "test").ask("GET", "workspace")
        assert [each["task"] for each in listed.content["archives"]] == ["build"]


async def test_a_part_that_was_sent_is_not_asked_for_again(lab: GatewayLab) -> None:
    config = await chain(lab, "build")
    attempt = lab.attempt(config, "build")
    await attempt.send(STEP_0, 0, b"part")
    again = await attempt.ask("POST", "parts", {"for": STEP_0, "part": 0, **described(b"part")})
    assert again.content == {"stored": True}
    other = await attempt.ask("POST", "parts", {"for": STEP_0, "part": 0, **described(b"another")})
    assert "url" in other.content


async def test_an_archive_is_made_of_stored_parts_only_and_the_missing_are_named(lab: GatewayLab) -> None:
    config = await chain(lab, "build", "test")
    attempt = lab.attempt(config, "build")
    parts = [described(b"zero"), await attempt.send(STEP_0, 1, b"one"), described(b"two")]
    refused = await attempt.ask("POST", "archives", archive(STEP_0, parts))
    assert (refused.status, refused.code, refused.content["missing"]) == (409, "Conflict", [0, 2])
    assert refused.message == "2 of 3 parts are not stored"
    await attempt.send(STEP_0, 0, b"zero")
    await attempt.send(STEP_0, 2, b"two")
    assert (await attempt.ask("POST", "archives", archive(STEP_0, parts))).status == 201


async def test_an_archive_is_stored_once_and_the_same_one_may_come_again(lab: GatewayLab) -> None:
    config = await chain(lab, "build")
    attempt = lab.attempt(config, "build")
    assert (await attempt.save(STEP_0, b"a", b"b")).status == 201
    assert (await attempt.save(STEP_0, b"a", b"b")).status == 200
    other = await attempt.save(STEP_0, b"another")
    assert (other.status, other.code) == (409, "Conflict")


async def test_only_one_of_two_archives_at_a_time_is_stored(lab: GatewayLab) -> None:
    config = await chain(lab, "build")
    attempt = lab.attempt(config, "build")
    parts = [[await attempt.send(STEP_0, 0, body)] for body in (b"one", b"another")]
    answers = await asyncio.gather(*(attempt.ask("POST", "archives", archive(STEP_0, each)) for each in parts))
    assert sorted(answer.status for answer in answers) == [201, 409]


async def test_a_part_with_other_bytes_than_announced_is_not_stored(lab: GatewayLab, ost: ObjectStore) -> None:
    config = await chain(lab, "build")
    attempt = lab.attempt(config, "build")
    for body in (b"pars", b"par", b"parts"):
        asked = await attempt.ask("POST", "parts", {"for": STEP_0, "part": 0, **described(b"part")})
        where = asked.content["url"]
        token = attempt.token if where.startswith(lab.url) else None
        sent = await lab.ask("PUT", where, token=token, headers=asked.content["headers"], data=body)
        assert sent.status in (400, 403), (body, sent)
    assert await keys(ost) == []


@pytest.mark.parametrize("size", [1000, 8 * 1024 * 1024, 9 * 1024 * 1024])
async def test_what_goes_through_to_a_bucket_is_compared_too(ost: ObjectStore, size: int) -> None:
    async with GatewayLab(ost, options=Options(presign=False)) as lab:
        config = await chain(lab, "build")
        attempt = lab.attempt(config, "build")
        body = bytes(size)
        asked = await attempt.ask("POST", "parts", {"for": STEP_0, "part": 0, **described(body)})
        where = asked.content["url"]
        sent = await lab.ask("PUT", where, token=attempt.token, data=io.BytesIO(b"x" + body[1:]))
        assert (sent.status, sent.code) == (400, "BadRequest")
        assert await keys(ost) == []
        assert (await lab.ask("PUT", where, token=attempt.token, data=io.BytesIO(body))).status == 204


async def test_what_breaks_off_on_the_way_leaves_nothing(streaming: GatewayLab, directory: ObjectStore) -> None:
    config = await chain(streaming, "build")
    attempt = streaming.attempt(config, "build")
    asked = await attempt.ask("POST", "parts", {"for": STEP_0, "part": 0, **described(BODY)})
    path = asked.content["url"].removeprefix(streaming.url)
    reader, writer = await asyncio.open_connection("127.0.0.1", streaming.server.port)
    writer.write(put(path, attempt.token, len(BODY)) + BODY[: len(BODY) // 2])
    await writer.drain()
    writer.close()
    await reader.read()
    assert await keys(directory) == []
    assert (await attempt.save(STEP_0, BODY)).status == 201


async def test_as_many_bodies_as_allowed_go_through_at_once(directory: ObjectStore) -> None:
    async with GatewayLab(directory, options=Options(max_active=1)) as lab:
        config = await chain(lab, "build")
        attempt = lab.attempt(config, "build")
        await attempt.save({"cache": "k"}, b"cached")
        cache = (await attempt.ask("POST", "caches/find", {"keys": ["k"]})).content["id"]
        cached = (await attempt.ask("GET", f"caches/{cache}")).content["parts"][0]["url"]
        addresses = []
        for number, body in enumerate((BODY, b"another")):
            asked = await attempt.ask("POST", "parts", {"for": STEP_0, "part": number, **described(body)})
            addresses.append(asked.content["url"].removeprefix(lab.url))
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.server.port)
        writer.write(put(addresses[0], attempt.token, len(BODY)) + BODY[:1000])
        await writer.drain()
        async with asyncio.timeout(10):
            while lab.metrics.registry.get_sample_value("runabout_gateway_active_bodies") != 1:  # noqa: ASYNC110 -- the gateway's
                await asyncio.sleep(0.01)
        refused = await lab.ask("PUT", addresses[1], token=attempt.token, data=b"another")
        assert (refused.status, refused.code) == (503, "Busy")
        assert int(refused.headers["Retry-After"]) >= 1
        refused = await lab.ask("GET", cached, token=attempt.token)
        assert (refused.status, refused.code) == (503, "Busy")
        writer.write(BODY[1000:])
        assert (await reader.readline()).startswith(b"HTTP/1.1 204")
        writer.close()
        assert (await lab.ask("PUT", addresses[1], token=attempt.token, data=b"another")).status == 204


BAD = {
    "no target": {"for": {}, "part": 0},
    "two targets": {"for": {"workspace": 0, "cache": "k"}, "part": 0},
    "a step that saves nothing": {"for": {"workspace": 7}, "part": 0},
    "a part too large": {"size": 64 * 1024 * 1024 + 1},
    "an empty part": {"size": 0},
    "no hash": {"sha256": "x"},
    "a capital hash": {"sha256": hashlib.sha256(b"").hexdigest().upper()},
    "a negative number": {"part": -1},
    "an unknown field": {"more": 1},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD)
async def test_a_part_that_cannot_be_is_a_bad_request(streaming: GatewayLab, changes: dict[str, object]) -> None:
    config = await chain(streaming, "build")
    body = {"for": STEP_0, "part": 0, **described(b"part"), **changes}
    answer = await streaming.attempt(config, "build").ask("POST", "parts", body)
    assert (answer.status, answer.code) == (400, "BadRequest")
    assert answer.message
