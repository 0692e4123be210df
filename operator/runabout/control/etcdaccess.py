"""How the settings say that etcd is reached: one sentence for each way in which they cannot be meant."""

from pathlib import Path

from runabout.control.settings import Settings
from runabout.datamanager import SpacePolicy
from runabout.etcd import GrpcEtcd, Login, TlsFiles, connect


class EtcdSettingsError(Exception):
    """The settings of etcd cannot be used; the message names the variable."""


def connect_etcd(settings: Settings) -> GrpcEtcd:
    """Return a client of the etcd of the settings; nothing is sent yet.

    Raises:
        EtcdSettingsError
    """
    tls = None
    if settings.etcd_ca_file is not None:
        tls = TlsFiles(settings.etcd_ca_file, settings.etcd_cert_file, settings.etcd_key_file)
    elif settings.etcd_cert_file is not None or settings.etcd_key_file is not None:
        raise EtcdSettingsError("RUNABOUT_ETCD_CA_FILE: needed when there is a certificate or key for etcd")
    if (settings.etcd_cert_file is None) != (settings.etcd_key_file is None):
        raise EtcdSettingsError("RUNABOUT_ETCD_CERT_FILE and RUNABOUT_ETCD_KEY_FILE: set both or none")
    for name in ("etcd_ca_file", "etcd_cert_file", "etcd_key_file", "etcd_password_file"):
        _check_file(f"RUNABOUT_{name.upper()}", getattr(settings, name))
    if bool(settings.etcd_user) != (settings.etcd_password_file is not None):
        raise EtcdSettingsError("RUNABOUT_ETCD_USER and RUNABOUT_ETCD_PASSWORD_FILE: set both or none")
    login = None
    if settings.etcd_password_file is not None:
        login = Login(settings.etcd_user, settings.etcd_password_file)
    try:
        return connect(settings.etcd_endpoints, tls=tls, login=login)
    except ValueError as error:
        raise EtcdSettingsError(f"RUNABOUT_ETCD_ENDPOINTS: {error}") from error


def space_policy(settings: Settings) -> SpacePolicy:
    """Return how etcd's space is looked after."""
    return SpacePolicy(quota=settings.etcd_quota_bytes) if settings.etcd_quota_bytes else SpacePolicy()


def _check_file(variable: str, path: Path | None) -> None:
    try:
        if path is not None:
            path.read_bytes()
    except OSError as error:
        raise EtcdSettingsError(f"{variable}: {error}") from error
