"""One batch on its way into etcd: asked for again and again, until the answer is definite.

What always holds: the same transaction is sent each time, and compares the head's value, so it can take effect at most
once; a refusal counts only if no attempt was unclear, and the head says that nothing was written.
"""

import asyncio
from collections.abc import Sequence

from runabout.datamanager.access import why_not_written
from runabout.datamanager.errors import Fenced, Unavailable, Unknown
from runabout.datamanager.head import Head, Keys, who_has
from runabout.datamanager.space import SpaceWatch
from runabout.datamanager.transaction import BatchId
from runabout.datamanager.waiting import Queue, Waiting
from runabout.etcd import (
    Compare,
    Etcd,
    EtcdError,
    FullError,
    PermanentEtcdError,
    Put,
    RetryableEtcdError,
    UnavailableError,
)

RETRY_SECONDS = 0.1


class BatchPutter:
    """Puts the batches of one writer, one after the other; `queue` has those that wait behind."""

    def __init__(self, etcd: Etcd, keys: Keys, queue: Queue, *, deadline: float) -> None:
        self._etcd = etcd
        self._keys = keys
        self._queue = queue
        self._deadline = deadline
        self._stuck_since: float | None = None
        self.space: SpaceWatch | None = None
        """Is told when etcd is full."""

    @property
    def stuck(self) -> bool:
        """Whether a batch waits for a definite answer after an attempt that had none."""
        return self._stuck_since is not None

    @property
    def stuck_seconds(self) -> float:
        """For how long that has been so; 0 while it is not."""
        return 0.0 if self._stuck_since is None else asyncio.get_running_loop().time() - self._stuck_since

    async def put(self, waiting: list[Waiting], value: bytes, before: Head, head: Head, *, batch: BatchId) -> None:
        """Write a batch that continues the log after the head `before`; return when it is written.

        Callers who are not told what became of it are told its id, `batch`.

        Raises:
            Unavailable: it is not, and will not be. Fenced: the same, and nothing else of this writer ever will.
        """
        key = self._keys.wal(head.sequence)
        compares = (Compare(self._keys.head, before.encode()),)
        puts = (Put(key, value), Put(self._keys.head, head.encode()))
        look = (key, self._keys.head)
        begin = asyncio.get_running_loop().time()
        unclear = False  # whether an attempt may still take effect, whatever etcd shows now
        try:
            while True:
                try:
                    result = await self._etcd.txn(compares, puts, otherwise=look)
                    if result.succeeded:
                        return
                except RetryableEtcdError as error:
                    unclear = unclear or not isinstance(error, UnavailableError)
                    said: EtcdError = error
                except (PermanentEtcdError, FullError) as error:
                    said = error
                    try:
                        result = await self._etcd.txn(compares, (), otherwise=look)
                    except EtcdError:
                        pass
                    else:
                        if not result.succeeded:
                            self._found(result.values, value, before)
                            return
                        if not unclear:
                            raise self._refused(error, len(value)) from error
                else:
                    self._found(result.values, value, before)
                    return
                self._stuck_since = begin if self._stuck_since is None else self._stuck_since
                self._give_up(waiting, said, batch=batch, unclear=unclear)
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._stuck_since = None

    def _refused(self, error: PermanentEtcdError | FullError, size: int) -> Unavailable:
        if isinstance(error, FullError) and self.space is not None:
            self.space.met_full()
        return why_not_written(error, size)

    def _found(self, values: Sequence[bytes | None], value: bytes, before: Head) -> None:
        """Judge what stands at a batch's key, and the head, once the head is not the one that it continues.

        Raises:
            Fenced: it is not this batch.
        """
        if values[0] != value:
            raise Fenced(who_has(values[1], self._keys, before))

    def _give_up(self, waiting: list[Waiting], error: Exception, *, batch: BatchId, unclear: bool) -> None:
        """Answer those who began to wait a deadline ago: some are in a batch that may be written, others in none.

        Raises:
            Unavailable: the batch is not written and nothing is under way that could still write it.
        """
        before = asyncio.get_running_loop().time() - self._deadline
        late = [item for item in waiting if item.since < before]
        for item in late if unclear else ():
            item.fail(Unknown(f"no definite answer from etcd: {error}", batch=batch))
        self._queue.fail(
            Unavailable(f"etcd gives no definite answer to an earlier transaction: {error}"), before=before
        )
        if late and not unclear:
            raise Unavailable(f"etcd cannot be reached: {error}") from error
