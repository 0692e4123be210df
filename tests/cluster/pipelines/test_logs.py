"""Logs for life: rotated away while nobody looked, or followed by several while an operator dies, they are complete."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from fixtures.gateway_process import GatewayProcess
from lab.readers import Reader, reading_account
from lab.runs import Runs, task
from lab.waiting import eventually

LINE, SIZE = "x" * 99, 25_000_000
GATED = "until [ -e /tmp/begin ]; do sleep 0.2; done; {}; until [ -e /tmp/end ]; do sleep 0.2; done; echo after"


def test_a_log_that_was_rotated_away_while_no_operator_was_there_is_complete(runs: Runs) -> None:
    name = runs.create(task("build", GATED.format(f"yes {LINE} | head -c {SIZE}")))
    runs.until(name, lambda _status: runs.counts(name).get("running") == 1)
    [pod] = [str(each["metadata"]["name"]) for each in runs.pods(name) if isinstance(each["metadata"], dict)]

    def let(gate: str) -> None:
        runs.kubectl("-n", runs.namespace, "exec", pod, "-c", "main", "--", "touch", f"/tmp/{gate}")

    def first_byte(*, check: bool = True) -> str:
        return runs.kubectl("-n", runs.namespace, "logs", pod, "-c", "main", "--limit-bytes=1", check=check).stdout

    eventually(lambda: first_byte(check=False), "[".__eq__)  # the toolbox has begun
    runs.operator.kill()
    try:
        let("begin")
        eventually(first_byte, "[".__ne__)  # a log that is whole begins with a line of ours
        let("end")
    finally:
        runs.operator.start()
    assert runs.end(name) == ("finished", "success")
    log = runs.log(name, "build")
    assert len(log) == SIZE + len("after\n")
    assert log == (f"{LINE}\n".encode() * (SIZE // 100)) + b"after\n"
    assert runs.log(name, "build", step="setup").startswith(b"toolbox ")


LINES_AT_ONCE, PIECES = 10_000, 100
WRITES = (
    f"for piece in $(seq 0 {PIECES - 1}); do awk -v first=$((piece * {LINES_AT_ONCE})) "
    f"'BEGIN {{ for (i = 0; i < {LINES_AT_ONCE}; i++) printf \"%099d\\n\", first + i }}'; "
    'case "$piece" in 0 | 40) until [ -e "/tmp/after-$piece" ]; do sleep 0.2; done ;; esac; sleep 0.3; done'
)
"""A hundred megabytes of numbered lines; after the first megabyte, and the forty-first, it waits."""


def departure(found: bytes, whole: bytes) -> str:
    """Return in words where a log departs from what was written, which is too long to be shown."""
    if found == whole:
        return ""
    place = next((at for at in range(0, len(whole), 100) if found[at : at + 100] != whole[at : at + 100]), len(whole))
    return f"{len(found)} bytes instead of {len(whole)}; at byte {place} there is {found[place : place + 100]!r}"


@pytest.mark.timeout(400)
def test_a_hundred_megabytes_are_the_same_bytes_at_one_address_from_every_replica_while_they_come_and_ever_after(
    runs: Runs, gateways: tuple[GatewayProcess, GatewayProcess]
) -> None:
    whole = b"".join(b"%099d\n" % number for number in range(LINES_AT_ONCE * PIECES))
    first_part, middle = 100 * LINES_AT_ONCE, 30_000_000
    token = reading_account(runs)
    with gateways[1], ThreadPoolExecutor() as threads:
        readers = [Reader(gateway, token) for gateway in gateways]
        name = runs.create(task("build", WRITES))
        run = runs.until(name, lambda status: "id" in status)["id"]
        log = f"/v1/runs/{run}/tasks/build/attempts/1/logs/0"
        for reader in readers:
            eventually(lambda reader=reader: len(reader.piece(log, first_part - 2, first_part - 2)), (1).__eq__)  # type: ignore[misc] # bound
            shown = whole[: first_part - 1]  # the end of the last line comes with what is behind it
            assert departure(reader.log(log), shown) == ""
            assert reader.piece(log, 1_000, 1_999) == whole[1_000:2_000]
            assert reader.log(f"{log}?from=999900") == shown[999_900:]

        following = [
            threads.submit(reader.log, f"{log}?follow=1&from={begin}")
            for reader, begin in zip(readers, (0, first_part), strict=True)
        ]
        [pod] = [str(each["metadata"]["name"]) for each in runs.pods(name)]  # type: ignore[index] # JSON

        def go_on(after: int) -> None:
            runs.kubectl("-n", runs.namespace, "exec", pod, "-c", "main", "--", "touch", f"/tmp/after-{after}")

        go_on(0)
        eventually(lambda: len(readers[1].piece(log, middle, middle)), (1).__eq__)
        go_on(40)
        runs.operator.kill()
        runs.operator.start()
        assert runs.end(name, seconds=200) == ("finished", "success")
        assert departure(following[0].result(), whole) == ""
        assert departure(following[1].result(), whole[first_part:]) == ""

        runs.kubectl("-n", runs.namespace, "delete", "pod", pod)
        assert departure(runs.log(name, "build"), whole) == ""
        for reader in readers:
            assert departure(reader.log(log), whole) == ""
            assert reader.piece(log, 1_000, 1_999) == whole[1_000:2_000]
            assert reader.log(f"{log}?from={len(whole) - 200}") == whole[-200:]
            assert reader.get("/v1/runs/" + str(run) + "/tasks/build/attempts/1/logs/9")[0] == 404
