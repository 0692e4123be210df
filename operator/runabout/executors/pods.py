"""The driver that runs tasks as pods of the cluster it is connected to.

What always holds: no pod is created twice for one name; no pod is touched whose uid is another than the caller's; every
answer of the API server comes back as a value, with its words.
"""

from collections.abc import Mapping

from runabout.executors.answers import Refusal, judged
from runabout.executors.driver import Created, Creation, Done, PodRef, Refused, Removal, Unavailable
from runabout.executors.manifest import PodManifest
from runabout.executors.names import parse_labels
from runabout.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    KubeError,
    NotFoundError,
)
from runabout.kube.objects import CONFIG_MAPS, PODS, Resource, metadata, text
from runabout.kube.session import Session
from runabout.records.json import JsonObject

STOP_NOW = {"spec": {"activeDeadlineSeconds": 1}}
"""Makes the kubelet end a pod that it runs, with the pod's own grace period, and keep it (docs/decisions/0071)."""


class PodDriver:
    """Implements :class:`runabout.executors.driver.Driver`; safe for any number of tasks of one event loop."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def create(self, manifest: PodManifest) -> Creation:
        """See `Driver.create`."""
        if manifest.config_map is not None:
            made = await self._create(CONFIG_MAPS, manifest, manifest.config_map)
            if not isinstance(made, Created):
                return made
        return await self._create(PODS, manifest, manifest.pod)

    async def stop(self, pod: PodRef, *, started: bool, grace_seconds: int) -> Removal:
        """See `Driver.stop`."""
        grace_seconds = max(1, grace_seconds)  # 0 would take the object away while a node goes on with the pod
        if not started:
            return await self._delete(pod, grace_seconds=grace_seconds)
        body: dict[str, object] = dict(STOP_NOW)
        if pod.uid is not None:
            body["metadata"] = {"uid": pod.uid}
        try:
            await self._session.patch(PODS, pod.name, body, namespace=pod.namespace)
        except InvalidError:
            return await self._delete(pod, grace_seconds=grace_seconds)
        except KubeError as error:
            return await self._not_done(pod, error)
        return Done()

    async def exists(self, pod: PodRef) -> bool:
        """See `Driver.exists`."""
        try:
            found = await self._session.get(PODS, pod.name, namespace=pod.namespace)
        except NotFoundError:
            return False
        except KubeError:
            return True
        return pod.uid is None or text(metadata(found), "uid") == pod.uid

    async def remove(self, pod: PodRef, *, force: bool = False) -> Removal:
        """See `Driver.remove`."""
        return await self._delete(pod, grace_seconds=0 if force else None)

    async def _create(self, resource: Resource, manifest: PodManifest, body: JsonObject) -> Creation:
        try:
            made = await self._session.create(resource, body, namespace=manifest.namespace)
        except AlreadyExistsError:
            return await self._already_there(resource, manifest)
        except KubeError as error:
            return _judged(error)
        return _created(made)

    async def _already_there(self, resource: Resource, manifest: PodManifest) -> Creation:
        try:
            found = await self._session.get(resource, manifest.name, namespace=manifest.namespace)
        except NotFoundError:
            return Unavailable(f"{resource.kind} {manifest.name} was there a moment ago and is gone")
        except KubeError as error:
            return _judged(error)
        if _owner(found) == manifest.run and _labels(found) == _labels(manifest.pod):
            return _created(found)
        return Refused(
            f"a {resource.kind} {manifest.name} that does not belong to this run is in namespace {manifest.namespace}: "
            "delete it",
        )

    async def _delete(self, pod: PodRef, *, grace_seconds: int | None) -> Removal:
        try:
            await self._session.delete(
                PODS, pod.name, namespace=pod.namespace, uid=pod.uid, grace_seconds=grace_seconds
            )
        except KubeError as error:
            return await self._not_done(pod, error)
        return Done()

    async def _not_done(self, pod: PodRef, error: KubeError) -> Removal:
        if isinstance(error, NotFoundError):
            return Done(gone=True)
        if isinstance(error, ConflictError) and not await self.exists(pod):
            return Done(gone=True)
        if isinstance(error, ForbiddenError):
            return Refused(str(error))
        return Unavailable(str(error), error.retry_after)


def _judged(error: KubeError) -> Creation:
    return judged(Refusal(error.status, "", str(error), error.retry_after))


def _created(item: JsonObject) -> Created:
    spec = item.get("spec")
    node = text(spec, "nodeName") if isinstance(spec, Mapping) else ""
    return Created(uid=text(metadata(item), "uid"), node=node or None)


def _labels(item: JsonObject) -> object:
    labels = metadata(item).get("labels")
    return parse_labels(labels) if isinstance(labels, Mapping) else None


def _owner(item: JsonObject) -> str:
    owners = metadata(item).get("ownerReferences")
    if not isinstance(owners, list):
        return ""
    return next((text(owner, "uid") for owner in owners if isinstance(owner, Mapping) and owner.get("controller")), "")
