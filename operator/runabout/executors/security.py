"""What a task's containers may do: everything that Pod Security `restricted` asks for, always.

Three exceptions. runAsNonRoot is set only where the namespace enforces it, since most images run as root. A container
whose steps run as other users keeps the few capabilities without which changing users is impossible. And services keep
those with which their images begin (`services.py`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from runabout.executors.errors import InvalidPodError

USER_CAPABILITIES = ("CHOWN", "KILL", "SETGID", "SETUID")
"""What the toolbox needs to run a step as another user: give it its folders, become it, and end it."""

_NUMERIC = re.compile(r"([0-9]{1,10})(?::([0-9]{1,10}))?")


@dataclass(frozen=True, slots=True)
class User:
    """Who a container runs as: `uid` (and `gid`) where they are known, else only the toolbox can look `text` up."""

    text: str = ""
    uid: int | None = None
    gid: int | None = None


def container_user(raw: object) -> User:
    """Return the user in `raw`: `NAME`, `UID`, `NAME:GROUP` or `UID:GID`; nothing is the image's own."""
    if raw is None or raw == "":
        return User()
    text = str(raw)
    numbers = _NUMERIC.fullmatch(text)
    if numbers is None:
        return User(text=text)
    uid, gid = numbers.groups()
    return User(text=text, uid=int(uid), gid=None if gid is None else int(gid))


def needs_other_users(body: Mapping[str, object], user: User) -> bool:
    """Whether a step of the task runs as somebody else than its container, which runs as `user`."""
    if user.text and user.uid is None:
        return True
    steps = body.get("steps")
    if not isinstance(steps, list | tuple):
        return False
    return any(isinstance(step, Mapping) and step.get("user") not in {None, "", user.text} for step in steps)


def container_security(
    *,
    privileged: bool,
    restricted: bool,
    user: User,
    add: tuple[str, ...],
    other_users: bool,
) -> dict[str, object]:
    """Return the container's securityContext; `add` and `other_users` have no effect in a restricted namespace."""
    if privileged:
        made: dict[str, object] = {"privileged": True}
    else:
        capabilities: dict[str, object] = {"drop": ["ALL"]}
        kept = sorted({*add, *(USER_CAPABILITIES if other_users else ())})
        if kept and not restricted:
            capabilities["add"] = kept
        made = {"allowPrivilegeEscalation": False, "capabilities": capabilities}
        if restricted:
            made["runAsNonRoot"] = True
    if user.uid is not None:
        made["runAsUser"] = user.uid
    if user.gid is not None:
        made["runAsGroup"] = user.gid
    return made


def pod_security(chosen: object, *, restricted: bool) -> dict[str, object]:
    """Return the pod's securityContext: what was chosen over our defaults.

    Raises:
        InvalidPodError: `chosen` contradicts a restricted namespace in a way that its admission would refuse.
    """
    settings = dict(chosen) if isinstance(chosen, Mapping) else {}
    made = {"seccompProfile": {"type": "RuntimeDefault"}, **settings}
    if restricted:
        if settings.get("runAsNonRoot", True) is not True:
            raise InvalidPodError(
                "pod.securityContext.runAsNonRoot: only true is allowed where Pod Security `restricted` is enforced",
            )
        made["runAsNonRoot"] = True
    return made
