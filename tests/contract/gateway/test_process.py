"""The gateway's process: how it begins, what it refuses, and that what is under way when it is told to stop, ends."""

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import aiohttp.web
import pytest

from fixtures.certificates import certificates
from fixtures.etcd_server import EtcdServer
from fixtures.fake_kube import FakeKube
from fixtures.ports import free_port
from runabout.datamanager import open_store
from runabout.etcd import connect
from runabout.gateway.server import Certificate, Server
from runabout.ost import OstSettings, open_ost

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 60


def environment(folder: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RUNABOUT_", "KUBE"))}
    return {
        **kept,
        "PYTHONPATH": str(ROOT / "operator"),
        "KUBECONFIG": str(folder / "kubeconfig"),
        "RUNABOUT_OST": f"file://{folder}/ost",
        "RUNABOUT_LISTEN": "127.0.0.1",
        **settings,
    }


@asynccontextmanager
async def process(folder: Path, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "runabout", "gateway"),
        env=environment(folder, **settings),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


def kubeconfig(folder: Path, server: str) -> None:
    config = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"RUNABOUT_GATEWAY_MAX_ACTIVE": "0"}, "RUNABOUT_GATEWAY_MAX_ACTIVE: Input should be greater"),
        ({"RUNABOUT_GATEWAY_PORT_NUMBER": "1"}, "RUNABOUT_GATEWAY_PORT_NUMBER: no setting has this name"),
        ({"RUNABOUT_GATEWAY_CERT_FILE": "/none"}, "RUNABOUT_GATEWAY_CERT_FILE and RUNABOUT_GATEWAY_KEY_FILE: set both"),
        (
            {"RUNABOUT_GATEWAY_CERT_FILE": "/none", "RUNABOUT_GATEWAY_KEY_FILE": "/none"},
            "RUNABOUT_GATEWAY_CERT_FILE and RUNABOUT_GATEWAY_KEY_FILE: [Errno 2]",
        ),
        ({"RUNABOUT_OST": "ftp://x"}, "'ftp://x' is neither file:///DIRECTORY nor s3://BUCKET"),
        ({"RUNABOUT_ETCD_CA_FILE": "/none"}, "RUNABOUT_ETCD_CA_FILE: [Errno 2]"),
    ],
)
async def test_a_setting_that_cannot_be_meant_ends_the_process_with_a_sentence(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    kubeconfig(tmp_path, "http://127.0.0.1:1")
    async with process(tmp_path, **settings) as started, asyncio.timeout(SECONDS):
        _, errors = await started.communicate()
        assert started.returncode == 2
        assert said in errors.decode()
        assert "Traceback" not in errors.decode()


async def test_a_process_is_ready_once_it_can_read_the_records_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    tls = certificates(tmp_path / "tls", name="gateway")
    ports = [free_port() for _ in range(3)]
    (tmp_path / "etcd").mkdir()
    ost = await open_ost(OstSettings(f"file://{tmp_path}/ost"))
    with EtcdServer(tmp_path / "etcd") as etcd:
        async with FakeKube() as kube:
            kubeconfig(tmp_path, kube.url)
            settings = {
                "RUNABOUT_ETCD_ENDPOINTS": etcd.endpoint,
                "RUNABOUT_GATEWAY_LISTEN_PORT": str(ports[0]),
                "RUNABOUT_HEALTH_PORT": str(ports[1]),
                "RUNABOUT_METRICS_PORT": str(ports[2]),
                "RUNABOUT_GATEWAY_CERT_FILE": str(tls.cert),
                "RUNABOUT_GATEWAY_KEY_FILE": str(tls.key),
            }
            async with process(tmp_path, **settings) as started, aiohttp.ClientSession() as http, asyncio.timeout(60):
                health = f"http://127.0.0.1:{ports[1]}"
                before = await until_answered(http, f"{health}/readyz", 503)
                assert "the records" in before
                store = await open_store(connect(etcd.endpoint), ost=ost)  # as an operator does
                await until_answered(http, f"{health}/readyz", 200)
                await until_answered(http, f"{health}/healthz", 200)
                trusting = ssl.create_default_context(cafile=str(tls.ca))
                address = f"https://127.0.0.1:{ports[0]}/task/v1/1il7g1c000001/build/1/workspace"
                async with http.get(address, ssl=trusting) as answer:
                    assert answer.status == 401
                metrics = await until_answered(http, f"http://127.0.0.1:{ports[2]}/metrics", 200)
                assert 'status="401"' in metrics
                await store.close()
                started.send_signal(signal.SIGTERM)
                _, errors = await started.communicate()
                assert (started.returncode, errors) == (0, b"")
    await ost.close()


async def until_answered(http: aiohttp.ClientSession, url: str, status: int) -> str:
    while True:
        try:
            async with http.get(url) as answer:
                text = await answer.text()
                if answer.status == status:
                    return text
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)


async def test_a_body_that_is_under_way_ends_before_the_server_does() -> None:
    arrived = asyncio.Event()

    async def handler(request: aiohttp.web.Request) -> aiohttp.web.Response:
        arrived.set()
        return aiohttp.web.Response(text=str(len(await request.read())))

    app = aiohttp.web.Application()
    app.router.add_put("/", handler)
    server = Server(app, shutdown_seconds=SECONDS, certificate=None)
    await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
    await arrived.wait()
    closing = asyncio.create_task(server.close())
    async with asyncio.timeout(SECONDS):
        while True:  # nobody new is let in
            try:
                _, other = await asyncio.open_connection("127.0.0.1", server.port)
            except ConnectionError:
                break
            other.close()
            await asyncio.sleep(0.01)
        writer.write(b"cd")
        assert (await reader.readuntil(b"\r\n\r\n4")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await closing


def test_a_renewed_certificate_is_used_and_a_bad_one_is_not(tmp_path: Path) -> None:
    one, other = (certificates(tmp_path / name, name=name) for name in ("one", "other"))
    certificate = Certificate(one.cert, one.key)
    assert not certificate.look()
    for source, target in ((other.cert, one.cert), (other.key, one.key)):
        target.write_bytes(source.read_bytes())
        os.utime(target, ns=(1, 1))
    assert certificate.look()
    assert not certificate.look()
