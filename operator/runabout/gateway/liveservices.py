"""What a service has written so far, at the places at which it will be stored (docs/decisions/0103).

Sent are whole lines of its first container, up to `HEAD_BYTES`: those are the first bytes of the stored log, whatever
follows. Of a service that was started again the log of the container before is read, which stands first. So nobody has
to know what the node calls the log: its restarts, and what they leave, are the stored log's to tell.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from runabout.control.servicelogs import HEAD_BYTES
from runabout.gateway.pacing import paced
from runabout.kube.errors import InvalidError
from runabout.kube.logs import container_log
from runabout.kube.session import Session


@asynccontextmanager
async def service_log(
    session: Session, namespace: str, pod: str, service: str, first: int, *, follow: bool
) -> AsyncIterator[AsyncGenerator[bytes]]:
    """Open a service's log at byte `first`; empty bytes come when nothing else does for a moment.

    Raises:
        KubeError: no such pod, no container yet, or no answer; later, too, if the connection breaks off.
    """
    async with AsyncExitStack() as stack:
        # Opened before the other one is asked for: if there is none then, this is the first container's.
        pieces = await stack.enter_async_context(container_log(session, namespace, pod, service, follow=follow))
        try:
            before = container_log(session, namespace, pod, service, follow=False, previous=True)
            pieces = await stack.enter_async_context(before)
        except InvalidError:
            pass  # it was never started again
        yield await stack.enter_async_context(aclosing(_lines(pieces, first)))


async def _lines(pieces: AsyncIterator[bytes], first: int) -> AsyncGenerator[bytes]:
    """Yield whole lines from byte `first` on. The end of a broken log may be a message of the server's, without one."""
    at, held = 0, bytearray()
    async with aclosing(paced(pieces)) as coming:
        async for piece in coming:
            if piece is None:
                yield b""
                continue
            held += piece
            size = min(held.rfind(b"\n") + 1, HEAD_BYTES - at)
            if size:
                yield bytes(held[max(0, first - at) : size])
                at += size
                del held[:size]
            if at + len(held) >= HEAD_BYTES:
                yield bytes(held[max(0, first - at) : HEAD_BYTES - at])
                return
