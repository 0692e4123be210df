"""How the settings say that tasks reach the gateway: one sentence for each way in which they cannot be meant."""

from pathlib import Path
from urllib.parse import urlsplit

import structlog

from runabout.control.settings import Settings
from runabout.executors.gatewayaccess import GatewayAccess

log = structlog.get_logger(__name__)

BEGIN = "-----BEGIN CERTIFICATE-----"


class GatewaySettingsError(Exception):
    """The settings of the gateway cannot be used; the message names the variable."""


def gateway_access(settings: Settings) -> GatewayAccess | None:
    """Return what tasks are told of the gateway, None if there is none.

    They trust the authorities of the gateway and, since it sends them there, those of the S3 server.

    Raises:
        GatewaySettingsError
    """
    if not settings.gateway_url:
        if settings.gateway_ca_file is not None:
            raise GatewaySettingsError("RUNABOUT_GATEWAY_URL: needed when there is RUNABOUT_GATEWAY_CA_FILE")
        return None
    try:
        parts = urlsplit(settings.gateway_url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
    except ValueError:
        sound = False
    if not sound:
        raise GatewaySettingsError(
            f"RUNABOUT_GATEWAY_URL: expected https://HOST[:PORT], found {settings.gateway_url!r}"
        )
    files = {"RUNABOUT_GATEWAY_CA_FILE": settings.gateway_ca_file, "RUNABOUT_S3_CA_FILE": settings.s3_ca_file}
    texts: list[str] = []
    for name, file in files.items():
        if file is None:
            continue
        try:
            text = file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise GatewaySettingsError(f"{name}: {error}") from error
        if BEGIN not in text:
            raise GatewaySettingsError(f"{name}: there is no certificate in PEM in {file}")
        texts.append(text)
    return GatewayAccess(settings.gateway_url.rstrip("/"), "".join(f"{text}\n" for text in texts))


class KnownGateway:
    """What tasks are told of the gateway, with the authorities' files read again when they change.

    A certificate that is renewed can come from another authority, and an operator runs for months.
    """

    def __init__(self, settings: Settings) -> None:
        """Read the files. Raises GatewaySettingsError."""
        self._settings = settings
        self._stamps = self._look()
        self._access = gateway_access(settings)

    def access(self) -> GatewayAccess | None:
        """Return what the next task is told; what it was before where the files cannot be used now."""
        stamps = self._look()
        if stamps != self._stamps:
            self._stamps = stamps
            try:
                self._access = gateway_access(self._settings)
            except GatewaySettingsError as error:
                log.warning("tasks go on being told of the gateway's old authority", error=str(error))
        return self._access

    def _look(self) -> list[int]:
        return [_stamp(file) for file in (self._settings.gateway_ca_file, self._settings.s3_ca_file)]


def _stamp(file: Path | None) -> int:
    try:
        return 0 if file is None else file.stat().st_mtime_ns
    except OSError:
        return -1
