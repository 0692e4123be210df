"""What our client relies on in an API server: one suite for the fake and for a real one."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from runabout.kube.errors import AlreadyExistsError, ConflictError, InvalidError, NotFoundError
from runabout.kube.informer import Informer
from runabout.kube.objects import CONFIG_MAPS, RUNS, JsonObject, metadata, text
from runabout.kube.reviews import Action, Identity, may, review_token
from runabout.kube.session import Impersonation, Session

SECONDS = 60
QUICK = (0.01, 0.02, 0.05)
"""Seconds between tries where what counts is not how long they are."""
EMPTY_RUN: JsonObject = {"apiVersion": "runabout.dev/v1alpha1", "kind": "Run", "spec": {"tasks": []}}


def config_map(name: str, data: Mapping[str, str] | None = None, **labels: str) -> JsonObject:
    """Return a ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels},
        "data": dict(data or {}),
    }


async def until(reached: Callable[[], bool], *, seconds: float = SECONDS) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not reached():  # noqa: ASYNC110 -- what is waited for is somebody else's
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(informer: Informer) -> AsyncIterator[Informer]:
    """Keep an informer running; inside, it has listed what there was."""
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(SECONDS):
            await informer.synced.wait()
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def mapping(item: JsonObject, key: str) -> Mapping[str, Any]:
    """Return a mapping inside an object."""
    found = item[key]
    assert isinstance(found, Mapping)
    return found


