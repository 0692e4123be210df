"""The processes of other tests explain themselves: what they were doing when one waits for them in vain."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from contract.datamanager.conftest import BUCKET
from fixtures.etcd_server import EtcdServer
from fixtures.ports import free_port
from fixtures.s3_proxy import Fault, proxy
from fixtures.s3_server import S3Server
from fixtures.writer_process import WriterProcess
from runabout.datamanager import Durability

FIELDS = ("url", "s3_endpoint", "s3_region", "s3_path_style")


def writer(etcd: str, ost: dict[str, object]) -> WriterProcess:
    return WriterProcess(etcd=etcd, ost=ost, store=1, name="process", durability=Durability.ETCD)


async def test_a_writer_that_cannot_open_its_store_ends_the_wait_for_it_at_once_and_says_why(tmp_path: Path) -> None:
    async with writer(f"http://127.0.0.1:{free_port()}", {"url": f"file://{tmp_path}/ost"}) as process:
        with pytest.raises(AssertionError, match=r"has ended \(Unavailable\): not opened: etcd: no connection to http"):
            await process.until(lambda it: it.opened)


async def test_a_writer_whose_opening_waits_for_the_object_storage_says_for_which_object(
    server: EtcdServer, versitygw: S3Server
) -> None:
    def judge(request: web.Request) -> Fault | None:
        return Fault(silent=True) if "/identity" in request.path else None

    async with proxy(versitygw, judge) as between:
        settings = between.server.settings(BUCKET, "waited-for")
        async with writer(server.endpoint, {name: getattr(settings, name) for name in FIELDS}) as process:
            async with asyncio.timeout(60):
                await process.until(lambda it: "waited for since" in it.doing)
            assert "reading 'waited-for/store/1/identity' in the bucket" in process.doing
            with pytest.raises(AssertionError, match=r"says nothing for 1 s: reading .*identity"):
                await process.until(lambda it: it.opened, silent_seconds=1)
