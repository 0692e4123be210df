"""The little of a Kubernetes client that the cluster needs for itself: JSON over HTTPS with a client certificate."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from localcluster.settings import API_PORT, BRIDGE_IP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# JSON as the API server speaks it; its shape is checked where it is read.
Json = dict[str, Any]
NOT_FOUND = 404
CONFLICT = 409


class ApiError(Exception):
    """The API server refused, or could not be reached (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Api:
    """One identity at the API server; a connection per request."""

    certificate: Path
    key: Path
    authority: Path
    host: str = BRIDGE_IP
    port: int = API_PORT

    @classmethod
    def of(cls, pki: Path, identity: str) -> Api:
        """The API as an identity of `pki.identities` sees it."""
        return cls(certificate=pki / f"{identity}.crt", key=pki / f"{identity}.key", authority=pki / "ca.crt")

    def _open(self, method: str, path: str, body: bytes | None, kind: str, timeout: float) -> http.client.HTTPResponse:
        try:
            context = ssl.create_default_context(cafile=str(self.authority))
            context.load_cert_chain(self.certificate, self.key)
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)
            connection.request(method, path, body=body, headers={"Content-Type": kind, "Accept": "application/json"})
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(0, f"{method} {path}: {error}") from error

    def request(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        kind: str = "application/json",
        timeout: float = 10.0,
    ) -> Json:
        """One request; the answer's JSON. Raises ApiError with the server's words."""
        payload = None if body is None else json.dumps(body).encode()
        response = self._open(method, path, payload, kind, timeout)
        try:
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(0, f"{method} {path}: {error}") from error
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {"message": text}
        answer = answer if isinstance(answer, dict) else {"message": text}
        if response.status >= http.client.BAD_REQUEST:
            raise ApiError(response.status, f"{method} {path}: {answer.get('message', text)}")
        return answer

    def get(self, path: str, **query: str) -> Json:
        """Read."""
        return self.request("GET", f"{path}?{urlencode(query)}" if query else path)

    def apply(self, path: str, manifest: Json) -> Json:
        """Server-side apply, as the field manager `runabout-local-cluster`."""
        query = urlencode({"fieldManager": "runabout-local-cluster", "force": "true"})
        return self.request("PATCH", f"{path}?{query}", manifest, kind="application/apply-patch+yaml")

    def watch(self, path: str, resource_version: str, *, timeout_seconds: int = 60) -> Iterator[Json]:
        """Events from a version on, until the server closes the watch."""
        query = {"watch": "1", "resourceVersion": resource_version, "timeoutSeconds": str(timeout_seconds)}
        response = self._open("GET", f"{path}?{urlencode(query)}", None, "application/json", timeout_seconds + 10.0)
        if response.status != http.client.OK:
            raise ApiError(response.status, response.read().decode(errors="replace"))
        try:
            for line in response:
                event = json.loads(line)
                if event.get("type") == "ERROR":
                    raise ApiError(int(event["object"].get("code", 0)), str(event["object"].get("message")))
                yield event
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(0, f"watch {path}: {error}") from error
