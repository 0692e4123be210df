"""The API server's own counters: which requests it served between two moments."""

import re
import subprocess
from collections import Counter
from pathlib import Path

_LINE = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}
Requests = Counter[tuple[str, str]]
"""(verb, resource or resource/subresource) → successful requests"""


def requests(kubectl: Path, kubeconfig: Path) -> Requests:
    """Return the writes that the API server has accepted since it started."""
    command = [str(kubectl), f"--kubeconfig={kubeconfig}", "get", "--raw", "/metrics"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    found: Requests = Counter()
    for labels, value in _LINE.findall(text):
        fields = dict(_LABEL.findall(labels))
        if fields["verb"] in WRITES and fields["code"].startswith("2"):
            what = "/".join(part for part in (fields["resource"], fields["subresource"]) if part)
            found[fields["verb"], what] += int(float(value))
    return found


OPERATORS: frozenset[tuple[str, str]] = frozenset(
    {
        ("POST", "pods"),
        ("POST", "configmaps"),
        ("PATCH", "pods"),
        ("PATCH", "runs"),
        ("APPLY", "runs"),
        ("PATCH", "runs/status"),
        ("APPLY", "runs/status"),
        ("PATCH", "executors/status"),
        ("APPLY", "executors/status"),
        ("DELETE", "pods"),
        ("DELETE", "runs"),
        ("PATCH", "leases"),
    }
)
"""What only the operator writes while runs are executed: the scheduler binds, kwok writes pods/status, we POST runs."""


def by_operator(before: Requests, after: Requests) -> dict[str, int]:
    """Return the operator's writes between two counts, by verb and resource."""
    return {
        f"{verb} {what}": after[verb, what] - before[verb, what]
        for verb, what in sorted(OPERATORS)
        if after[verb, what] > before[verb, what]
    }
