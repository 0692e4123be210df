"""What people decide about runs: approvals, stops, restarts. Each is a change of a Run, made in its author's name.

The record says whether a decision makes sense now; the API server says whether its author may make it, twice: here,
before anything is told about the run, and again when the Run is changed in their name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runabout.engine.approvals import counts
from runabout.engine.restart import check_restart
from runabout.gateway.errors import ConflictError, ForbiddenError, NotFoundError
from runabout.gateway.people import People
from runabout.gateway.records import Records
from runabout.kube.errors import ConflictError as ChangedMeanwhileError
from runabout.kube.errors import NotFoundError as NoObjectError
from runabout.kube.objects import RUNS, JsonObject, metadata, text
from runabout.kube.reviews import Action, Identity
from runabout.kube.session import Impersonation, Session
from runabout.records import Approval, RestartFrom, Run, RunId, Status, Task, TaskConfig, Verdict

TRIES = 5
"""Of a change that others change the Run under."""


@dataclass(frozen=True, slots=True)
class Made:
    """A Run that was created."""

    namespace: str
    name: str


class Decisions:
    """Carries decisions out."""

    def __init__(self, session: Session, records: Records, people: People) -> None:
        self._session = session
        self._records = records
        self._people = people

    async def judge(self, who: Identity, run: Run, task: str, verdict: Verdict) -> None:
        """Add what somebody says of a task that waits for it; the same again has no effect.

        Raises:
            ForbiddenError: they may not, or are not among those who are asked. NotFoundError: there is no such task, or
            they may not see the run. ConflictError: the task does not wait, or they have said otherwise. Errors of
            reading and of the API server.
        """
        await self._people.demand_of(who, run, Action("patch", RUNS, run.namespace, run.name))
        acting = self._people.acting(who)
        await self._records.catch_up()
        plan, state = await self._records.plan(run.id), await self._records.task(run.id, task)
        if plan is None or state is None or task not in plan.graph:
            raise NotFoundError(f"the run {run.id} has no task {task!r}")
        config = plan.graph.task(task)
        if state.waiting_since is None or state.status is not Status.NOTSTARTED:
            raise ConflictError(f"the task {task} does not wait for an approval: {_why(config, state)}")
        entry = _entry(config, acting, verdict)
        for number in range(TRIES):
            found = await self._object(run)
            approvals = _approvals(found)
            if _is_said(config, entry, approvals):
                return
            change = {
                "metadata": {"resourceVersion": text(metadata(found), "resourceVersion")},
                "spec": {"approvals": [*approvals, entry]},
            }
            try:
                await self._session.patch(RUNS, run.name, change, namespace=run.namespace, on_behalf=acting)
            except ChangedMeanwhileError:
                if number + 1 == TRIES:
                    raise
            else:
                return

    async def stop(self, who: Identity, run: Run) -> None:
        """Stop a run, for good; one that is over ignores it.

        Raises:
            ForbiddenError: they may not. NotFoundError: they may not even see it. ConflictError: its Run is gone.
            Errors of the API server.
        """
        await self._people.demand_of(who, run, Action("patch", RUNS, run.namespace, run.name))
        acting = self._people.acting(who)
        await self._object(run)
        change = {"spec": {"stop": True}}
        await self._session.patch(RUNS, run.name, change, namespace=run.namespace, on_behalf=acting)

    async def restart(
        self, who: Identity, run: Run, start_from: RestartFrom, environment: Sequence[Mapping[str, str]]
    ) -> Made:
        """Create a run that restarts this one.

        Raises:
            ForbiddenError: they may not. NotFoundError: they may not even see it. ConflictError: it cannot be restarted
            so; the message says why. Errors of reading and of the API server.
        """
        await self._people.demand_of(who, run, Action("create", RUNS, run.namespace))
        acting = self._people.acting(who)
        await self._records.catch_up()
        now = await self._records.state(run.id)
        problem = check_restart(run.id, now, namespace=run.namespace, start_from=start_from)
        if problem is not None:
            raise ConflictError(problem.split(": ", 1)[-1])
        spec: dict[str, object] = {"restartFrom": {"run": run.id, "from": start_from.value}}
        if environment:
            spec["environment"] = [dict(variable) for variable in environment]
        body = {
            "apiVersion": RUNS.api_version,
            "kind": RUNS.kind,
            "metadata": {"generateName": f"{run.name}-"},
            "spec": spec,
        }
        made = await self._session.create(RUNS, body, namespace=run.namespace, on_behalf=acting)
        return Made(run.namespace, text(metadata(made), "name"))

    async def id_of(self, namespace: str, name: str) -> RunId | None:
        """Return the id of the run that a Run of this name has now, None if there is none. Errors of the API server."""
        try:
            found = await self._session.get(RUNS, name, namespace=namespace)
        except NoObjectError:
            return None
        status = found.get("status")
        return RunId(text(status, "id")) if isinstance(status, Mapping) and text(status, "id") else None

    async def _object(self, run: Run) -> JsonObject:
        """Return the Run of a run.

        Raises:
            ConflictError: it is gone; another one of that name is another run.
        """
        try:
            found = await self._session.get(RUNS, run.name, namespace=run.namespace)
        except NoObjectError:
            found = {}
        if text(metadata(found), "uid") != run.uid:
            raise ConflictError(f"the Run {run.name} of this run is gone, only its record is left")
        return found


def _approvals(found: JsonObject) -> list[Mapping[str, object]]:
    spec = found.get("spec")
    approvals = spec.get("approvals") if isinstance(spec, Mapping) else None
    return [each for each in approvals if isinstance(each, Mapping)] if isinstance(approvals, list) else []


def _entry(task: TaskConfig, author: Impersonation, verdict: Verdict) -> dict[str, object]:
    """Return what is added to a Run: with the author's groups as far as they are asked for.

    Raises:
        ForbiddenError: others than the author are asked.
    """
    approvers = task.approvers
    groups = [group for group in approvers.groups if group in author.groups]
    if (approvers.users or approvers.groups) and author.user not in approvers.users and not groups:
        raise ForbiddenError(f"{author.user} is not among the approvers of the task {task.name}")
    entry: dict[str, object] = {"task": task.name, "by": author.user, "verdict": verdict.value}
    return {**entry, "groups": groups} if groups else entry


def _is_said(config: TaskConfig, entry: Mapping[str, object], approvals: Sequence[Mapping[str, object]]) -> bool:
    """Whether a Run has this word of its author already.

    Raises:
        ConflictError: it has the other one, or one that has no effect.
    """
    task, by = entry["task"], entry["by"]
    for each in approvals:
        if (each.get("task"), each.get("by")) == (task, by):
            verdict = each.get("verdict", Verdict.APPROVED.value)
            if verdict != entry["verdict"]:
                raise ConflictError(f"{by} has {verdict} the task {task} already")
            groups = each.get("groups")
            named = tuple(map(str, groups)) if isinstance(groups, list) else ()
            if not counts(config, Approval(config.name, str(by), groups=named)):
                raise ConflictError(
                    f"{by} has {verdict} the task {task} already, without a group that is asked: it has no effect and "
                    "cannot be changed, another approver is needed"
                )
            return True
    return False


def _why(config: TaskConfig, state: Task) -> str:
    if not config.needs_approval:
        return "it needs none"
    if state.status is Status.NOTSTARTED:
        return "what it depends on has not ended"
    return f"it is {state.status.value}"
