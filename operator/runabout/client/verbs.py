"""`runabout restart`, `stop`, `approve`, `refuse`: what people do to Runs, in their own name, by the API server.

Each is a small change of the API's objects, which kubectl could make as well; the API server decides who may.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from kubernetes import config

from runabout.client.maintenance import NAMESPACE_FILE, with_session
from runabout.kube.errors import ConflictError
from runabout.kube.objects import RUNS, JsonObject, Resource, metadata, text
from runabout.kube.session import Session
from runabout.records import RestartFrom, Verdict

REVIEWS = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
TRIES = 5
"""Of adding an approval, where others add theirs at the same moment."""
PAUSE_SECONDS = 0.2

RunName = Annotated[str, typer.Argument(help="Name of the Run.")]
TaskName = Annotated[str, typer.Argument(help="Name of the task; of a variant of a matrix its full name.")]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Namespace of the Run; default: the current context's.")
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", help="A group you are in that may approve; repeatable. Default: those that are asked."),
]
MOST_GROUPS = 64
"""That one approval can name."""


def restart(
    run: Annotated[str, typer.Argument(help="The old run: the name of its Run, which may be gone, or its id.")],
    start_from: Annotated[
        RestartFrom,
        typer.Option("--from", help="failed: what did not succeed, and what depends on it; start: everything."),
    ] = RestartFrom.FAILED,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for all tasks, in place of the old ones.")] = None,
    name: Annotated[str, typer.Option(help="Name of the new Run; default: made from the old one's.")] = "",
    namespace: Namespace = "",
) -> None:
    """Run a run again, or what failed of it: creates a new Run."""
    spec: dict[str, object] = {"restartFrom": {"run": run, "from": start_from.value}}
    if env:
        spec["environment"] = [_variable(item) for item in env]
    where = namespace or current_namespace()
    named = {"name": name} if name else {"generateName": f"{run}-"}
    body = {"apiVersion": RUNS.api_version, "kind": RUNS.kind, "metadata": named, "spec": spec}

    made = text(metadata(with_session(lambda session: session.create(RUNS, body, namespace=where))), "name")
    typer.echo(f"run {where}/{made} restarts {run} from {start_from.value}")
    typer.echo(f"watch it: kubectl -n {where} get run {made} --watch")


def stop(run: RunName, namespace: Namespace = "") -> None:
    """Stop a run for good: what runs is told to end, what waits does not start."""
    where = namespace or current_namespace()
    with_session(lambda session: session.patch(RUNS, run, {"spec": {"stop": True}}, namespace=where))
    typer.echo(f"run {where}/{run} is told to stop")
    typer.echo(f"wait for its end: kubectl -n {where} wait --for=condition=Completed run/{run}")


def approve(run: RunName, task: TaskName, group: Groups = None, namespace: Namespace = "") -> None:
    """Approve a task that waits for it, in your own name."""
    _say(run, task, Verdict.APPROVED, group or [], namespace or current_namespace())


def refuse(run: RunName, task: TaskName, group: Groups = None, namespace: Namespace = "") -> None:
    """Refuse a task that waits for its approval, in your own name: it fails without having started."""
    _say(run, task, Verdict.REFUSED, group or [], namespace or current_namespace())


def current_namespace(file: Path = NAMESPACE_FILE) -> str:
    """Return the namespace we are in: the pod's, or the current context's, else `default`."""
    if file.exists():
        return file.read_text().strip()
    try:
        _, context = config.list_kube_config_contexts()  # type: ignore[no-untyped-call] # the package has no types
        found = context["context"].get("namespace")
    except (config.ConfigException, KeyError, TypeError):
        return "default"  # connecting says what is wrong
    return str(found or "default")


def _variable(item: str) -> JsonObject:
    name, equals, value = item.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{item!r}: write NAME=VALUE", param_hint="--env")
    return {"name": name, "value": value}


def _say(run: str, task: str, verdict: Verdict, groups: list[str], where: str) -> None:
    async def say(session: Session) -> str:
        by, mine = await _who(session)
        entry = {"task": task, "by": by, "verdict": verdict.value}
        await _again(lambda: _add(session, where, run, entry, groups, mine))
        return by

    by = with_session(say)
    typer.echo(f"task {task} of run {where}/{run} is {verdict.value} by {by}")
    typer.echo(f"see whether it counts: kubectl -n {where} describe run {run}")


async def _who(session: Session) -> tuple[str, list[str]]:
    """Return the name under which the API server knows us, and our groups."""
    body = {"apiVersion": REVIEWS.api_version, "kind": REVIEWS.kind}
    status = (await session.review(REVIEWS, body)).get("status")
    user = status.get("userInfo") if isinstance(status, dict) else None
    if not isinstance(user, dict):
        return "", []
    groups = user.get("groups")
    return text(user, "username"), [str(group) for group in groups] if isinstance(groups, list) else []


async def _add(
    session: Session, where: str, run: str, entry: JsonObject, groups: Sequence[str], mine: Sequence[str]
) -> None:
    """Add an approval to those that are there; a conflict if somebody has changed the Run meanwhile.

    Its `groups` are those given, else those of `mine` that may count: an approval that names none cannot be mended.
    """
    found = await session.get(RUNS, run, namespace=where)
    spec = found.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    given = spec.get("approvals")
    rows = given if isinstance(given, list) else []
    named = list(groups or _asked(spec, mine))[:MOST_GROUPS]
    for row in rows:
        if (row.get("task"), row.get("by")) == (entry["task"], entry["by"]):
            _check_said(row, entry, named)
            return
    added = {**entry, **({"groups": named} if named else {})}
    body = {
        "metadata": {"resourceVersion": text(metadata(found), "resourceVersion")},
        "spec": {"approvals": [*rows, added]},
    }
    await session.patch(RUNS, run, body, namespace=where)


def _asked(spec: JsonObject, mine: Sequence[str]) -> list[str]:
    """Return our groups whose members a Run asks; of a restart, which does not say whom, all that are people's."""
    tasks = spec.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        return [group for group in mine if not group.startswith("system:")]
    asked = {group for task in tasks for group in (task.get("approvers") or {}).get("groups") or ()}
    return [group for group in mine if group in asked]


def _check_said(row: JsonObject, entry: JsonObject, groups: Sequence[str]) -> None:
    """Do nothing if a Run has this word of ours already; end the program with a message if it has another one."""
    verdict, before = row.get("verdict", Verdict.APPROVED.value), row.get("groups")
    known = before if isinstance(before, list) else []
    if verdict == entry["verdict"] and set(groups).issubset(known):
        return
    how = "" if verdict != entry["verdict"] else f" without naming {', '.join(sorted(set(groups).difference(known)))}"
    typer.echo(
        f"{entry['by']} has {verdict} the task {entry['task']} already{how}: a word is never taken back or changed; "
        "somebody else can add theirs",
        err=True,
    )
    raise typer.Exit(1)


async def _again(work: Callable[[], Awaitable[None]]) -> None:
    for _ in range(TRIES - 1):
        try:
            await work()
        except ConflictError:
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return
    await work()
