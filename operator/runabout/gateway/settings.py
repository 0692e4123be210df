"""What the gateway can be told, read from the environment (prefix `RUNABOUT_`); the rest is as the operator's."""

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from runabout.control.settings import OptionalFile, Settings


def _names(value: object) -> object:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


class GatewaySettings(Settings):
    """The gateway's settings: those that say where records and objects are, and its own."""

    gateway_listen_port: int = Field(default=8443, ge=0, le=65535, description="Where tasks and people reach it.")
    gateway_cert_file: OptionalFile = Field(
        default=None, description="Certificate for TLS, in PEM; read again when it changes. None: no TLS."
    )
    gateway_key_file: OptionalFile = Field(default=None, description="Key of the certificate.")
    gateway_max_active: int = Field(
        default=32, ge=1, description="Bodies that go through at once; a MiB of memory for each is plenty."
    )
    gateway_presign: bool = Field(
        default=True, description="Whether tasks are sent to an S3 server themselves, which they must be able to reach."
    )
    gateway_groups: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = Field(
        default=(), description="Groups in which callers may be impersonated, with commas between them; none: in all."
    )
    gateway_shutdown_seconds: int = Field(
        default=25, ge=0, description="How long bodies that are under way may take after SIGTERM."
    )
