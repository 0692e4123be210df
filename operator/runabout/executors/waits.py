"""Why a container does not start, judged by what the kubelet says of it: whose doing it is, and whether to wait.

What always holds: a registry that says no is the user's doing (reason ImagePull), one that does not answer properly
is the machinery's (RegistryError); what nobody recognises is a wait with the kubelet's own words.
"""

import re
from dataclasses import dataclass

from runabout.executors.podview import Container
from runabout.records import Reason


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a container does not start. `final` is what waiting cannot heal; `users` says whose failure it becomes."""

    reason: Reason
    message: str
    users: bool
    final: bool = False


_IMAGE_WAITS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    },
)
_BROKEN_REGISTRY = re.compile(
    r"""
      \b50[0-9]\b | \b429\b | toomanyrequests | too\ many\ requests | rate\ limit
    | time-?d?[ -]?out | deadline\ exceeded | connection\ (?:refused|reset|closed) | broken\ pipe
    | network\ is\ unreachable | no\ route\ to\ host | tls\ handshake | server\ misbehaving
    | temporary\ failure | unexpected\ eof | :\ eof\b | unavailable | internal\ server\ error | bad\ gateway
    | \bcanceled\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NO = re.compile(
    r"""
      not\ found | notfound | manifest\ unknown | name\ unknown | repository\ does\ not\ exist | pull\ access\ denied
    | unauthorized | authentication\ required | insufficient_scope | forbidden | \b40[134]\b | no\ match\ for\ platform
    | invalid\ reference | no\ such\ host | denied
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NAMES = re.compile(r'"[^"]*"|https?://\S+')
_FULL_NODE = re.compile(r"no space left on device|disk quota|input/output error", re.IGNORECASE)
_NEVER_STARTS = re.compile(r"run ?as ?non-?root|non-numeric user|will run as root|breaks? non-root", re.IGNORECASE)
_PASSING = re.compile(
    r"deadline exceeded|time-?d?[ -]?out|unavailable|is reserved for|connection refused|no space left",
    re.IGNORECASE,
)


def container_wait(container: Container) -> Wait:
    """Return why `container`, which has not started, waits."""
    said = _said(container)
    if container.reason == "InvalidImageName":
        return Wait(Reason.IMAGE_PULL, said, users=True, final=True)
    if container.reason in _IMAGE_WAITS:
        return _image_wait(container, said)
    if container.reason == "CreateContainerConfigError":
        return Wait(Reason.CONFIG_ERROR, said, users=True, final=bool(_NEVER_STARTS.search(container.message)))
    if container.reason in {"CreateContainerError", "RunContainerError", "PreCreateHookError", "PostStartHookError"}:
        if _PASSING.search(container.message):
            return Wait(Reason.CONTAINER_CREATING, said, users=False)
        return Wait(Reason.CONFIG_ERROR, said, users=True)
    return Wait(Reason.CONTAINER_CREATING, said, users=False)


def is_image_wait(container: Container) -> bool:
    """Whether the container waits for its image to come."""
    return container.reason in _IMAGE_WAITS


def _image_wait(container: Container, said: str) -> Wait:
    # What somebody chose to call an image or a host must not be taken for what went wrong.
    cause = _NAMES.sub("", container.message)
    if _FULL_NODE.search(cause):
        return Wait(Reason.MACHINERY_ERROR, said, users=False)
    if container.reason == "RegistryUnavailable" or (_BROKEN_REGISTRY.search(cause) and not _NO.search(cause)):
        return Wait(Reason.REGISTRY_ERROR, said, users=False)
    return Wait(Reason.IMAGE_PULL, said, users=True)


def _said(container: Container) -> str:
    words = container.reason or "the container is being created"
    return f"{words}: {container.message}" if container.message else words
