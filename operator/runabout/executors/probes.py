"""How a service is asked whether it is ready, from the probe that its pod has."""

from dataclasses import dataclass
from typing import Self

from runabout.executors.containers import MOUNT
from runabout.executors.podview import mapping, text
from runabout.records.json import JsonObject

TOOLBOX = f"{MOUNT}/bin/toolbox"


@dataclass(frozen=True, slots=True)
class Probe:
    """When to ask, in seconds, and with which command in the service's container; exit code 0 means ready."""

    words: tuple[str, ...]
    delay_seconds: int
    period_seconds: int
    tries: int

    @classmethod
    def of(cls, probe: JsonObject) -> Self:
        """Return the probe of a container of a pod."""
        how: tuple[str, ...]
        http = mapping(probe.get("httpGet"))
        if "exec" in probe:
            command = mapping(probe["exec"]).get("command")
            how = ("exec", *map(str, command if isinstance(command, list | tuple) else ()))
        elif http:
            how = (text(http.get("scheme")).lower() or "http", str(http.get("port")), text(http.get("path")) or "/")
        else:
            how = ("tcp", str(mapping(probe.get("tcpSocket")).get("port")))
        timeout = _number(probe, "timeoutSeconds", 1)
        return cls(
            words=(TOOLBOX, "probe", "--timeout", f"{timeout}s", *how),
            delay_seconds=_number(probe, "initialDelaySeconds", 0),
            period_seconds=_number(probe, "periodSeconds", 1),
            tries=_number(probe, "failureThreshold", 3),
        )


def _number(probe: JsonObject, name: str, default: int) -> int:
    value = probe.get(name)
    return value if isinstance(value, int) else default
