"""`runabout gateway`: the gateway's process, from its settings to its orderly end."""

import asyncio
import contextlib
import functools
import os
import signal
import sys

import structlog
import uvloop

from runabout.control.etcdaccess import EtcdSettingsError, connect_etcd
from runabout.control.health import BEAT_SECONDS, HealthServer, Pulse
from runabout.control.openfiles import allow_open_files
from runabout.control.ownlog import configure_logging
from runabout.control.settings import ost_settings
from runabout.control.variables import read_settings
from runabout.datamanager import follow_store
from runabout.gateway.app import Options, application
from runabout.gateway.memory import keep_memory
from runabout.gateway.metrics import GatewayMetrics
from runabout.gateway.records import Records
from runabout.gateway.server import Certificate, CertificateError, Server, renew
from runabout.gateway.settings import GatewaySettings
from runabout.kube.connection import NoClusterError, connect
from runabout.kube.session import Session
from runabout.ost import OstError, open_ost

log = structlog.get_logger(__name__)

EXIT_SETTINGS = 2


def gateway() -> None:
    """Run the gateway; its settings come from the environment (RUNABOUT_…)."""
    settings = read_settings(os.environ, GatewaySettings)
    if isinstance(settings, list):
        sys.stderr.writelines(f"{sentence}\n" for sentence in settings)
        sys.exit(EXIT_SETTINGS)
    configure_logging(settings)
    keep_memory()
    allow_open_files()
    try:
        uvloop.run(_main(settings))
    except (NoClusterError, OstError, EtcdSettingsError, CertificateError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_SETTINGS)


async def _main(settings: GatewaySettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    certificate = _certificate(settings)
    metrics, pulse = GatewayMetrics(), Pulse()
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(Session(connect()))
        etcd = connect_etcd(settings)
        stack.push_async_callback(etcd.close)
        ost = await open_ost(ost_settings(settings), probe=False)
        stack.push_async_callback(ost.close)
        records = Records(functools.partial(follow_store, etcd, ost=ost, number=settings.store))
        options = Options(
            presign=settings.gateway_presign, max_active=settings.gateway_max_active, groups=settings.gateway_groups
        )
        app = application(session=session, records=records, ost=ost, metrics=metrics, options=options)
        health = HealthServer(
            alive=pulse.trouble,
            ready=lambda: "stopping" if stop.is_set() else records.trouble,
            registry=metrics.registry,
        )
        await health.start(host=settings.listen, health_port=settings.health_port, metrics_port=settings.metrics_port)
        stack.push_async_callback(health.close)
        server = Server(app, shutdown_seconds=settings.gateway_shutdown_seconds, certificate=certificate)
        await server.start(settings.listen, settings.gateway_listen_port)
        stack.push_async_callback(server.close)
        log.info("listening", port=server.port, tls=certificate is not None)
        work = [
            asyncio.create_task(records.run(), name="records"),
            asyncio.create_task(_keep_beating(pulse), name="beat"),
        ]
        if certificate is not None:
            work.append(asyncio.create_task(renew(certificate), name="certificate"))
        waiting = asyncio.create_task(stop.wait(), name="signal")
        try:
            done, _ = await asyncio.wait((waiting, *work), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # what ends by itself has failed
            log.info("stopping")
            await server.close()
        finally:
            for task in (waiting, *work):
                task.cancel()
            await asyncio.gather(waiting, *work, return_exceptions=True)


async def _keep_beating(pulse: Pulse) -> None:
    while True:
        pulse.beat()
        await asyncio.sleep(BEAT_SECONDS)


def _certificate(settings: GatewaySettings) -> Certificate | None:
    """Return the certificate, None where the gateway is to speak plainly.

    Raises:
        CertificateError: one of the two files is missing, or cannot be used.
    """
    cert, key = settings.gateway_cert_file, settings.gateway_key_file
    if (cert is None) != (key is None):
        raise CertificateError("RUNABOUT_GATEWAY_CERT_FILE and RUNABOUT_GATEWAY_KEY_FILE: set both or none")
    return None if cert is None or key is None else Certificate(cert, key)
