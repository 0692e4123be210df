"""The requests of people: records, logs, and what they decide. Their addresses begin with /v1/."""

import re
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from runabout.gateway.answers import json_answer, json_body, whole_number
from runabout.gateway.decisions import Decisions
from runabout.gateway.errors import ApiError, BadRequestError, NotFoundError
from runabout.gateway.livelogs import Logs, StepLog
from runabout.gateway.people import People, unknown_run
from runabout.gateway.records import Plan, Records
from runabout.gateway.runview import run_view
from runabout.gateway.transfer import Transfer, breaking_off
from runabout.kube.objects import PODS, RUNS
from runabout.kube.reviews import Action, Identity
from runabout.ost import ByteRange
from runabout.records import RestartFrom, Run, RunId, Verdict, parse_run_id

LARGEST_OFFSET = 2**62
LARGEST_PIECE = 1024 * 1024
"""Bytes of a log that is being written in one answer to a request for a range."""
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?")


class _RangeError(ApiError):
    """The range begins behind the end."""

    status, code = 416, "RangeNotSatisfiable"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class NoBody(_Body):
    """A request that says everything by its address."""


class Variable(_Body):
    """A variable of a run's environment."""

    name: Annotated[str, Field(min_length=1)]
    value: str = ""


class Restart(_Body):
    """How a run is to be restarted."""

    start_from: Annotated[Literal["start", "failed"], Field(alias="from")]
    environment: Annotated[list[Variable], Field(max_length=1000)] = []


