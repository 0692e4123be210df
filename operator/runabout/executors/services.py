"""Services: the containers of a task after the first, as native sidecars of its pod (docs/decisions/0089).

What always holds: they are started in their order, before the main container, which begins when each of them has
started and, where it has a readiness, is ready; the kubelet ends them after it. The toolbox runs nothing of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from runabout.executors.containers import PASSED_ON, container_name, containers_of, user_mounts
from runabout.executors.errors import InvalidPodError
from runabout.executors.security import User, container_security, container_user
from runabout.records import TaskConfig
from runabout.resources.containers import Readiness
from runabout.resources.errors import problems

SERVICE_CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
)
"""What the images of databases and web servers take to begin as root and go on as somebody else."""
PROBE_GRACE_SECONDS = 5
"""What a service that never got ready has to end; the pod's own grace is for steps."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service, as far as judging it goes; both times are in seconds, None without a readiness.

    After `probe_seconds` of its life the kubelet may end it because it is not ready; after `ready_seconds` it has to be
    ready.
    """

    name: str
    probe_seconds: int | None = None
    ready_seconds: int | None = None


def services_of(task: TaskConfig) -> tuple[Service, ...]:
    """Return the services of a task, in their order; none of one that cannot be made into a pod."""
    given = task.body.get("containers")
    if not isinstance(given, list | tuple) or len(given) < 2:  # noqa: PLR2004 - the first one is no service
        return ()
    where = f"tasks[{task.name}]"
    try:
        return tuple(_service(container, place, where) for place, container in _later(containers_of(task, where)))
    except InvalidPodError:
        return ()


def service_containers(
    containers: Sequence[Mapping[str, object]],
    where: str,
    *,
    environments: Sequence[list[dict[str, object]]],
    privileged: Sequence[bool],
    restricted: bool,
    add_capabilities: tuple[str, ...],
) -> list[dict[str, object]]:
    """Return the pod's containers for the services among a task's `containers`.

    `environments` and `privileged` have one entry for each of them, the first container's included.

    Raises:
        InvalidPodError: one asks for what a service cannot have.
    """
    return [
        _container(
            container,
            place,
            where,
            env=environments[place],
            security=container_security(
                privileged=privileged[place],
                restricted=restricted,
                user=_user(container, f"{where}.containers[{place}]"),
                add=(*add_capabilities, *SERVICE_CAPABILITIES),
                other_users=False,
            ),
        )
        for place, container in _later(containers)
    ]


def _later(containers: Sequence[Mapping[str, object]]) -> Iterator[tuple[int, Mapping[str, object]]]:
    return ((place, container) for place, container in enumerate(containers) if place > 0)


def _container(
    container: Mapping[str, object],
    place: int,
    where: str,
    *,
    env: list[dict[str, object]],
    security: dict[str, object],
) -> dict[str, object]:
    path = f"{where}.containers[{place}]"
    made: dict[str, object] = {
        "name": container_name(container, place, where),
        "image": container["image"],
        "restartPolicy": "Always",
        "env": env,
        "volumeMounts": user_mounts(container, path),
        "securityContext": security,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **{passed: container[passed] for passed in PASSED_ON if container.get(passed) is not None},
        **{words: list(_words(container[words])) for words in ("command", "args") if container.get(words)},
    }
    readiness = _readiness(container, path)
    if readiness is not None:
        made["startupProbe"] = _probe(readiness)
    return made


def _words(given: object) -> Sequence[object]:
    return given if isinstance(given, list | tuple) else [given]


def _user(container: Mapping[str, object], where: str) -> User:
    user = container_user(container.get("user"))
    if user.text and user.uid is None:
        raise InvalidPodError(
            f"{where}.user: {user.text!r} is a name, which only the image knows; give UID or UID:GID for a service",
        )
    return user


def _readiness(container: Mapping[str, object], where: str) -> Readiness | None:
    given = container.get("readiness")
    if given is None:
        return None
    try:
        return Readiness.model_validate(given)
    except ValidationError as error:
        found = problems(error, Readiness, start=f"{where}.readiness")
        raise InvalidPodError("; ".join(map(str, found))) from error


def _probe(readiness: Readiness) -> dict[str, object]:
    how: dict[str, object] = {}
    if readiness.exec is not None:
        how["exec"] = {"command": list(readiness.exec.command)}
    elif readiness.http_get is not None:
        http = readiness.http_get
        how["httpGet"] = {"path": http.path, "port": _port(http.port), "scheme": http.scheme}
    elif readiness.tcp_socket is not None:
        how["tcpSocket"] = {"port": _port(readiness.tcp_socket.port)}
    return {
        **how,
        "initialDelaySeconds": readiness.initial_delay_seconds,
        "periodSeconds": readiness.period_seconds,
        "timeoutSeconds": readiness.timeout_seconds,
        "failureThreshold": readiness.failure_threshold,
        "terminationGracePeriodSeconds": PROBE_GRACE_SECONDS,
    }


def _port(port: str) -> int | str:
    return int(port) if port.isdigit() else port


def _service(container: Mapping[str, object], place: int, where: str) -> Service:
    name = container_name(container, place, where)
    readiness = _readiness(container, f"{where}.containers[{place}]")
    if readiness is None:
        return Service(name)
    tries, each = readiness.failure_threshold, max(readiness.period_seconds, readiness.timeout_seconds)
    begin = readiness.initial_delay_seconds
    return Service(name, begin + (tries - 1) * readiness.period_seconds, begin + tries * each)
