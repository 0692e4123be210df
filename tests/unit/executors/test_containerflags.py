"""A container in Podman's words: what stands in them, where everybody on the machine can read it."""

import pytest

from runabout.executors.containerflags import Flags, container_flags
from runabout.records.json import JsonObject

VALUE = "sesame"


def flags(name: str) -> Flags:
    """Return those of a container with a variable that comes from a Secret."""
    variable: JsonObject = {"name": name, "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}
    return container_flags(
        {"env": [variable]}, image="i", pod_security={}, variables={name: VALUE}, mounts=(), limits=()
    )


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD",
        "GOOGLE_API_KEY",
        "GODADDY_KEY",
        "LDAP_PASSWORD",
        "LCD_KEY",
        "LISTENER_KEY",
        "REGISTRY_PASSWORD",
        "SSH_PRIVATE_KEY",
        "SSL_KEY",
        "STORAGE_ACCOUNT_KEY",
    ],
)
def test_a_secret_is_not_among_the_arguments(name: str) -> None:
    made = flags(name)
    assert not any(VALUE in word for word in made.words)
    assert made.variables == {name: VALUE}


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "container",
        "CONTAINERS_CONF",
        "_CONTAINERS_USERNS_CONFIGURED",
        "GODEBUG",
        "HTTPS_PROXY",
        "https_proxy",
        "LC_ALL",
        "LD_PRELOAD",
        "REGISTRY_AUTH_FILE",
        "SSL_CERT_FILE",
        "STORAGE_DRIVER",
        "XDG_RUNTIME_DIR",
    ],
)
def test_what_podman_itself_would_obey_is_not_in_its_environment(name: str) -> None:
    made = flags(name)
    assert made.variables == {}
    assert f"{name}={VALUE}" in made.words
