"""From a kubeconfig to a connection, and words for one that is of no use."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from runabout.kube.connection import Headers, NoClusterError, connect

Obj = dict[str, Any]


def kubeconfig(
    folder: Path, *, server: str = "http://127.0.0.1:1", user: Obj | None = None, cluster: Obj | None = None
) -> str:
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps(config))
    return str(path)


def test_a_server_without_tls_needs_no_context(tmp_path: Path) -> None:
    connection = connect(kubeconfig(tmp_path))
    assert (connection.server, connection.ssl) == ("http://127.0.0.1:1", False)
    assert asyncio.run(connection.headers()) == {}


def test_a_token_that_was_replaced_is_taken_within_seconds_and_not_read_for_every_request() -> None:
    tokens, times = iter("abc"), iter((0.0, 1.0, 4.9, 5.0, 9.0, 10.0))
    headers = Headers(lambda: {"Authorization": next(tokens)}, clock=lambda: next(times))
    assert [headers()["Authorization"] for _ in range(6)] == ["a", "a", "a", "b", "b", "c"]


def test_a_token_is_sent(tmp_path: Path) -> None:
    connection = connect(kubeconfig(tmp_path, user={"token": "t0"}))
    assert asyncio.run(connection.headers()) == {"Authorization": "Bearer t0"}


def test_a_server_is_verified(tmp_path: Path) -> None:
    connection = connect(kubeconfig(tmp_path, server="https://127.0.0.1:1"))
    assert isinstance(connection.ssl, ssl.SSLContext)
    assert connection.ssl.verify_mode is ssl.CERT_REQUIRED
    assert connection.ssl.check_hostname


def test_a_server_is_not_verified_where_the_kubeconfig_says_so(tmp_path: Path) -> None:
    connection = connect(kubeconfig(tmp_path, server="https://127.0.0.1:1", cluster={"insecure-skip-tls-verify": True}))
    assert isinstance(connection.ssl, ssl.SSLContext)
    assert connection.ssl.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    "content",
    [None, "", "[", "{}", "text", "- 1", "a: {b", "current-context: nowhere", "\0", "clusters: 3\ncurrent-context: x"],
    ids=repr,
)
def test_a_kubeconfig_that_is_none_is_said_to_be_none(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NoClusterError, match=r"(?s)no Kubernetes cluster to talk to: .+; set KUBECONFIG"):
        connect(str(path))


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, server="https://127.0.0.1:1", cluster={"certificate-authority": "/nowhere/ca.crt"})
    with pytest.raises(NoClusterError, match=r"/nowhere/ca.crt"):
        connect(path)


def test_a_certificate_that_is_none_is_no_cluster(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("not a certificate")
    path = kubeconfig(
        tmp_path, server="https://127.0.0.1:1", cluster={"certificate-authority": str(tmp_path / "ca.crt")}
    )
    with pytest.raises(NoClusterError, match="certificate"):
        connect(path)
