"""Reading data files as wholes, some ahead: for whoever needs all of their documents, as checkpoints and exports do."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from runabout.datamanager.datafile import MAX_FILE, read_rows
from runabout.datamanager.manifest import DataFile
from runabout.datamanager.objects import Breather, read_object
from runabout.ost import ObjectStore

AHEAD = 4
"""Data files that are fetched at once: at most 64 MiB."""


async def read_files(
    ost: ObjectStore, files: Iterable[DataFile], *, ahead: int = AHEAD
) -> AsyncGenerator[tuple[DataFile, bytes], None]:
    """Return data files with their bytes, in order, of the size and SHA-256 that their manifest says.

    Raises:
        Damaged: one is missing or damaged. Errors of the object storage.
    """
    waiting = deque(files)
    fetching: deque[asyncio.Task[tuple[DataFile, bytes]]] = deque()
    try:
        while waiting or fetching:
            while waiting and len(fetching) < ahead:
                fetching.append(asyncio.create_task(_read_file(ost, waiting.popleft())))
            found = await fetching[0]
            fetching.popleft()
            yield found
    finally:
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)


async def _read_file(ost: ObjectStore, file: DataFile) -> tuple[DataFile, bytes]:
    def check(data: bytes) -> tuple[DataFile, bytes]:
        file.check(data)
        return file, data

    return await read_object(ost, file.object, MAX_FILE, check)


async def read_between(
    ost: ObjectStore, files: Iterable[DataFile], first: str = "", last: str | None = None
) -> AsyncGenerator[tuple[str, bytes], None]:
    """Return the documents of data files with keys from `first` to `last` (None: to the end), in order.

    Raises:
        Damaged: a file is missing or damaged. Errors of the object storage.
    """
    breather = Breather()
    wanted = [file for file in files if file.last >= first and (last is None or file.first <= last)]
    async with aclosing(read_files(ost, wanted, ahead=1)) as found:
        async for file, data in found:
            for rows in read_rows(data, file):
                for key, body in rows:
                    if key >= first and (last is None or key <= last):
                        yield key, body
                await breather.breathe()
