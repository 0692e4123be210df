"""Caches: a key is given once in its group, the newest that begins alike is found, and no other group's."""

import asyncio

import pytest

from lab.gateways import SAVES, Attempt, GatewayLab, spec_task
from runabout.ost import ObjectStore, iterate


async def running(lab: GatewayLab, **spec: object) -> Attempt:
    """Return the attempt of a task that runs in a run of its own."""
    config = await lab.run(spec_task("build", SAVES), **spec)  # type: ignore[arg-type] # fields of a spec
    await lab.set_task(config, "build")
    return lab.attempt(config, "build")


async def found(attempt: Attempt, *keys: str) -> str | None:
    answer = await attempt.ask("POST", "caches/find", {"keys": list(keys)})
    assert answer.status == 200, answer
    key: str | None = answer.content["key"]
    return key


async def test_a_cache_is_restored_by_another_run_of_its_group(lab: GatewayLab) -> None:
    parts = [b"one", b"two", b"three"]
    assert (await (await running(lab)).save({"cache": "go-ü/1.26"}, *parts)).status == 201
    other = await running(lab, group="/project/web/branch/main")
    answer = await other.ask("POST", "caches/find", {"keys": ["go-ü/1.26"]})
    assert answer.content["key"] == "go-ü/1.26"
    assert (answer.content["parts"], answer.content["size"]) == (3, 11)
    assert (answer.content["files"], answer.content["bytes"]) == (3, 1000)
    assert await other.fetch(f"caches/{answer.content['id']}") == parts


async def test_a_key_that_is_taken_stays_as_it_is_and_leaves_nothing_of_the_other(
    lab: GatewayLab, ost: ObjectStore
) -> None:
    first, second = await running(lab), await running(lab)
    assert not (await second.ask("POST", "caches/has", {"key": "k"})).content["exists"]
    assert (await first.save({"cache": "k"}, b"first")).status == 201
    assert (await second.ask("POST", "caches/has", {"key": "k"})).content["exists"]
    late = await second.save({"cache": "k"}, b"second")
    assert (late.status, late.content) == (200, {"existing": True})
    assert (await first.save({"cache": "k"}, b"first")).status == 200
    assert len([item async for item in iterate(ost, "caches/")]) == 2  # a manifest and its part
    answer = await second.ask("POST", "caches/find", {"keys": ["k"]})
    assert await second.fetch(f"caches/{answer.content['id']}") == [b"first"]


async def test_a_cache_that_a_loss_of_power_has_damaged_makes_room_for_another_one(
    lab: GatewayLab, ost: ObjectStore
) -> None:
    attempt = await running(lab)
    assert (await attempt.save({"cache": "k"}, b"first")).status == 201
    [manifest] = [item.key async for item in iterate(ost, "caches/") if "/keys/" in item.key]
    await ost.write(manifest, b"")
    assert await found(attempt, "k") is None
    assert not (await attempt.ask("POST", "caches/has", {"key": "k"})).content["exists"]
    assert (await (await running(lab)).save({"cache": "k"}, b"second")).status == 201
    assert await found(attempt, "k") == "k"


async def test_the_newest_that_begins_with_the_first_key_that_has_any_is_found(lab: GatewayLab) -> None:
    attempt = await running(lab)
    for key in ("go-b", "go-a", "npm-c", "go"):
        assert (await attempt.save({"cache": key}, key.encode())).status == 201
    assert await found(attempt, "none", "go-") == "go-a"
    assert await found(attempt, "go") == "go"
    assert await found(attempt, "go-b", "npm") == "go-b"
    assert await found(attempt, "x", "y") is None


async def test_a_key_that_another_begins_with_is_a_key_of_its_own(lab: GatewayLab) -> None:
    attempt = await running(lab)
    keys = ["a" * 511, "a" * 512, "a" * 60, ".", "..", ".%2E", "%2E", "a/b", "a%2Fb", "a+b", "ü" * 256, "a b"]
    for key in keys:
        assert (await attempt.save({"cache": key}, key.encode())).status == 201, key
    for key in keys:
        assert (await attempt.ask("POST", "caches/has", {"key": key})).content["exists"], key
    assert not (await attempt.ask("POST", "caches/has", {"key": "a" * 61})).content["exists"]


@pytest.mark.parametrize(
    "place",
    [
        {"group": "/project/other"},
        {"cacheGroup": "/project/web/branch/x"},
        {"cacheGroup": "/project/web/keys/x"},
        {"group": f"/project/{'w' * 900}"},
    ],
    ids=["another root group", "a group of its own", "a group that looks like a folder", "a very long group"],
)
async def test_another_group_has_other_caches(lab: GatewayLab, place: dict[str, object]) -> None:
    here, there = await running(lab), await running(lab, **place)
    assert (await here.save({"cache": "k"}, b"here")).status == 201
    assert await found(there, "k") is None
    assert (await there.save({"cache": "k"}, b"there")).status == 201
    assert (await there.save({"cache": "x-k"}, b"there")).status == 201
    assert await found(here, "x") is None
    answer = await there.ask("POST", "caches/find", {"keys": ["k"]})
    assert (await here.ask("GET", f"caches/{answer.content['id']}")).status == 404
    assert await there.fetch(f"caches/{answer.content['id']}") == [b"there"]


async def test_another_namespace_has_other_caches(lab: GatewayLab) -> None:
    here, there = await running(lab), await running(lab, namespace="other-team")
    assert (await here.save({"cache": "k"}, b"here")).status == 201
    assert await found(there, "k") is None
    answer = await here.ask("POST", "caches/find", {"keys": ["k"]})
    stolen = await there.ask("GET", f"caches/{answer.content['id']}")
    assert (stolen.status, stolen.code) == (404, "NotFound")


async def test_two_who_save_one_key_at_once_both_succeed_and_one_is_kept(lab: GatewayLab) -> None:
    attempts = [await running(lab) for _ in range(3)]
    answers = await asyncio.gather(
        *(attempt.save({"cache": "k"}, b"by %d" % number) for number, attempt in enumerate(attempts))
    )
    assert sorted(answer.status for answer in answers) == [200, 200, 201]
    winner = next(number for number, answer in enumerate(answers) if answer.status == 201)
    answer = await attempts[0].ask("POST", "caches/find", {"keys": ["k"]})
    assert await attempts[0].fetch(f"caches/{answer.content['id']}") == [b"by %d" % winner]


async def test_one_that_cannot_be_read_is_passed_over(lab: GatewayLab, ost: ObjectStore) -> None:
    attempt = await running(lab)
    assert (await attempt.save({"cache": "k-1"}, b"good")).status == 201
    [manifest] = [item.key async for item in iterate(ost, "caches/team/project/web/%/keys/")]
    await ost.write(manifest.replace("k-1", "k-2"), b"no manifest")
    assert await found(attempt, "k") == "k-1"


@pytest.mark.parametrize("key", ["", "a" * 641, "/" * 214, "a\nb", "\ud800"])
async def test_a_key_that_cannot_be_is_a_bad_request(streaming: GatewayLab, key: str) -> None:
    attempt = await running(streaming)
    assert (await attempt.ask("POST", "caches/has", {"key": key})).status == 400
    assert (await attempt.ask("POST", "caches/find", {"keys": [key]})).status == 400
    assert (await attempt.ask("GET", "caches/not-an-id")).status == 404
