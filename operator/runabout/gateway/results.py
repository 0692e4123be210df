"""Results: small values that a task leaves for those that depend on it. One object for each attempt."""

import asyncio
import re
from collections.abc import Mapping, Sequence

import orjson

from runabout.control.archivekeys import results_key
from runabout.executors.names import PodKey
from runabout.gateway.ancestors import Executed
from runabout.gateway.errors import BadRequestError, TooLargeError
from runabout.ost import NotFoundError, ObjectStore

LARGEST_VALUE = 4096
"""Bytes of UTF-8."""
LARGEST = 32 * 1024
"""Bytes of UTF-8 of all names and values of one attempt."""
AT_ONCE = 16
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Results:
    """Keeps results on the object storage."""

    def __init__(self, ost: ObjectStore) -> None:
        self._ost = ost

    async def put(self, key: PodKey, values: Mapping[str, object]) -> None:
        """Store an attempt's results, in place of those it has stored before.

        Raises:
            BadRequestError, TooLargeError: they cannot be results. Errors of the object storage.
        """
        body = orjson.dumps(_checked(values))
        await self._ost.write(results_key(key.run, key.task, key.attempt), body)

    async def of(self, tasks: Sequence[Executed]) -> dict[str, dict[str, str]]:
        """Return the results of tasks that have left some, by name. Errors of the object storage."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(task: Executed) -> dict[str, str] | None:
            async with turns:
                try:
                    body = await self._ost.read(results_key(task.run, task.task.name, task.attempt))
                except NotFoundError:
                    return None
            found: dict[str, str] = orjson.loads(body)
            return found

        async with asyncio.TaskGroup() as group:
            reading = {task.task.name: group.create_task(one(task)) for task in tasks}
        read = {name: task.result() for name, task in reading.items()}
        return {name: values for name, values in read.items() if values}


def _checked(values: Mapping[str, object]) -> dict[str, str]:
    checked: dict[str, str] = {}
    total = 0
    for name, value in values.items():
        if not _NAME.fullmatch(name):
            raise BadRequestError(
                f"{name[:200]!r} is no name of a result: use letters, digits and _, a digit not first"
            )
        if not isinstance(value, str):
            raise BadRequestError(f"the result {name[:200]} is no text")
        if "\0" in value:
            raise BadRequestError(f"the result {name[:200]} has a NUL in it, which no variable can have")
        size = len(value.encode(errors="surrogatepass"))
        if size > LARGEST_VALUE:
            raise TooLargeError(f"the result {name[:200]} has {size} bytes; at most {LARGEST_VALUE} are kept of one")
        total += size + len(name)
        checked[name] = value
    if total > LARGEST:
        raise TooLargeError(f"the results have {total} bytes together; at most {LARGEST} are kept of one task")
    return checked
