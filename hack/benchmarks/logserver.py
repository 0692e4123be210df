"""An API server that has nothing but logs of running pods: all begin alike, and go on when it is told.

A process of its own, so that what it uses is nobody's figure. It says one line for each thing that has happened, and
begins the next one at a line that it is sent: it listens (`listens PORT`); all streams are open (`open`); it has
written all pieces (`written`); then it ends all logs as a toolbox does, and goes when its input ends. It lets everybody
in.
"""

import asyncio
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from aiohttp import web

from benchmarks.simulated import SETUP, marker
from benchmarks.subprocesses import say, told

PIECE = b"a line of output of a hundred bytes, as a compiler or a test might write it while somebody looks on\n" * 10
"""1 KB, in ten lines."""
MARK_EVERY = 60
"""Pieces between two marks: a toolbox leaves at most 64 KiB between them."""
STEP = "step"


@dataclass
class LogServer:
    """Serves so many streams, of so many pieces each, one piece a second for each stream."""

    streams: int
    pieces: int
    open: list[web.StreamResponse] = field(default_factory=list)
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def log(self, request: web.Request) -> web.StreamResponse:
        """Send a log's beginning; the rest comes to all streams alike."""
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        await answer.write(beginning())
        self.open.append(answer)
        if len(self.open) == self.streams:
            self.complete.set()
        await self.ended.wait()
        await answer.write_eof()
        return answer

    async def write(self) -> None:
        """Write all pieces; the streams of one second one after the other, spread over that second."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for piece in range(self.pieces):
            for number, stream in enumerate(self.open):
                early = begin + piece + number / len(self.open) - loop.time()
                if early > 0:
                    await asyncio.sleep(early)
                await stream.write(PIECE)
                if (piece + 1) % MARK_EVERY == 0:
                    await stream.write(marker(f"at 0 {(piece + 1) * len(PIECE)}"))

    async def end(self) -> None:
        """End all logs: the step has succeeded, nothing follows."""
        size = self.pieces * len(PIECE)
        last = marker(f"end 0 {size} success 0 1795507200012") + marker(f"done 0 Completed {len(SETUP)},{size}")
        for stream in self.open:
            await stream.write(last)
        self.ended.set()


def beginning() -> bytes:
    """Return a log up to the first byte of its step."""
    return (
        marker("v1 simulated task 1")
        + SETUP
        + marker(f"end setup {len(SETUP)} success 0 1795507200010")
        + marker(f"begin 0 1795507200011 {len(SETUP)} {STEP}")
    )


async def _review(request: web.Request) -> web.Response:
    """Answer a TokenReview or a SubjectAccessReview: somebody who may do everything."""
    body = await request.json()
    user = {"username": "somebody", "groups": ["system:authenticated"]}
    status = {"allowed": True, "authenticated": True, "user": user, "audiences": body["spec"].get("audiences", [])}
    return web.json_response({**body, "status": status}, status=201)


async def _main(streams: int, pieces: int, cert: Path, key: Path) -> None:
    server = LogServer(streams, pieces)
    app = web.Application()
    app.router.add_get("/api/v1/namespaces/{namespace}/pods/{pod}/log", server.log)
    app.router.add_post("/{path:.*reviews}", _review)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, backlog=1024)
        await site.start()
        say(f"listens {runner.addresses[0][1]}")
        await server.complete.wait()
        say("open")
        await told()
        await server.write()
        say("written")
        await told()
        await server.end()
        await told()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])))
