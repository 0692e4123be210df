"""What the chart's hooks and test call: definitions, finalizers, and a run from end to end."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from runabout.client.definitions import DefinitionError, apply_definitions
from runabout.kube.connection import NoClusterError, connect
from runabout.kube.errors import ConflictError, KubeError, NotFoundError
from runabout.kube.objects import PODS, RUNS, JsonObject, Resource, metadata, text
from runabout.kube.session import Session

T = TypeVar("T")

SCALES = Resource("apps", "v1", "deployments", "Deployment")
FINALIZER = "runabout.dev/record"
PAGE = 500
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
OPERATOR_SELECTOR = "app.kubernetes.io/name=runabout,app.kubernetes.io/component=operator"


def with_session(use: Callable[[Session], Awaitable[T]]) -> T:
    """Return what `use` returns with a session to the current cluster; end the program with a message on errors."""

    async def main() -> T:
        async with Session(connect()) as session:
            return await use(session)

    try:
        return asyncio.run(main())
    except (NoClusterError, KubeError, DefinitionError, TimeoutError) as error:
        sys.stderr.write(f"{str(error) or type(error).__name__}\n")
        raise typer.Exit(1) from error


def apply_crds(folder: Annotated[Path, typer.Argument(help="Folder with the definitions.")] = Path("crds")) -> None:
    """Bring the definitions of Run and Executor up to date."""
    with_session(lambda session: apply_definitions(session, folder, say=typer.echo))


def release_finalizers(
    operator: Annotated[str, typer.Option(help="Deployment that is stopped first, so that it puts none back.")],
    selector: Annotated[str, typer.Option(help="Labels of its pods, which must all have ended.")] = OPERATOR_SELECTOR,
) -> None:
    """Let every Run be deleted without waiting for the operator; records that are stored stay."""
    namespace = NAMESPACE_FILE.read_text().strip() if NAMESPACE_FILE.exists() else "default"

    async def release(session: Session) -> None:
        await _stop_operator(session, namespace, operator, selector)
        count, token = 0, ""
        while True:
            runs, _, token = await session.list(RUNS, limit=PAGE, token=token, metadata_only=True)
            for run in runs:
                count += await _release(session, run)
            if not token:
                break
        typer.echo(f"released {count} Runs")

    with_session(release)


async def _stop_operator(session: Session, namespace: str, operator: str, selector: str) -> None:
    try:
        await session.patch(SCALES, operator, {"spec": {"replicas": 0}}, namespace=namespace, subresource="scale")
    except NotFoundError:
        return
    async with asyncio.timeout(60):
        while (await session.list(PODS, namespace=namespace, selector=selector))[0]:  # noqa: ASYNC110 - another process ends
            await asyncio.sleep(0.5)


async def _release(session: Session, run: JsonObject) -> int:
    name, namespace = text(metadata(run), "name"), text(metadata(run), "namespace")
    while True:
        found = metadata(run).get("finalizers")
        if not isinstance(found, list) or FINALIZER not in found:
            return 0
        version = text(metadata(run), "resourceVersion")  # others' finalizers may come and go meanwhile
        left = {"resourceVersion": version, "finalizers": [name for name in found if name != FINALIZER]}
        try:
            await session.patch(RUNS, name, {"metadata": left}, namespace=namespace)
        except NotFoundError:
            return 0  # it has gone by itself
        except ConflictError:
            try:
                run = await session.get(RUNS, name, namespace=namespace)
            except NotFoundError:
                return 0
        else:
            return 1


def selftest(
    namespace: Annotated[str, typer.Option(help="Where the test Run is created.")],
    image: Annotated[str, typer.Option(help="An image with /bin/sh.")],
    seconds: Annotated[int, typer.Option(help="How long it may take.")] = 240,
) -> None:
    """Apply a Run with two tasks, wait for its end, and remove it."""

    async def test(session: Session) -> bool:
        task = {"containers": [{"image": image, "imagePullPolicy": "IfNotPresent"}]}
        spec = {
            "tasks": [
                {"name": "first", **task, "steps": [{"run": "echo first"}]},
                {"name": "second", **task, "depends": [{"task": "first"}], "steps": [{"run": "echo second"}]},
            ]
        }
        body = {
            "apiVersion": RUNS.api_version,
            "kind": RUNS.kind,
            "metadata": {"generateName": "selftest-"},
            "spec": spec,
        }
        made = await session.create(RUNS, body, namespace=namespace)
        name = text(metadata(made), "name")
        typer.echo(f"created run {namespace}/{name}")
        try:
            async with asyncio.timeout(seconds):
                return await _follow(session, namespace, name)
        finally:
            await session.delete(RUNS, name, namespace=namespace)

    if not with_session(test):
        raise typer.Exit(1)


async def _follow(session: Session, namespace: str, name: str) -> bool:
    """Say what changes until the run is over; return whether it succeeded."""
    last = ""
    while True:
        run = await session.get(RUNS, name, namespace=namespace)
        status = run.get("status")
        status = status if isinstance(status, dict) else {}
        line = f"{status.get('phase', 'not seen yet')} {status.get('result', '')} {status.get('notable', '') or ''}"
        if line != last:
            typer.echo(line.strip())
            last = line
        if status.get("phase") in ("finished", "cancelled", "setuperror"):
            return bool(status.get("result") == "success")
        await asyncio.sleep(0.5)