@dataclass(frozen=True, slots=True)
class PeopleApi:
    """The handlers of people's requests."""

    people: People
    records: Records
    decisions: Decisions
    logs: Logs
    transfer: Transfer

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [
            web.get("/v1/namespaces/{namespace}/runs/{run}", self.run),
            web.get("/v1/runs/{run}/tasks/{task}/attempts/{attempt}/logs/{step}", self.log),
            web.post("/v1/runs/{run}/tasks/{task}/approve", self.approve),
            web.post("/v1/runs/{run}/tasks/{task}/refuse", self.refuse),
            web.post("/v1/runs/{run}/stop", self.stop),
            web.post("/v1/runs/{run}/restart", self.restart),
        ]

    async def run(self, request: web.Request) -> web.StreamResponse:
        """Return the record of a run, by its id or by the name of its Run."""
        who = await self._who(request)
        namespace, name = request.match_info["namespace"], request.match_info["run"]
        await self.people.demand(who, Action("get", RUNS, namespace))
        found = await self._state(_id(name))
        if found is None or found.namespace != namespace:
            found = await self._state(await self.decisions.id_of(namespace, name))
        if found is None or found.namespace != namespace:
            raise NotFoundError(f"there is no run {name!r} in the namespace {namespace}")
        plan = await self._plan(found.id)
        return json_answer(run_view(plan.config, found, await self.records.tasks(found.id), plan.graph))

    async def log(self, request: web.Request) -> web.StreamResponse:
        """Send the log of a step: a range of it, or from a byte on; with `follow` until it has ended."""
        who = await self._who(request)
        run = await self._run(request)
        await self.people.demand_of(who, run, Action("get", RUNS, run.namespace, run.name))
        await self.people.demand(who, Action("get", PODS, run.namespace, subresource="log"))
        attempt = request.match_info["attempt"]
        if not attempt.isascii() or not attempt.isdecimal():
            raise BadRequestError(f"{attempt[:40]!r} is no number of an attempt")
        step = request.match_info["step"]
        log = await self.logs.find(await self._plan(run.id), request.match_info["task"], int(attempt[:9]), step)
        first = whole_number(request, "from", default=0, most=LARGEST_OFFSET)
        follow = request.query.get("follow", "0") in ("1", "true")
        stored = await self.logs.stored(log)
        if stored is not None:
            return await self._stored(request, log, stored.size, first)
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        if asked is not None and not follow:
            return await self._piece(log, int(asked[1]), int(asked[2]) + 1 if asked[2] else LARGEST_OFFSET)
        response = web.StreamResponse(
            headers={"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        with breaking_off(request):
            async for piece in self.logs.read(log, first, follow=follow):
                await response.write(piece)
            await response.write_eof()
        return response

    async def approve(self, request: web.Request) -> web.StreamResponse:
        """Approve a task that waits for it."""
        return await self._judge(request, Verdict.APPROVED)

    async def refuse(self, request: web.Request) -> web.StreamResponse:
        """Refuse a task that waits for approval: it fails."""
        return await self._judge(request, Verdict.REFUSED)

    async def stop(self, request: web.Request) -> web.StreamResponse:
        """Stop a run."""
        who = await self._who(request)
        await json_body(request, NoBody)
        await self.decisions.stop(who, await self._run(request))
        return web.Response(status=204)

    async def restart(self, request: web.Request) -> web.StreamResponse:
        """Create a run that restarts one."""
        who = await self._who(request)
        asked = await json_body(request, Restart)
        environment = [{"name": each.name, "value": each.value} for each in asked.environment]
        run = await self._run(request)
        made = await self.decisions.restart(who, run, RestartFrom(asked.start_from), environment)
        return json_answer({"namespace": made.namespace, "name": made.name}, status=201)

    async def _who(self, request: web.Request) -> Identity:
        return await self.people.who(request.headers.get("Authorization"), request.remote or "")

    async def _judge(self, request: web.Request, verdict: Verdict) -> web.StreamResponse:
        who = await self._who(request)
        await json_body(request, NoBody)
        await self.decisions.judge(who, await self._run(request), request.match_info["task"], verdict)
        return web.Response(status=204)

    async def _stored(self, request: web.Request, log: StepLog, size: int, first: int) -> web.StreamResponse:
        headers = {"Content-Type": "text/plain; charset=utf-8", "Accept-Ranges": "bytes"}
        found = _RANGE.fullmatch(request.headers.get("Range", ""))
        if found is None:
            response = web.StreamResponse(headers=headers)
            await self.transfer.give(request, log.key, ByteRange(min(first, size)), response)
            return response
        begin, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
        if begin >= size or end <= begin:
            raise _RangeError(f"the log has {size} bytes")
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
        response = web.StreamResponse(status=206, headers=headers)
        await self.transfer.give(request, log.key, ByteRange(begin, end - begin), response)
        return response

    async def _piece(self, log: StepLog, begin: int, end: int) -> web.StreamResponse:
        """Send a range of a log that is being written, as far as it is there; of a large one the beginning."""
        wanted, found = min(end - begin, LARGEST_PIECE), bytearray()
        async with aclosing(self.logs.read(log, begin, follow=False)) as pieces:
            async for piece in pieces:
                found += piece
                if len(found) >= wanted:
                    break
        if not found or wanted <= 0:
            raise _RangeError(f"the log has no byte {begin} yet")
        body = bytes(found[:wanted])
        headers = {"Content-Range": f"bytes {begin}-{begin + len(body) - 1}/*", "Cache-Control": "no-store"}
        return web.Response(status=206, body=body, headers=headers, content_type="text/plain", charset="utf-8")

    async def _run(self, request: web.Request) -> Run:
        """Return the run that an address names by its id.

        Raises:
            NotFoundError
        """
        name = request.match_info["run"]
        found = await self._state(_id(name))
        if found is None:
            raise unknown_run(name)
        return found

    async def _state(self, run: RunId | None) -> Run | None:
        """Return the state of a run, asking for the newest if it is not known here."""
        if run is None:
            return None
        found = await self.records.state(run)
        if found is None:
            await self.records.catch_up()
            found = await self.records.state(run)
        return found

    async def _plan(self, run: RunId) -> Plan:
        plan = await self.records.plan(run)
        if plan is None:
            raise unknown_run(run)
        return plan


def _id(text: str) -> RunId | None:
    try:
        return parse_run_id(text)
    except ValueError:
        return None