class KubeSuite:
    """Subclasses are collected; their folder has the fixtures `session` and `place`, a namespace of the test's own."""

    async def test_what_is_created_can_be_had_and_has_an_identity(self, session: Session, place: str) -> None:
        made = await session.create(CONFIG_MAPS, config_map("a", {"x": "1"}), namespace=place)
        found = await session.get(CONFIG_MAPS, "a", namespace=place)
        assert found == made
        assert mapping(found, "data") == {"x": "1"}
        assert text(metadata(found), "uid")
        assert text(metadata(found), "resourceVersion").isdigit()
        assert text(metadata(found), "namespace") == place

    async def test_a_name_can_be_given_once(self, session: Session, place: str) -> None:
        await session.create(CONFIG_MAPS, config_map("a"), namespace=place)
        with pytest.raises(AlreadyExistsError):
            await session.create(CONFIG_MAPS, config_map("a"), namespace=place)

    async def test_what_is_not_there_is_not_found(self, session: Session, place: str) -> None:
        for doing in (
            session.get(CONFIG_MAPS, "none", namespace=place),
            session.delete(CONFIG_MAPS, "none", namespace=place),
            session.patch(CONFIG_MAPS, "none", {"data": {"x": "1"}}, namespace=place),
            session.create(CONFIG_MAPS, config_map("a"), namespace=f"none-{uuid.uuid4().hex[:8]}"),
        ):
            with pytest.raises(NotFoundError):
                await doing

    async def test_a_name_that_cannot_be_is_invalid(self, session: Session, place: str) -> None:
        with pytest.raises(InvalidError, match="name"):
            await session.create(CONFIG_MAPS, config_map("No Name"), namespace=place)

    async def test_only_the_object_with_the_uid_is_deleted(self, session: Session, place: str) -> None:
        made = await session.create(CONFIG_MAPS, config_map("a"), namespace=place)
        with pytest.raises(ConflictError):
            await session.delete(CONFIG_MAPS, "a", namespace=place, uid="of-another-one")
        await session.delete(CONFIG_MAPS, "a", namespace=place, uid=text(metadata(made), "uid"))
        with pytest.raises(NotFoundError):
            await session.get(CONFIG_MAPS, "a", namespace=place)

    async def test_pages_have_each_object_once_and_only_those_selected(self, session: Session, place: str) -> None:
        for number in range(5):
            await session.create(CONFIG_MAPS, config_map(f"page-{number}", kind="page"), namespace=place)
        await session.create(CONFIG_MAPS, config_map("other", kind="other"), namespace=place)
        names, token, pages = [], "", 0
        while True:
            items, version, token = await session.list(
                CONFIG_MAPS, namespace=place, selector="kind=page", limit=2, token=token
            )
            names += [text(metadata(item), "name") for item in items]
            pages += 1
            assert version.isdigit()
            if not token:
                break
        assert names == [f"page-{number}" for number in range(5)]
        assert pages == 3

    async def test_a_listing_of_metadata_has_nothing_else(self, session: Session, place: str) -> None:
        await session.create(CONFIG_MAPS, config_map("a", {"x": "1"}, kind="bare"), namespace=place)
        [item], _, _ = await session.list(CONFIG_MAPS, namespace=place, selector="kind=bare", metadata_only=True)
        assert text(metadata(item), "name") == "a"
        assert "data" not in item

    async def test_a_patch_merges_and_null_removes(self, session: Session, place: str) -> None:
        await session.create(CONFIG_MAPS, config_map("a", {"x": "1", "y": "2"}), namespace=place)
        found = await session.patch(CONFIG_MAPS, "a", {"data": {"x": None, "z": "3"}}, namespace=place)
        assert mapping(found, "data") == {"y": "2", "z": "3"}

    async def test_a_patch_of_an_older_version_is_a_conflict(self, session: Session, place: str) -> None:
        made = await session.create(CONFIG_MAPS, config_map("a"), namespace=place)
        version = {"resourceVersion": text(metadata(made), "resourceVersion")}
        await session.patch(CONFIG_MAPS, "a", {"metadata": version, "data": {"x": "1"}}, namespace=place)
        with pytest.raises(ConflictError):
            await session.patch(CONFIG_MAPS, "a", {"metadata": version, "data": {"x": "2"}}, namespace=place)

    async def test_applying_owns_what_it_says_and_nothing_else(self, session: Session, place: str) -> None:
        await session.apply(CONFIG_MAPS, "a", {"data": {"x": "1", "y": "1"}}, manager="one", namespace=place)
        await session.apply(CONFIG_MAPS, "a", {"data": {"z": "2"}}, manager="two", namespace=place)
        first = await session.apply(CONFIG_MAPS, "a", {"data": {"x": "1"}}, manager="one", namespace=place)
        assert mapping(first, "data") == {"x": "1", "z": "2"}
        again = await session.apply(CONFIG_MAPS, "a", {"data": {"x": "1"}}, manager="one", namespace=place)
        assert metadata(again)["resourceVersion"] == metadata(first)["resourceVersion"]

    async def test_a_status_is_written_apart_from_the_spec(self, session: Session, place: str) -> None:
        await session.create(RUNS, {**EMPTY_RUN, "metadata": {"name": "a"}}, namespace=place)
        status = {"status": {"phase": "queued", "id": "1il7g1c000001"}, "spec": {"suspend": True}}
        found = await session.apply(RUNS, "a", status, manager="runabout", namespace=place, subresource="status")
        assert mapping(found, "status")["phase"] == "queued"
        assert not mapping(found, "spec").get("suspend")
        assert metadata(found)["generation"] == 1
        found = await session.patch(RUNS, "a", {"spec": {"stop": True}, "status": {"phase": "x"}}, namespace=place)
        assert metadata(found)["generation"] == 2
        assert mapping(found, "status")["phase"] == "queued"

    async def test_a_finalizer_holds_what_is_deleted(self, session: Session, place: str) -> None:
        held = {**config_map("a"), "metadata": {"name": "a", "finalizers": ["runabout.dev/test"]}}
        await session.create(CONFIG_MAPS, held, namespace=place)
        await session.delete(CONFIG_MAPS, "a", namespace=place)
        found = await session.get(CONFIG_MAPS, "a", namespace=place)
        assert text(metadata(found), "deletionTimestamp")
        await session.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": []}}, namespace=place)
        with pytest.raises(NotFoundError):
            await session.get(CONFIG_MAPS, "a", namespace=place)

    async def test_an_informer_shows_what_is_there_and_every_change_in_order(
        self, session: Session, place: str
    ) -> None:
        mark = f"m{uuid.uuid4().hex[:8]}"
        await session.create(CONFIG_MAPS, config_map("before", {"x": "0"}, mark=mark), namespace=place)
        seen: list[tuple[str, str | None, str | None]] = []

        def note(before: JsonObject | None, after: JsonObject | None) -> None:
            name = text(metadata(after or before or {}), "name")
            values = [mapping(item, "data")["x"] if item is not None else None for item in (before, after)]
            seen.append((name, values[0], values[1]))

        informer = Informer(session, CONFIG_MAPS, selector=f"mark={mark}", on_change=note)
        async with running(informer):
            assert seen == [("before", None, "0")]
            await session.create(CONFIG_MAPS, config_map("a", {"x": "1"}, mark=mark), namespace=place)
            await session.create(CONFIG_MAPS, config_map("unmarked", {"x": "1"}), namespace=place)
            await session.patch(CONFIG_MAPS, "a", {"data": {"x": "2"}}, namespace=place)
            await session.delete(CONFIG_MAPS, "a", namespace=place)
            await until(lambda: len(seen) == 4)
        assert seen[1:] == [("a", None, "1"), ("a", "1", "2"), ("a", "2", None)]
        assert informer.get(place, "before") is not None
        assert informer.get(place, "a") is None
        assert len(informer) == 1

    async def test_a_token_that_nobody_issued_is_nobodys(self, session: Session, place: str) -> None:
        del place
        assert await review_token(session, "nobodys") is None
        assert await review_token(session, "nobodys", audiences=["another"]) is None

    async def test_who_was_allowed_nothing_may_do_nothing(self, session: Session, place: str) -> None:
        nobody = Identity("nobody-at-all", ("no-group",), extra={"key": ("value",)})
        assert not await may(session, nobody, Action("get", RUNS, place, "a"))

    async def test_what_is_done_in_anothers_name_is_done(self, session: Session, place: str) -> None:
        someone = Impersonation("someone-ü", ("system:masters", "another"))
        await session.create(CONFIG_MAPS, config_map("a"), namespace=place, on_behalf=someone)
        changes = {"data": {"x": "1"}}
        found = await session.patch(CONFIG_MAPS, "a", changes, namespace=place, on_behalf=someone)
        assert mapping(found, "data") == {"x": "1"}
