"""Brings custom resource definitions up to date, which Helm never does after a chart's first installation.

Server-side apply by a manager of our own: repeating it changes nothing, and what others have added stays.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from runabout.kube.objects import JsonObject, Resource, metadata, text
from runabout.kube.session import Session

DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
MANAGER = "runabout-definitions"
ESTABLISHED_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.2


class DefinitionError(Exception):
    """A definition cannot be used; the message names the file or the definition, and says what to do."""


def read_definitions(folder: Path) -> list[JsonObject]:
    """Return the definitions in the YAML files of a folder, in the order of the files' names.

    Raises:
        DefinitionError: there are none, or a file holds something else.
    """
    found: list[JsonObject] = []
    for file in sorted(folder.glob("*.yaml")):
        try:
            documents = list(yaml.safe_load_all(file.read_text()))
        except yaml.YAMLError as error:
            raise DefinitionError(f"{file} is no YAML: {error}") from error
        for each in documents:
            if each is None:
                continue
            if (
                not isinstance(each, Mapping)
                or each.get("kind") != DEFINITIONS.kind
                or not text(metadata(each), "name")
            ):
                raise DefinitionError(
                    f"{file} holds something else than {DEFINITIONS.kind}s: keep other files elsewhere"
                )
            found.append(each)
    if not found:
        raise DefinitionError(f"there is no *.yaml with a {DEFINITIONS.kind} in {folder}")
    return found


async def apply_definitions(session: Session, folder: Path, *, say: Callable[[str], None]) -> None:
    """Apply every definition in `folder` and wait until the API server serves it; `say` gets a line for each.

    Raises:
        DefinitionError: see `read_definitions`; or the API server does not serve it within 30 seconds.
        KubeError: the API server refuses it or cannot be reached.
    """
    for definition in read_definitions(folder):
        name = text(metadata(definition), "name")
        await session.apply(DEFINITIONS, name, definition, manager=MANAGER)
        try:
            async with asyncio.timeout(ESTABLISHED_SECONDS):
                while not _is_served(await session.get(DEFINITIONS, name)):  # noqa: ASYNC110 - another process says so
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)
        except TimeoutError as error:
            raise DefinitionError(
                f"{name} is not served after {ESTABLISHED_SECONDS:g} seconds: see kubectl describe crd {name}"
            ) from error
        say(f"{name} is up to date")


def _is_served(definition: JsonObject) -> bool:
    status = definition.get("status")
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    return isinstance(conditions, list) and any(
        each.get("type") == "Established" and each.get("status") == "True"
        for each in conditions
        if isinstance(each, Mapping)
    )
