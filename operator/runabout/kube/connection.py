"""Where the API server is and who we are: from a kubeconfig or from inside a pod."""

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import yaml
from kubernetes import client, config

from runabout.kube.wire import ResumingContext

HEADERS_SECONDS = 5.0
"""How long they are used: a token is replaced minutes before it expires."""
NO_KUBECONFIG = (AttributeError, KeyError, TypeError, ValueError)
"""What the package stumbles over in a file that is YAML, but no kubeconfig."""


class NoClusterError(Exception):
    """There is neither a usable kubeconfig nor a service account; the message says what was tried."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A server, its TLS settings, and how to get the headers that authenticate a request."""

    server: str
    ssl: ssl.SSLContext | bool
    authorize: Callable[[], Mapping[str, str]]

    async def headers(self) -> Mapping[str, str]:
        """Return the authentication headers; a token that has expired is renewed first."""
        return self.authorize()


def connect(kubeconfig: str | None = None) -> Connection:
    """Return the connection of a kubeconfig (default: KUBECONFIG, ~/.kube/config) or of the pod's service account.

    Raises:
        NoClusterError
    """
    settings = client.Configuration()
    try:
        if kubeconfig is not None:
            config.load_kube_config(kubeconfig, client_configuration=settings)  # type: ignore[no-untyped-call] # the package has no types
        else:
            try:
                config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call] # the package has no types
            except config.ConfigException:
                config.load_kube_config(client_configuration=settings)  # type: ignore[no-untyped-call] # the package has no types
        tls = _tls(settings)
    except (config.ConfigException, OSError, yaml.YAMLError, *NO_KUBECONFIG) as error:
        words = str(error) or type(error).__name__
        raise NoClusterError(f"no Kubernetes cluster to talk to: {words}; set KUBECONFIG") from error
    return Connection(server=str(settings.host), ssl=tls, authorize=Headers(lambda: _headers(settings)))


class Headers:
    """What `read` returns, which is asked every few seconds: the package reads files and variables each time."""

    def __init__(self, read: Callable[[], Mapping[str, str]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._found: Mapping[str, str] = {}
        self._until = float("-inf")

    def __call__(self) -> Mapping[str, str]:
        """Return them, some seconds old at most."""
        now = self._clock()
        if now >= self._until:
            self._found = self._read()
            self._until = now + HEADERS_SECONDS
        return self._found


def _headers(settings: client.Configuration) -> Mapping[str, str]:
    scheme = settings.auth_settings().get("BearerToken")
    return {"Authorization": str(scheme["value"])} if scheme is not None and scheme["value"] else {}


def _tls(settings: client.Configuration) -> ssl.SSLContext | bool:
    if not str(settings.host).startswith("https"):
        return False
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    if settings.ssl_ca_cert:
        context.load_verify_locations(settings.ssl_ca_cert)
    else:
        context.load_default_certs()
    if not settings.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context
