"""How many chunks of its log an attempt may upload: whoever writes them may be anybody's program.

Counted here and begun with what is stored: so many chunks are taken of one attempt by each gateway, whatever the others
take meanwhile, and all of them together when a gateway has begun anew.
"""

from collections import OrderedDict

from runabout.control.logchunks import count_chunks
from runabout.executors.names import PodKey
from runabout.gateway.errors import TooLargeError
from runabout.ost import ObjectStore

MOST_CHUNKS = 20_000
"""Of one attempt: three days of a line now and then, or 20 GB; listed in 20 requests, in memory some 10 MB."""
ATTEMPTS = 4096
"""Whose numbers are kept in memory; of others they are counted again."""


class LogParts:
    """Counts the chunks of attempts."""

    def __init__(self, ost: ObjectStore) -> None:
        self._ost = ost
        self._counts: OrderedDict[PodKey, int] = OrderedDict()

    async def demand_room(self, key: PodKey) -> None:
        """Find out whether an attempt may upload another chunk.

        Raises:
            TooLargeError. Errors of the object storage.
        """
        if key not in self._counts:
            found = await count_chunks(self._ost, key.run, key.task, key.attempt, most=MOST_CHUNKS)
            self._counts[key] = max(found, self._counts.get(key, 0))
        self._counts.move_to_end(key)
        if len(self._counts) > ATTEMPTS:
            self._counts.popitem(last=False)
        if self._counts[key] >= MOST_CHUNKS:
            raise TooLargeError(
                f"for.log: attempt {key.attempt} of the task {key.task} has uploaded {MOST_CHUNKS} parts of its log, "
                "and no more are taken; what follows is in its container's log alone"
            )

    def add(self, key: PodKey) -> None:
        """Take note that another chunk may be stored now."""
        self._counts[key] = self._counts.get(key, 0) + 1
