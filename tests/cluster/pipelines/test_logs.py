"""What a node has rotated away while nobody looked is in the stored log all the same: the toolbox has uploaded it."""

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
