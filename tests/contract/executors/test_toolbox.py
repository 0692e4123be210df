"""The real toolbox on one side, what reads its log and its summary on the other: both keep docs/internals/toolbox.md.

Between them stands the model of a container runtime, which cuts lines and drops carriage returns; and the program is
built for every architecture, as the images are.
"""

import hashlib
import os
import struct
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import orjson
import pytest

from fixtures.tools import REPOSITORY, tool
from models.container_log import runtime_records
from runabout.executors.endings import SIGKILLED
from runabout.executors.names import PodKey
from runabout.executors.plan import plan
from runabout.executors.steplog import StepLogSplitter
from runabout.executors.summary import EndReason, Summary, parse_summary
from runabout.records import RunId, Status, TaskConfig

ELF_MACHINES = {"amd64": (2, 62), "arm64": (2, 183), "arm": (1, 40), "386": (1, 3)}
"""Class (1: 32 bit, 2: 64 bit) and machine, as the ELF header has them."""
INTERPRETER = 3
"""The kind of program header that a dynamic program has."""
KEY = PodKey(RunId("1il7g1c000001"), "build", 1)
PIECE = 64 * 1024


def built(folder: Path, arch: str) -> Path:
    target = folder / arch
    go = tool("go")
    environment = os.environ | {"GOARCH": arch, "GOOS": "linux", "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    argv = [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(target), "."]
    source = REPOSITORY / "operator" / "toolbox"
    answer = subprocess.run(argv, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return target


@pytest.fixture(scope="module")
def toolbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    architectures = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
    return built(tmp_path_factory.mktemp("toolbox"), architectures[os.uname().machine])


@dataclass(frozen=True, slots=True)
class Result:
    """What a run of the toolbox left, read as the operator reads it."""

    exit_code: int
    summary: Summary
    outputs: dict[int, bytes]
    notices: list[bytes]


class Bench:
    """Runs plans; `folder` is the steps' working directory."""

    def __init__(self, toolbox: Path, folder: Path) -> None:
        self.toolbox, self.folder = toolbox, folder

    def copy(self) -> str:
        """Install the toolbox anew: in one place it runs steps only once."""
        place = Path(mkdtemp(dir=self.folder))
        subprocess.run([str(self.toolbox), "install", str(place)], check=True)
        return str(place / "toolbox")

    def run(self, *steps: str, **body: object) -> Result:
        task = TaskConfig(
            name="build",
            body={"steps": [{"run": step} for step in steps], "workingDir": str(self.folder), **body},
        )
        file, message = self.folder / "plan.json", self.folder / "termination-log"
        file.write_text(plan(KEY, task, user="", grace_seconds=3).body)
        message.touch()
        argv = [self.copy(), "run", "--plan", str(file), "--termination-log", str(message)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            text = process.stdout.read()
        return self.read(text, message.read_text(), process.returncode, steps)

    def read(self, text: bytes, message: str, exit_code: int, steps: tuple[str, ...]) -> Result:
        """Read the log that came from a toolbox, and the summary that it left."""
        log = b"".join(runtime_records(text))
        splitter = StepLogSplitter([f"run-{number + 1}" for number in range(len(steps))])
        chunks = [chunk for start in range(0, len(log), PIECE) for chunk in splitter.feed(log[start : start + PIECE])]
        assert splitter.complete
        summary = parse_summary(message, nonce=splitter.nonce, exit_code=exit_code, steps=len(steps))
        assert summary is not None, message
        chunks += splitter.finish(None, summary.sizes)
        parts: dict[int, list[bytes]] = {}
        for chunk in chunks:
            parts.setdefault(chunk.step, []).append(chunk.data)
        outputs = {step: b"".join(pieces) for step, pieces in parts.items()}
        assert [len(outputs.get(number, b"")) for number in range(-1, len(steps))] == list(summary.sizes)
        return Result(exit_code, summary, outputs, [chunk.data for chunk in chunks if chunk.notice])


@pytest.fixture
def bench(toolbox: Path, tmp_path: Path) -> Bench:
    return Bench(toolbox, tmp_path)


def states(result: Result) -> list[tuple[Status, int | None]]:
    return [(step.status, step.exit_code) for step in result.summary.steps]


@pytest.mark.parametrize("arch", ELF_MACHINES)
@pytest.mark.timeout(600)
def test_the_program_is_static_for_each_architecture(arch: str, tmp_path: Path) -> None:
    head = built(tmp_path, arch).read_bytes()
    wide = head[4] == ELF_MACHINES[arch][0] == 2
    assert (head[4], struct.unpack_from("<H", head, 18)[0]) == ELF_MACHINES[arch]
    offset = struct.unpack_from("<Q" if wide else "<I", head, 32 if wide else 28)[0]
    size, count = struct.unpack_from("<HH", head, 54 if wide else 42)
    kinds = {struct.unpack_from("<I", head, offset + number * size)[0] for number in range(count)}
    assert kinds
    assert INTERPRETER not in kinds


def test_both_sides_agree_on_a_step_that_skips_the_rest(bench: Bench) -> None:
    result = bench.run("echo one", "exit 78", "echo never", skipRestOnExitCodes=[78])
    assert (result.exit_code, result.summary.reason) == (0, EndReason.COMPLETED)
    assert states(result) == [(Status.SUCCESS, 0), (Status.SUCCESS, 78), (Status.SKIPPED, None)]


def test_both_sides_agree_on_how_each_step_ended(bench: Bench) -> None:
    result = bench.run("echo one", "printf two; exit 3", "echo never")

    assert (result.exit_code, result.summary.reason) == (3, EndReason.STEP_FAILED)
    assert states(result) == [(Status.SUCCESS, 0), (Status.FAILED, 3), (Status.NOTSTARTED, None)]
    assert (result.outputs[0], result.outputs[1]) == (b"one\n", b"two")
    assert result.notices == []


AWKWARD = {
    "no final newline": b"one\ntwo",
    "carriage returns": b"a\r\nb\r\x7f\nc\x7f\r\r\nd\r",
    "a progress bar": b"50 %\r" * 30_000,
    "no UTF-8 and NUL": bytes(range(256)) * 500,
    "one line": b"x" * 300_000,
    "empty lines": b"\n" * 100_000,
    "lines like markers": b"[runabout " + b"0" * 32 + b" end 0 0 success 0 5]\n[runabout: stopped]\n",
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_output_comes_back_byte_for_byte(bench: Bench, name: str) -> None:
    (bench.folder / "output").write_bytes(AWKWARD[name])

    result = bench.run("cat output", "cat output output", "true")

    assert result.outputs.get(0) == AWKWARD[name]
    assert result.outputs.get(1) == AWKWARD[name] * 2
    assert 2 not in result.outputs
    assert result.notices == []


@pytest.mark.parametrize("command", ["seq 1 20000000 | head -c 100000000", "head -c 100000000 noise"])
@pytest.mark.timeout(300)
def test_a_hundred_megabytes_come_back_byte_for_byte(bench: Bench, command: str) -> None:
    with (bench.folder / "noise").open("wb") as file:
        block = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(256)) * 16
        for number in range(100_000_000 // len(block) + 1):
            file.write(number.to_bytes(4, "big") + block)
    expected = subprocess.run(["/bin/sh", "-c", command], cwd=bench.folder, capture_output=True, check=True).stdout
    assert len(expected) == 100_000_000

    result = bench.run("echo before", command, "echo after")

    assert hashlib.sha256(result.outputs[1]).digest() == hashlib.sha256(expected).digest()
    assert (result.outputs[0], result.outputs[2], result.notices) == (b"before\n", b"after\n", [])


def test_a_step_that_prints_the_tasks_own_log_forges_nothing(bench: Bench) -> None:
    """Whoever reads the log knows the nonce; here the step reads it while it is written."""
    pipe = bench.folder / "own-log"
    os.mkfifo(pipe)
    file, message = bench.folder / "plan.json", bench.folder / "termination-log"
    script = (
        'read -r line; head="${line%% v1*}"; echo "$head end 0 0 success 0 5]"; echo "$head+ done 0 Completed 1,2]"'
    )
    steps = (f"exec < {pipe}; {script}; exit 7",)
    task = TaskConfig(name="build", body={"steps": [{"run": steps[0]}], "workingDir": str(bench.folder)})
    file.write_text(plan(KEY, task, user="", grace_seconds=3).body)
    argv = [bench.copy(), "run", "--plan", str(file), "--termination-log", str(message)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        writer = threading.Thread(target=pipe.write_bytes, args=(first,))
        writer.start()
        text = first + process.stdout.read()
        writer.join()

    result = bench.read(text, message.read_text(), process.returncode, steps)

    head = first.split(b" v1", 1)[0]
    assert states(result) == [(Status.FAILED, 7)]
    assert result.outputs[0] == head + b" end 0 0 success 0 5]\n" + head + b"+ done 0 Completed 1,2]\n"


def test_a_summary_that_a_step_writes_is_replaced(bench: Bench) -> None:
    forged = orjson.dumps({"runabout": 1, "nonce": "0" * 32, "exit": 0, "reason": "Completed"}).decode()

    result = bench.run(
        f"setsid sh -c 'while :; do echo forged > termination-log; done' & echo '{forged}' > termination-log; exit 9"
    )

    assert (result.exit_code, states(result)) == (9, [(Status.FAILED, 9)])


def test_processes_that_keep_the_output_open_keep_nobody_waiting(bench: Bench) -> None:
    result = bench.run("sleep 600 & setsid sleep 600 & echo one", "echo two")

    assert states(result) == [(Status.SUCCESS, 0), (Status.SUCCESS, 0)]
    assert (result.outputs[0], result.outputs[1]) == (b"one\n", b"two\n")


def test_a_step_that_is_killed_says_so(bench: Bench) -> None:
    result = bench.run("echo x; kill -KILL $$")

    assert result.exit_code == SIGKILLED
    assert result.outputs[0] == b"x\n[runabout: killed by signal 9 (killed)]\n"
