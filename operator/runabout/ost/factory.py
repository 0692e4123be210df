"""Opens the store that an installation asks for."""

from runabout.ost.errors import OstError
from runabout.ost.posix import PosixObjectStore
from runabout.ost.settings import OstSettings, PosixPlace, place
from runabout.ost.store import ObjectStore


async def open_ost(settings: OstSettings, *, probe: bool = True) -> ObjectStore:
    """Return the store at `settings.url`, probed; the caller closes it.

    Without a `probe` nothing is written and nothing asked: for those who only read, whose first call shows whether it
    is there.

    Raises:
        UnsuitableError: the settings are wrong or the store cannot be relied on; the message says what to change.
        DeniedError: the store refuses this client.
        RetryableOstError: it cannot be reached now.
    """
    where = place(settings.url)
    store: ObjectStore
    if isinstance(where, PosixPlace):
        store = PosixObjectStore(where.directory, threads=settings.threads, timeout=settings.request_timeout_seconds)
    else:
        from runabout.ost.s3 import S3ObjectStore  # noqa: PLC0415 - boto3 costs 0.3 s and 30 MB, and a volume needs none

        store = await S3ObjectStore.connect(where, settings)
    if not probe:
        return store
    try:
        await store.probe()
    except OstError:
        await store.close()
        raise
    return store
