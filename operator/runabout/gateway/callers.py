"""Which attempt of which task asks: by its pod's token, and only while the record says that it is running."""

import re
from dataclasses import dataclass
from typing import Protocol

from runabout.executors.names import PodKey, pod_name
from runabout.gateway.errors import BadRequestError, ConflictError, ForbiddenError
from runabout.gateway.identities import TASK_AUDIENCE
from runabout.gateway.records import Plan, Records
from runabout.kube.reviews import Identity
from runabout.records import Status, Task, TaskConfig, parse_run_id

POD_NAME = "authentication.kubernetes.io/pod-name"
"""What a token that is bound to a pod says of it."""
_ACCOUNT = re.compile(r"system:serviceaccount:([^:]+):([^:]+)")
_ATTEMPT = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Caller:
    """A running attempt, and what its run is."""

    key: PodKey
    plan: Plan

    @property
    def task(self) -> TaskConfig:
        """Its task, as it was asked for."""
        return self.plan.graph.task(self.key.task)


class Identifier(Protocol):
    """Knows whose a token is."""

    async def of(self, authorization: str | None, *, audience: str = "", source: str = "") -> Identity:
        """See :class:`runabout.gateway.identities.Identities`; for a task its pod is in `extra`."""
        ...


class Callers:
    """Lets attempts in."""

    def __init__(self, identities: Identifier, records: Records) -> None:
        self._identities = identities
        self._records = records

    async def admit(self, authorization: str | None, *, run: str, task: str, attempt: str, source: str = "") -> Caller:
        """Return who asks, which is the attempt that the address names; `source` is where on the network they are.

        A pod begins right after its assignment was committed, so what the view here does not know yet is waited for.

        Raises:
            UnauthorizedError: no token, or none that is good here. TooManyError: nobody looks at it now.
            ForbiddenError: another's. ConflictError: the attempt is not running. BadRequestError: the address names no
            attempt. Errors of reading and of the API server.
        """
        identity = await self._identities.of(authorization, audience=TASK_AUDIENCE, source=source)
        key = _key(run, task, attempt)
        namespace = _namespace(identity, key)
        plan = await self._records.plan(key.run)
        state = await self._records.task(key.run, key.task) if plan is not None else None
        if plan is None or not _is_running(state, key):
            await self._records.catch_up()
            plan = await self._records.plan(key.run)
            state = await self._records.task(key.run, key.task)
        if plan is None or key.task not in plan.graph or plan.config.namespace != namespace:
            raise ForbiddenError(f"this token is not of the task {key.task} of the run {key.run}")
        if not _is_running(state, key):
            raise ConflictError(f"attempt {key.attempt} of the task {key.task} is not running any more")
        return Caller(key, plan)


def _key(run: str, task: str, attempt: str) -> PodKey:
    if not _ATTEMPT.fullmatch(attempt):
        raise BadRequestError(f"{attempt[:40]!r} is no number of an attempt")
    try:
        key = PodKey(parse_run_id(run), task, int(attempt))
        pod_name(key)
    except ValueError as error:
        raise BadRequestError(str(error)) from error
    return key


def _namespace(identity: Identity, key: PodKey) -> str:
    """Return the namespace of the pod that the token is bound to, which must be the attempt's.

    Raises:
        ForbiddenError
    """
    account = _ACCOUNT.fullmatch(identity.user)
    pods = identity.extra.get(POD_NAME, ())
    if account is None or len(pods) != 1:
        raise ForbiddenError("this address is for tasks: the token is not bound to a pod")
    if pods[0] != pod_name(key):
        raise ForbiddenError(
            f"this token is of the pod {pods[0]}, not of attempt {key.attempt} of the task {key.task} of run {key.run}"
        )
    return account[1]


def _is_running(state: Task | None, key: PodKey) -> bool:
    return state is not None and state.status is Status.RUNNING and state.attempt == key.attempt
