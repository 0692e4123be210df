"""What the API server says of others: who a token belongs to, and whether somebody may do something.

Nothing is remembered here. What comes from a token is taken as text only where it is text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runabout.kube.objects import ACCESS_REVIEWS, TOKEN_REVIEWS, JsonObject, Resource, text
from runabout.kube.session import Session


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is to the API server; `extra` is what the issuer of the token says besides."""

    user: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody wants to do; `name` empty: to any object of that kind in the namespace."""

    verb: str
    resource: Resource
    namespace: str
    name: str = ""
    subresource: str = ""


async def review_token(session: Session, token: str, *, audiences: Sequence[str] = ()) -> Identity | None:
    """Return whose token it is, None if it is nobody's or not for one of `audiences` (none: the API server's own).

    Raises:
        KubeError: nothing is known.
    """
    spec: dict[str, object] = {"token": token}
    if audiences:
        spec["audiences"] = list(audiences)
    body = {"apiVersion": TOKEN_REVIEWS.api_version, "kind": TOKEN_REVIEWS.kind, "spec": spec}
    status = _status(await session.review(TOKEN_REVIEWS, body))
    user = status.get("user")
    if status.get("authenticated") is not True or not isinstance(user, Mapping) or not text(user, "username"):
        return None
    # A server that knows no audiences leaves them out: its word is then about another one than was asked for.
    if audiences and not set(_texts(status.get("audiences"))) & set(audiences):
        return None
    extra = user.get("extra")
    return Identity(
        user=text(user, "username"),
        groups=_texts(user.get("groups")),
        uid=text(user, "uid"),
        extra={str(key): _texts(value) for key, value in extra.items()} if isinstance(extra, Mapping) else {},
    )


async def may(session: Session, who: Identity, action: Action) -> bool:
    """Whether somebody may do something.

    Raises:
        KubeError: nothing is known.
    """
    wanted = {
        "verb": action.verb,
        "group": action.resource.group,
        "version": action.resource.version,
        "resource": action.resource.plural,
        "subresource": action.subresource,
        "namespace": action.namespace,
        "name": action.name,
    }
    spec = {
        "user": who.user,
        "groups": list(who.groups),
        "uid": who.uid,
        "extra": {key: list(values) for key, values in who.extra.items()},
        "resourceAttributes": wanted,
    }
    body = {"apiVersion": ACCESS_REVIEWS.api_version, "kind": ACCESS_REVIEWS.kind, "spec": spec}
    return _status(await session.review(ACCESS_REVIEWS, body)).get("allowed") is True


def _status(answer: JsonObject) -> Mapping[str, object]:
    status = answer.get("status")
    return status if isinstance(status, Mapping) else {}


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list | tuple) else ()
