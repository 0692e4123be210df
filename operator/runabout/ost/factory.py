"""Opens the store that an installation asks for."""

from runabout.ost.errors import OstError
from runabout.ost.posix import PosixObjectStore
from runabout.ost.settings import OstSettings, PosixPlace, place
from runabout.ost.store import ObjectStore
from runabout.ost.waits import Waits


async def open_ost(settings: OstSettings, *, probe: bool = True, waits: Waits | None = None) -> ObjectStore:
    """Return the store at `settings.url`, probed; the caller closes it. `waits` is told of calls that take long.

    Without a `probe` nothing is written and nothing asked: for those who only read, whose first call shows whether it
    is there.

    Raises:
        UnsuitableError: the settings are wrong or the store cannot be relied on; the message says what to change.
        DeniedError: the store refuses this client.
        RetryableOstError: it cannot be reached now.
    """
    where = place(settings.url)
    waits = waits or Waits()
    store: ObjectStore
    if isinstance(where, PosixPlace):
        store = PosixObjectStore(
            where.directory, threads=settings.threads, timeout=settings.request_timeout_seconds, waits=waits
        )
    else:
        from runabout.ost.s3 import S3ObjectStore  # noqa: PLC0415 - boto3 costs 0.3 s and 30 MB, and a volume needs none

        store = await S3ObjectStore.connect(where, settings, waits)
    if not probe:
        return store
    try:
        await store.probe()
    except OstError:
        await store.close()
        raise
    return store
