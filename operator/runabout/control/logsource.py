"""Container logs from the API server, with its errors told apart: what is gone, and what may come later."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runabout.control.logs import LogGoneError, LogUnavailableError
from runabout.kube.errors import InvalidError, KubeError, NotFoundError
from runabout.kube.logs import container_log
from runabout.kube.session import Session


class PodLogs:
    """See :class:`runabout.control.logs.LogSource` and :class:`runabout.control.servicelogs.ServiceLogSource`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @asynccontextmanager
    async def read(
        self, namespace: str, pod: str, container: str, *, follow: bool, previous: bool = False
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the log at its beginning."""
        begun = False
        try:
            async with container_log(
                self._session, namespace, pod, container, follow=follow, previous=previous
            ) as pieces:
                begun = True
                yield pieces
        except NotFoundError as error:
            raise LogGoneError(f"the pod is gone: {error}") from error
        except InvalidError as error:
            raise LogUnavailableError(str(error)) from error
        except KubeError as error:
            raise LogUnavailableError(
                f"the log cannot be had: {error}",
                answered=error.status != 0,
                silent=begun or isinstance(error.__cause__, TimeoutError),  # without a connection it is another error
            ) from error
