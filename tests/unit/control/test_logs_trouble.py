"""What is in the way of one log is said in it, and is in the way of no other; in virtual time."""

from collections.abc import AsyncIterable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fixtures.logs import Container, Reading, collecting, job
from fixtures.states import RUN
from models.container_log import toolbox_log
from runabout.control.spool import IN_MEMORY
from runabout.ost import MemoryObjectStore, OstError, UnavailableError

SETUP = b"toolbox\n"

virtual = pytest.mark.looptime


def steps(*logs: bytes) -> dict[str, bytes]:
    """Return the objects of job `build` with these logs."""
    rows = {job().key(number): text for number, text in enumerate(logs) if text}
    return {**rows, job().key(-1): SETUP}


@virtual
async def test_attempts_share_the_scratch_space_and_it_is_free_again_when_a_log_is_stored() -> None:
    away: list[OstError] = [UnavailableError("no route")]
    ost = MemoryObjectStore(fault=lambda *_call: away[0] if away else None)
    output = b"x" * (IN_MEMORY - len(SETUP) + 60)
    first, second, third = (job(name, ("compile",)) for name in ("first", "second", "third"))
    async with collecting(Container(toolbox_log([output]), piece=4096), ost, scratch_bytes=100) as work:
        work.collector.follow(first)
        await work.until(lambda: work.collector.trouble(first.pod) is not None)
        work.collector.follow(second)
        await work.until(lambda: work.collector.trouble(second.pod) is not None)
        del away[:]
        await work.stored(first)
        await work.stored(second)
        work.collector.follow(third)
        await work.stored(third)
        objects = await work.objects()
    assert objects[first.key(0)] == objects[third.key(0)] == output
    line = b"\n[runabout: 20 more bytes are not kept: the limit is 100 for all attempts that wait to be stored]\n"
    assert objects[second.key(0)] == output[:-20] + line


@virtual
async def test_output_that_cannot_be_written_is_cut_with_a_line_and_a_word_to_the_operator(tmp_path: Path) -> None:
    output = b"x" * (IN_MEMORY - len(SETUP)) + b"y" * 3000
    source = Container(toolbox_log([output, b"z" * 50]), piece=1000)
    with capture_logs() as said:
        async with collecting(source, scratch=tmp_path / "not there") as work:
            work.collector.follow(job())
            await work.stored(job())
            objects = await work.objects()
    why = b"they could not be written: No such file or directory"
    assert objects == steps(
        output[:-3000] + b"\n[runabout: 3000 more bytes are not kept: " + why + b"]\n",
        b"[runabout: 50 more bytes are not kept: " + why + b"]\n",
    )
    [line] = [line for line in said if line["log_level"] == "warning"]
    assert (line["run"], line["task"], line["pod"], line["why"]) == (RUN, "build", job().pod, why.decode())


@virtual
async def test_an_error_that_nobody_thought_of_ends_one_log_with_a_word_and_no_other_log() -> None:
    text = toolbox_log([b"one\n", b"two\n"])
    broken = Reading(0, text.rindex(b"\n[runabout", 0, text.rindex(b"end 1")) + 1, ValueError("no\nsuch thing"))
    source = Container(text, [broken, Reading()])
    other = job("other")
    with capture_logs() as said:
        async with collecting(source) as work:
            work.collector.follow(job())
            sizes = (await work.stored(job())).sizes
            work.collector.follow(other)
            await work.stored(other)
            objects = await work.objects()
    lost = b"[runabout: the rest of the log is lost: ValueError: no such thing]\n"
    mine = {key: body for key, body in objects.items() if "/build/" in key}
    assert mine == steps(b"one\n", b"two\n" + lost)
    assert sizes == {-1: len(SETUP), 0: 4, 1: 4 + len(lost)}
    assert objects[other.key(1)] == b"two\n"
    [line] = [line for line in said if line["log_level"] == "error"]
    assert (line["run"], line["task"], line["pod"]) == (RUN, "build", job().pod)


@virtual
async def test_a_log_that_was_lost_before_its_first_byte_says_so_in_the_log_of_the_setup() -> None:
    async with collecting(Container(toolbox_log([b"one\n"]), [Reading(0, 0, ValueError("no"))])) as work:
        work.collector.follow(job())
        await work.stored(job())
        lost = b"[runabout: the rest of the log is lost: ValueError: no]\n"
        assert await work.objects() == {job().key(-1): lost}


class BrokenStore(MemoryObjectStore):
    """An object storage with a fault of its own: the first `failures` logs of a step are more than it can take."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def write(
        self,
        key: str,
        data: bytes | AsyncIterable[bytes],
        *,
        size: int | None = None,
        persist: bool = True,
        create_only: bool = False,
    ) -> None:
        if key.endswith("/0") and self.failures:
            self.failures -= 1
            raise ValueError("too long a list")
        await super().write(key, data, size=size, persist=persist, create_only=create_only)


@pytest.mark.parametrize(
    ("failures", "line"), [(1, b"[runabout: the rest of the log is lost: ValueError: too long a list]\n"), (2, b"")]
)
@virtual
async def test_a_log_that_the_storage_fails_on_is_lost_with_a_word_and_the_task_goes_on(
    failures: int, line: bytes
) -> None:
    async with collecting(Container(toolbox_log([b"one\n", b"two\n"])), BrokenStore(failures)) as work:
        work.collector.follow(job())
        assert (await work.stored(job())).sizes == {-1: len(SETUP), 0: len(line), 1: 4}
        assert await work.objects() == steps(line, b"two\n")
