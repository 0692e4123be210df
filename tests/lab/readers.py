"""People who read through a gateway, from this machine."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from fixtures.gateway_process import GatewayProcess
from lab.runs import Runs

SECONDS = 120.0
"""Without a byte."""


def reading_account(runs: Runs) -> str:
    """Return the token of a new account that may read Runs and logs in the namespace, and nothing else."""
    place = ("-n", runs.namespace)
    runs.kubectl(*place, "create", "serviceaccount", "reader")
    runs.kubectl(
        *place, "create", "role", "reader", "--verb=get", "--resource=runs.runabout.dev", "--resource=pods/log"
    )
    account = f"--serviceaccount={runs.namespace}:reader"
    runs.kubectl(*place, "create", "rolebinding", "reader", "--role=reader", account)
    return runs.kubectl(*place, "create", "token", "reader").stdout.strip()


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody at one gateway."""

    gateway: GatewayProcess
    token: str

    def get(self, path: str, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
        """Return status, body and headers of an answer."""
        trusting = ssl.create_default_context(cafile=self.gateway.for_tasks["RUNABOUT_GATEWAY_CA_FILE"])
        url = self.gateway.for_tasks["RUNABOUT_GATEWAY_URL"] + path
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.token}", **headers})
        try:
            answer = urllib.request.urlopen(request, context=trusting, timeout=SECONDS)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.read(), answer.headers

    def log(self, path: str) -> bytes:
        """Return all that there is of a log, which has to be there."""
        status, body, _ = self.get(path)
        assert status == 200, body[:1000]
        return body

    def piece(self, path: str, first: int, last: int) -> bytes:
        """Return a range of a log, both ends included; empty while it does not reach so far."""
        status, body, headers = self.get(path, Range=f"bytes={first}-{last}")
        if status != 206:
            assert status in (404, 416), body[:1000]
            return b""
        assert headers["Content-Range"].startswith(f"bytes {first}-{first + len(body) - 1}/"), headers
        return body
