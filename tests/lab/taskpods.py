"""A bench for task pods on a real cluster: made by the manifest, created by the driver, observed as control does.

The pods belong to a ConfigMap instead of a Run, so that no operator on the same cluster takes notice of them.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import orjson
import pytest

from runabout.executors.driver import Created, PodRef
from runabout.executors.manifest import PodManifest, PodSettings, pod_manifest
from runabout.executors.observe import observe
from runabout.executors.plan import step_names
from runabout.executors.pods import PodDriver
from runabout.executors.services import services_of
from runabout.executors.state import Limits, PodState
from runabout.executors.steplog import StepLogSplitter
from runabout.executors.trim import trim_pod
from runabout.kube.errors import NotFoundError
from runabout.kube.logs import container_log
from runabout.kube.objects import PODS, JsonObject, metadata, text
from runabout.kube.session import Session
from runabout.records import IdGenerator, RunConfig, TaskConfig

STEPS_IMAGE = "runabout/steps:dev"
DEADLINE_SECONDS = 90
SETTINGS = PodSettings(toolbox_image="runabout/toolbox:dev", grace_seconds=3)


@dataclass(slots=True)
class Attempt:
    """One pod on the cluster and what was last seen of it."""

    lab: "Lab"
    task: TaskConfig
    manifest: PodManifest
    uid: str = ""
    last: JsonObject | None = None
    gone: bool = False
    stopped_at: int | None = None

    @property
    def ref(self) -> PodRef:
        return PodRef(self.manifest.namespace, self.manifest.name, self.uid)

    async def look(self, *, limits: Limits) -> PodState:
        try:
            found = await self.lab.session.get(PODS, self.manifest.name, namespace=self.manifest.namespace)
        except NotFoundError:
            self.gone = self.last is not None
        else:
            self.last = trim_pod(found)
        return observe(
            self.last,
            now=round(time.time() * 1000),
            limits=limits,
            steps=step_names(self.task),
            services=services_of(self.task),
            stopped_at=self.stopped_at,
            gone=self.gone,
        )

    async def until(self, reached: Callable[[PodState], bool], *, limits: Limits | None = None) -> PodState:
        """Return the first state that is `reached`."""
        state: PodState | None = None
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while True:
                    state = await self.look(limits=limits or Limits(grace_seconds=SETTINGS.grace_seconds))
                    if reached(state):
                        return state
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"not within {DEADLINE_SECONDS} s; the last state is {state}, of {self.last}")

    async def stop(self, *, started: bool) -> None:
        self.stopped_at = round(time.time() * 1000)
        await self.lab.driver.stop(self.ref, started=started, grace_seconds=SETTINGS.grace_seconds)

    async def log(self) -> dict[int, bytes]:
        """Return what each step wrote, split out of the container's log; the setup is step -1."""
        splitter = StepLogSplitter(step_names(self.task))
        output: dict[int, bytes] = {}
        async with container_log(
            self.lab.session, self.manifest.namespace, self.manifest.name, self.manifest.container, follow=False
        ) as pieces:
            chunks = [chunk async for piece in pieces for chunk in splitter.feed(piece)]
        for chunk in [*chunks, *splitter.finish()]:
            output[chunk.step] = output.get(chunk.step, b"") + chunk.data
        return output


@dataclass(slots=True)
class Lab:
    """A namespace of its own, and pods in it."""

    session: Session
    driver: PodDriver
    namespace: str
    owner: JsonObject
    settings: PodSettings = SETTINGS
    config: RunConfig = field(init=False)
    attempts: int = 0

    def __post_init__(self) -> None:
        self.config = RunConfig(
            id=IdGenerator(store=1).next(round(time.time() * 1000)),
            namespace=self.namespace,
            name="lab",
            uid=text(metadata(self.owner), "uid"),
            group=f"/{self.namespace}/run/lab",
            cache_group=f"/{self.namespace}/run/lab",
            created=0,
        )

    def manifest(self, task: TaskConfig) -> PodManifest:
        """Return a new attempt's manifest, owned by the namespace's ConfigMap."""
        self.attempts += 1
        made = pod_manifest(
            self.config, task, attempt=self.attempts, counter=1, executor_pod={}, settings=self.settings
        )
        return replace(made, pod=self._owned(made.pod), config_map=made.config_map and self._owned(made.config_map))

    async def start(self, task: TaskConfig) -> Attempt:
        attempt = Attempt(self, task, self.manifest(task))
        answer = await self.driver.create(attempt.manifest)
        assert isinstance(answer, Created), answer
        attempt.uid = answer.uid
        return attempt

    def _owned(self, item: JsonObject) -> JsonObject:
        body = cast("dict[str, dict[str, object]]", orjson.loads(orjson.dumps(item)))
        body["metadata"]["ownerReferences"] = [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": text(metadata(self.owner), "name"),
                "uid": self.config.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ]
        return body


def task(*steps: str | Mapping[str, object], arch: str | None = None, **body: object) -> TaskConfig:
    """Return a task of run steps in the image for steps; `container` is laid over its container."""
    container = {
        "image": STEPS_IMAGE,
        "imagePullPolicy": "Never",
        **cast("dict[str, object]", body.pop("container", {})),
    }
    return TaskConfig(
        name="try",
        arch=arch,
        body={
            "containers": [container],
            "steps": [{"run": step} if isinstance(step, str) else dict(step) for step in steps],
            "workingDir": "/tmp/project",
            **body,
        },
    )
