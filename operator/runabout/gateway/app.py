"""The parts of a gateway, and the one place where they are put together."""

import time
from dataclasses import dataclass

from aiohttp import web

from runabout.gateway.answers import middleware
from runabout.gateway.archives import Archives
from runabout.gateway.caches import Caches
from runabout.gateway.callers import Callers
from runabout.gateway.decisions import Decisions
from runabout.gateway.identities import Identities
from runabout.gateway.livelogs import Logs
from runabout.gateway.logparts import LogParts
from runabout.gateway.metrics import GatewayMetrics
from runabout.gateway.people import People
from runabout.gateway.peopleapi import PeopleApi
from runabout.gateway.records import Records
from runabout.gateway.results import Results
from runabout.gateway.server import LARGEST_JSON
from runabout.gateway.taskapi import TaskApi
from runabout.gateway.transfer import Transfer
from runabout.kube.session import Session
from runabout.ost import ObjectStore


@dataclass(frozen=True, slots=True)
class Options:
    """What an installation decides. `groups`: those in which callers are impersonated, none: in all of theirs."""

    presign: bool = True
    max_active: int = 32
    groups: tuple[str, ...] = ()


def application(
    *, session: Session, records: Records, ost: ObjectStore, metrics: GatewayMetrics, options: Options
) -> web.Application:
    """Return what answers requests; it owns nothing that has to be closed."""
    identities = Identities(session, clock=time.monotonic, now=time.time, metrics=metrics)

    def now() -> int:
        return time.time_ns() // 1_000_000

    archives = Archives(ost, now=now)
    transfer = Transfer(ost, presign=options.presign, most=options.max_active, metrics=metrics)
    tasks = TaskApi(
        callers=Callers(identities, records),
        records=records,
        archives=archives,
        caches=Caches(ost, archives),
        results=Results(ost),
        transfer=transfer,
        log_parts=LogParts(ost),
    )
    callers = People(identities, session, groups=options.groups)
    people = PeopleApi(
        people=callers,
        records=records,
        decisions=Decisions(session, records, callers),
        logs=Logs(session, records, ost, now=now),
        transfer=transfer,
    )
    app = web.Application(middlewares=[middleware(metrics)], client_max_size=LARGEST_JSON)
    app.add_routes([*tasks.routes(), *people.routes()])
    return app
