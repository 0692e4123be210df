"""What the pod informer keeps of a pod: all that observing needs, and nothing whose size a user decides.

What always holds: observing the trimmed pod gives the same state as observing the whole one; trimming it again changes
nothing; no list and no text in a trimmed pod can grow.
"""

from runabout.executors.manifest import MAIN_ANNOTATION, TOOLBOX_CONTAINER
from runabout.executors.names import ATTEMPT_LABEL, MANAGED_BY_LABEL, RUN_ID_LABEL, TASK_LABEL
from runabout.executors.podview import (
    CONDITIONS,
    MAX_OTHER_INITS,
    MAX_TERMINATION_MESSAGE,
    items,
    last_lines,
    main_container,
    mapping,
    shortened,
    text,
)
from runabout.records.json import JsonObject

_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
_LABELS = (MANAGED_BY_LABEL, RUN_ID_LABEL, TASK_LABEL, ATTEMPT_LABEL)
_STATES = ("terminated", "running", "waiting")
_DETAILS = ("reason", "exitCode", "startedAt", "finishedAt")


def trim_pod(pod: JsonObject) -> JsonObject:
    """Return the part of `pod` that is kept in memory: identity, our labels, node, and what the status says."""
    metadata, status = mapping(pod.get("metadata")), mapping(pod.get("status"))
    main = main_container(pod)
    kept: dict[str, object] = {key: metadata[key] for key in _METADATA if key in metadata}
    labels = mapping(metadata.get("labels"))
    kept["labels"] = {key: labels[key] for key in _LABELS if key in labels}
    kept["annotations"] = {MAIN_ANNOTATION: main}
    owners = [{"uid": owner.get("uid")} for owner in items(metadata.get("ownerReferences")) if owner.get("controller")]
    if owners:
        kept["ownerReferences"] = owners[:1]
    said: dict[str, object] = {key: status[key] for key in ("phase", "reason") if key in status}
    message = shortened(text(status.get("message")))
    if message:
        said["message"] = message
    said["conditions"] = [
        _condition(item) for item in items(status.get("conditions")) if item.get("type") in CONDITIONS
    ]
    inits = [_init(item) for item in items(status.get("initContainerStatuses"))]
    ours = [item for item in inits if item["name"] == TOOLBOX_CONTAINER][:1]
    others = [item for item in inits if item["name"] != TOOLBOX_CONTAINER][:MAX_OTHER_INITS]
    said["initContainerStatuses"] = ours + others
    said["containerStatuses"] = _containers(main, status)
    node = mapping(pod.get("spec")).get("nodeName")
    return {"metadata": kept, "spec": {"nodeName": node} if node else {}, "status": said}


def _containers(main: str, status: JsonObject) -> list[JsonObject]:
    """Return the main container, and of the others one that runs, if any does."""
    found = list(items(status.get("containerStatuses")))
    ours = [_container(item, whole=True) for item in found if item.get("name") == main][:1]
    others = [item for item in found if item.get("name") != main and "running" in mapping(item.get("state"))]
    return ours + [{"name": shortened(text(item.get("name"))), "state": {"running": {}}} for item in others[:1]]


def _condition(raw: JsonObject) -> JsonObject:
    kept = {key: raw[key] for key in ("type", "status", "reason", "lastTransitionTime") if key in raw}
    message = shortened(text(raw.get("message")))
    if message:
        kept["message"] = message
    return kept


def _init(raw: JsonObject) -> JsonObject:
    """Return an init container with its last end; services are such containers."""
    kept: dict[str, object] = dict(_container(raw, whole=False))
    ended = _end(mapping(mapping(raw.get("state")).get("terminated")))
    if "terminated" in mapping(kept.get("state")):
        kept["state"] = {"terminated": ended}
    if raw.get("started") is True:
        kept["started"] = True
    before = _end(mapping(mapping(raw.get("lastState")).get("terminated")))
    if before:
        kept["lastState"] = {"terminated": before}
    return kept


def _end(detail: JsonObject) -> JsonObject:
    said = {key: detail[key] for key in _DETAILS if key in detail}
    message = last_lines(text(detail.get("message")))
    return {**said, "message": message} if message else said


def _container(raw: JsonObject, *, whole: bool) -> JsonObject:
    states = mapping(raw.get("state"))
    kept: dict[str, object] = {"name": raw.get("name")}
    if raw.get("restartCount"):
        kept["restartCount"] = raw["restartCount"]
    for state in _STATES:
        if state not in states:
            continue
        detail = mapping(states[state])
        said = {key: detail[key] for key in _DETAILS if key in detail}
        message = text(detail.get("message"))
        message = message[:MAX_TERMINATION_MESSAGE] if whole and state == "terminated" else shortened(message)
        if message:
            said["message"] = message
        kept["state"] = {state: said}
        break
    return kept
