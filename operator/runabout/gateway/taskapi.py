"""The requests of tasks: `/task/v1/<run>/<task>/<attempt>/…`. docs/internals/gateway.md has all of them.

Every one is let in by the attempt's own token, and reaches its ancestors' archives and results and the caches of its
run's group, nothing else.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel, ValidationError, model_validator

from runabout.control.archivekeys import archive_place, parse_part_name, part_name
from runabout.control.archivemanifests import LARGEST_PART, MOST_PARTS, Count, Manifest, Part, Sha256
from runabout.control.archiverules import saving_steps
from runabout.control.logchunks import LARGEST_CHUNK, LARGEST_OFFSET, chunk_key
from runabout.control.status import rfc3339
from runabout.executors.markers import SETUP
from runabout.executors.names import pod_name
from runabout.executors.plan import step_names
from runabout.gateway.ancestors import executed, executed_one
from runabout.gateway.answers import json_answer, json_body, whole_number
from runabout.gateway.archives import Archives, Place, some_parts, workspace_place
from runabout.gateway.caches import Caches
from runabout.gateway.callers import Caller, Callers
from runabout.gateway.errors import BadRequestError, ConflictError, NotFoundError
from runabout.gateway.logparts import LogParts
from runabout.gateway.records import Records
from runabout.gateway.results import Results
from runabout.gateway.transfer import Address, Transfer
from runabout.ost import WHOLE

BASE = "/task/v1/{run}/{task}/{attempt}"
MOST_ADDRESSES = 64
"""In one answer."""
MOST_RESULTS = 64
"""Tasks whose results are in one answer: 2 MiB of them."""
MOST_STEPS = 64
MOST_KEYS = 32


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LogPlace(_Body):
    """Where a part of a log belongs: to a step (-1: the setup), from a byte on."""

    step: Annotated[int, Field(ge=SETUP, lt=MOST_STEPS)]
    offset: Annotated[int, Field(ge=0, le=LARGEST_OFFSET)]


class Target(_Body):
    """What is being saved: the archive of a step, a cache, or a part of a log."""

    workspace: Annotated[int, Field(ge=0, lt=MOST_STEPS)] | None = None
    cache: Annotated[str, Field(min_length=1)] | None = None
    log: LogPlace | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "Target":
        if sum(each is not None for each in (self.workspace, self.cache, self.log)) != 1:
            raise ValueError("name one of workspace, cache and log")
        return self


class NewPart(_Body):
    """A part that is to be sent."""

    target: Target = Field(alias="for")
    number: Annotated[int, Field(ge=0, lt=MOST_PARTS, alias="part")]
    size: Annotated[int, Field(ge=1, le=LARGEST_PART)]
    sha256: Sha256

    @property
    def part(self) -> Part:
        """The part itself."""
        return Part(size=self.size, sha256=self.sha256)


class NewArchive(_Body):
    """An archive whose parts were sent; `bytes` are those of the unpacked files."""

    target: Target = Field(alias="for")
    parts: Annotated[list[Part], Field(min_length=1, max_length=MOST_PARTS)]
    files: Count
    bytes: Count


class Keys(_Body):
    """Keys of caches, in the order in which they are tried."""

    keys: Annotated[list[str], Field(min_length=1, max_length=MOST_KEYS)]


class Key(_Body):
    """One key of a cache."""

    key: str


class Values(RootModel[dict[str, JsonValue]]):
    """Results."""


@dataclass(frozen=True, slots=True)
class TaskApi:
    """The handlers of tasks' requests."""

    callers: Callers
    records: Records
    archives: Archives
    caches: Caches
    results: Results
    transfer: Transfer
    log_parts: LogParts

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [
            web.post(f"{BASE}/parts", self.new_part),
            web.put(f"{BASE}/parts/{{announced}}", self.put_part),
            web.post(f"{BASE}/archives", self.new_archive),
            web.get(f"{BASE}/workspace", self.workspace),
            web.get(f"{BASE}/workspace/{{ancestor}}/{{step}}", self.workspace_parts),
            web.get(f"{BASE}/workspace/{{ancestor}}/{{step}}/parts/{{part}}", self.get_workspace_part),
            web.post(f"{BASE}/caches/find", self.find_cache),
            web.post(f"{BASE}/caches/has", self.has_cache),
            web.get(f"{BASE}/caches/{{id}}", self.cache_parts),
            web.get(f"{BASE}/caches/{{id}}/parts/{{part}}", self.get_cache_part),
            web.put(f"{BASE}/results", self.put_results),
            web.get(f"{BASE}/results", self.get_results),
        ]

    # saving

    async def new_part(self, request: web.Request) -> web.StreamResponse:
        """Say where a part is to be sent, or that it is here already."""
        caller = await self._caller(request)
        asked = await json_body(request, NewPart)
        key, _ = self._part_key(caller, asked)
        if await self.archives.has_part(key, asked.size):
            return json_answer({"stored": True})
        if asked.target.log is not None:
            await self.log_parts.demand_room(caller.key)
        own = _own(request, caller, "parts", _announcement(asked))
        address = await self.transfer.to_put(key, asked.part, own=own)
        if asked.target.log is not None and address.url != own:
            self.log_parts.add(caller.key)
        return json_answer(_shown(address))

    async def put_part(self, request: web.Request) -> web.StreamResponse:
        """Take a part."""
        caller = await self._caller(request)
        asked = _announced(request.match_info["announced"])
        key, persist = self._part_key(caller, asked)
        if asked.target.log is not None:
            await self.log_parts.demand_room(caller.key)
            self.log_parts.add(caller.key)
        await self.transfer.take(request, key, asked.part, persist=persist)
        return web.Response(status=204)

    async def new_archive(self, request: web.Request) -> web.StreamResponse:
        """Make parts an archive."""
        caller = await self._caller(request)
        asked = await json_body(request, NewArchive)
        place = self._place(caller, asked.target)
        outcome = await self.archives.finish(place, asked.parts, files=asked.files, size=asked.bytes)
        if outcome == "existing" and asked.target.workspace is not None:
            raise ConflictError("another archive of this step is stored already")
        if outcome == "existing":
            return json_answer({"existing": True})
        return json_answer({}, status=201 if outcome == "stored" else 200)

    # restoring

    async def workspace(self, request: web.Request) -> web.StreamResponse:
        """List the archives of all ancestors, in the order in which they are unpacked."""
        caller = await self._caller(request)
        wanted = [(each, step) for each in await executed(self.records, caller) for step in saving_steps(each.task)]
        places = [workspace_place(archive_place(each.run, each.task.name, each.attempt, step)) for each, step in wanted]
        found = await self.archives.of_manifests([place.manifest for place in places], _sizes)
        listed = [
            {"task": each.task.name, "step": step, **sizes}
            for (each, step), sizes in zip(wanted, found, strict=True)
            if sizes is not None
        ]
        return json_answer({"archives": listed})

    async def workspace_parts(self, request: web.Request) -> web.StreamResponse:
        """Say where some parts of an ancestor's archive are to be had."""
        caller = await self._caller(request)
        place = await self._ancestors_place(request, caller)
        manifest = await self.archives.manifest(place.manifest)
        if manifest is None:
            raise NotFoundError("this step has left no archive")
        own = _own(request, caller, "workspace", request.match_info["ancestor"], request.match_info["step"])
        return await self._addresses(request, place.folder, manifest, own)

    async def get_workspace_part(self, request: web.Request) -> web.StreamResponse:
        """Send a part of an ancestor's archive."""
        caller = await self._caller(request)
        place = await self._ancestors_place(request, caller)
        return await self._part(request, place.folder)

    # caches

    async def find_cache(self, request: web.Request) -> web.StreamResponse:
        """Say which cache is to be restored."""
        caller = await self._caller(request)
        asked = await json_body(request, Keys)
        found = await self.caches.find(caller.plan.config.cache_group, asked.keys, source=pod_name(caller.key))
        if found is None:
            return json_answer({"key": None})
        answer = {"key": found.key, "id": found.id, "created": rfc3339(found.created), **_sizes(found.manifest)}
        return json_answer(answer)

    async def has_cache(self, request: web.Request) -> web.StreamResponse:
        """Say whether a key is taken."""
        caller = await self._caller(request)
        asked = await json_body(request, Key)
        return json_answer({"exists": await self.caches.has(caller.plan.config.cache_group, asked.key)})

    async def cache_parts(self, request: web.Request) -> web.StreamResponse:
        """Say where some parts of a cache are to be had."""
        caller = await self._caller(request)
        group, id_ = caller.plan.config.cache_group, request.match_info["id"]
        manifest = await self.caches.by_id(group, id_)
        own = _own(request, caller, "caches", id_)
        return await self._addresses(request, self.caches.parts_of(group, id_), manifest, own)

    async def get_cache_part(self, request: web.Request) -> web.StreamResponse:
        """Send a part of a cache."""
        caller = await self._caller(request)
        return await self._part(request, self.caches.parts_of(caller.plan.config.cache_group, request.match_info["id"]))

    # results

    async def put_results(self, request: web.Request) -> web.StreamResponse:
        """Keep the attempt's results."""
        caller = await self._caller(request)
        asked = await json_body(request, Values)
        await self.results.put(caller.key, asked.root)
        return web.Response(status=204)

    async def get_results(self, request: web.Request) -> web.StreamResponse:
        """Return the results of some ancestors, without names of all."""
        caller = await self._caller(request)
        tasks = await executed(self.records, caller, frozenset(request.query.getall("task", [])))
        if len(tasks) > MOST_RESULTS:
            raise BadRequestError(
                f"results of at most {MOST_RESULTS} tasks are in one answer, not of {len(tasks)}: name some with ?task="
            )
        return json_answer({"tasks": await self.results.of(tasks)})

    async def _caller(self, request: web.Request) -> Caller:
        names: Any = request.match_info
        return await self.callers.admit(
            request.headers.get("Authorization"),
            run=names["run"],
            task=names["task"],
            attempt=names["attempt"],
            source=request.remote or "",
        )

    def _part_key(self, caller: Caller, asked: NewPart) -> tuple[str, bool]:
        """Return where a part is stored, and whether a loss of power may not take it.

        Raises:
            BadRequestError: the attempt saves no such thing.
        """
        log, key = asked.target.log, caller.key
        if log is None:
            place = self._place(caller, asked.target)
            return place.part(asked.number, asked.sha256), place.persist
        if log.step >= len(step_names(caller.task)):
            raise BadRequestError(f"for.log.step: the task {key.task} has no step {log.step}")
        if asked.number or asked.size > LARGEST_CHUNK:
            raise BadRequestError(f"for.log: part 0 with at most {LARGEST_CHUNK} bytes is wanted")
        return chunk_key(key.run, key.task, key.attempt, log.step, log.offset, asked.sha256), False

    def _place(self, caller: Caller, target: Target) -> Place:
        key = caller.key
        if target.log is not None:
            raise BadRequestError("for.log: a log is no archive, its parts are all there is")
        if target.cache is not None:
            return self.caches.place(caller.plan.config.cache_group, target.cache, key)
        step = target.workspace or 0
        if step not in saving_steps(caller.task):
            raise BadRequestError(f"for.workspace: step {step} of the task {key.task} saves no workspace")
        return workspace_place(archive_place(key.run, key.task, key.attempt, step))

    async def _ancestors_place(self, request: web.Request, caller: Caller) -> Place:
        name, step = request.match_info["ancestor"], request.match_info["step"]
        if not step.isascii() or not step.isdecimal() or len(step) > 2:  # noqa: PLR2004 - below 64
            raise BadRequestError(f"{step[:40]!r} is no number of a step")
        ancestor = await executed_one(self.records, caller, name)
        if ancestor is None:
            raise NotFoundError(f"the task {name} was not executed and has left no archive")
        return workspace_place(archive_place(ancestor.run, name, ancestor.attempt, int(step)))

    async def _addresses(self, request: web.Request, folder: str, manifest: Manifest, own: str) -> web.StreamResponse:
        first = whole_number(request, "from", default=0, most=MOST_PARTS)
        count = whole_number(request, "count", default=MOST_ADDRESSES, most=MOST_ADDRESSES)
        parts = []
        for number, part in some_parts(manifest, first, count):
            name = part_name(number, part.sha256)
            address = await self.transfer.to_get(f"{folder}/{name}", own=f"{own}/parts/{name}")
            parts.append({"url": address.url, "headers": address.headers, "size": part.size, "sha256": part.sha256})
        return json_answer({"parts": parts})

    async def _part(self, request: web.Request, folder: str) -> web.StreamResponse:
        name = request.match_info["part"]
        if parse_part_name(name) is None:
            raise BadRequestError(f"{name[:100]!r} is no name of a part")
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        await self.transfer.give(request, f"{folder}/{name}", WHOLE, response)
        return response


def _own(request: web.Request, caller: Caller, *rest: str) -> str:
    """Return an address of the gateway itself, as whoever asks has reached it."""
    base = BASE.format(run=caller.key.run, task=caller.key.task, attempt=caller.key.attempt)
    return f"{request.scheme}://{request.host}{base}/{'/'.join(rest)}"


def _announcement(asked: NewPart) -> str:
    return base64.urlsafe_b64encode(asked.model_dump_json(by_alias=True).encode()).decode().rstrip("=")


def _announced(text: str) -> NewPart:
    try:
        return NewPart.model_validate_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValidationError, ValueError) as error:
        raise BadRequestError("this is no address for a part: ask for one with POST …/parts") from error


def _shown(address: Address) -> dict[str, object]:
    return {"url": address.url, "method": address.method, "headers": address.headers}


def _sizes(manifest: Manifest) -> dict[str, int]:
    return {
        "parts": len(manifest.parts),
        "size": manifest.size,
        "bytes": manifest.bytes,
        "files": manifest.files,
    }
