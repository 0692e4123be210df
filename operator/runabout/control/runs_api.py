"""What the operator writes to Runs and Executors: status, finalizer, deletion.

Each write names the object's uid or version, so that one created again under the same name is never touched by mistake.
"""

from collections.abc import Callable, Mapping

from runabout.control.objects import RunObject
from runabout.kube.errors import ConflictError, NotFoundError
from runabout.kube.objects import EXECUTORS, RUNS, Resource, metadata, text
from runabout.kube.session import Session

MANAGER = "runabout"
"""Our name as a field manager."""


class RunsApi:
    """Writes through one session; an object that is gone is no error. `seen` takes what a write has made of a Run."""

    def __init__(self, session: Session, *, seen: Callable[[Mapping[str, object]], None]) -> None:
        self._session = session
        self._seen = seen

    async def apply_status(self, run: RunObject, status: Mapping[str, object]) -> None:
        """Write the status of a Run.

        Raises:
            ConflictError: somebody else wrote at the same moment; it is worth another try.
        """
        body = {"metadata": {"name": run.name, "namespace": run.namespace, "uid": run.uid}, "status": status}
        try:
            made = await self._session.apply(
                RUNS, run.name, body, manager=MANAGER, namespace=run.namespace, subresource="status"
            )
        except NotFoundError:
            return
        except ConflictError:
            if await self._is_there(RUNS, run.name, run.uid, namespace=run.namespace):
                raise
            return
        self._seen(made)

    async def set_finalizers(self, run: RunObject, finalizers: tuple[str, ...]) -> None:
        """Replace a Run's finalizers.

        Raises:
            ConflictError: it has changed since it was seen; look again.
        """
        metadata = {"uid": run.uid, "resourceVersion": run.resource_version, "finalizers": list(finalizers)}
        try:
            made = await self._session.patch(RUNS, run.name, {"metadata": metadata}, namespace=run.namespace)
        except NotFoundError:
            return
        self._seen(made)

    async def delete(self, run: RunObject) -> None:
        """Delete a Run and, by its owner references, its pods.

        Raises:
            ConflictError: as for a status.
        """
        try:
            await self._session.delete(RUNS, run.name, namespace=run.namespace, uid=run.uid, propagation="Background")
        except NotFoundError:
            return
        except ConflictError:
            if await self._is_there(RUNS, run.name, run.uid, namespace=run.namespace):
                raise

    async def apply_executor_status(self, name: str, uid: str, status: Mapping[str, object]) -> None:
        """Write the status of an Executor.

        Raises:
            ConflictError: as for a Run.
        """
        body = {"metadata": {"name": name, "uid": uid}, "status": status}
        try:
            await self._session.apply(EXECUTORS, name, body, manager=MANAGER, subresource="status")
        except NotFoundError:
            return
        except ConflictError:
            if await self._is_there(EXECUTORS, name, uid):
                raise

    async def _is_there(self, resource: Resource, name: str, uid: str, *, namespace: str | None = None) -> bool:
        """Whether this very object still exists: a conflict is also how the API server says that it is another one."""
        try:
            found = await self._session.get(resource, name, namespace=namespace)
        except NotFoundError:
            return False
        return text(metadata(found), "uid") == uid
