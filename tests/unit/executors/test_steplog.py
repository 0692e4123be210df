import itertools
import re
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.container_log import NONCE, ToolboxLog, runtime_records, toolbox_log
from runabout.executors.splitstate import SplitState
from runabout.executors.steplog import Chunk, StepLogSplitter
from runabout.records import Status

PREFIX = b"[runabout " + NONCE.encode()
PIECES = [
    *(b"\n", b"\r", b"\r\n", b"\x7f", b"\x7f\n", b"\r\x7f\n", b"\x00", b"\xff\xfe", b"\n" * 120, b"\r" * 120),
    *(b"plain", b"a line\n", b"x" * 90, b"[runabout ", b"[runabout: stopped]\n"),
    *(PREFIX, PREFIX[:20], PREFIX[20:], PREFIX + b"\x7f at 0 7]\n", PREFIX + b" at 0 7]\n"),
    *(PREFIX + b"+ end 1 3 success 0 5]\n", PREFIX + b" done 0 Completed 1,2]\n"),
    b"[runabout " + b"f" * 32 + b" at 0 70]\n",
]
OUTPUT = st.one_of(
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=30)), max_size=25).map(b"".join),
    st.binary(max_size=400),
)
OUTPUTS = st.lists(OUTPUT, min_size=1, max_size=4)
LOOKS_LIKE_MARKER = re.compile(rb"^\[runabout ([0-9a-f]{32})\+? (?:v1|begin|at|end|done) [^\]\n]*\]$", re.MULTILINE)
MISSING = re.compile(r"\n?\[runabout: bytes (\d+)–(\d+) of (?:step \w+|the setup) are missing: ([^\n]*)\]\n")  # noqa: RUF001


def names(outputs: Sequence[bytes]) -> list[str]:
    return [f"s{number}" for number in range(len(outputs))]


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def exact(chunks: Iterable[Chunk], step: int) -> bytes:
    """The bytes of a step, of which none may be missing."""
    own = [chunk for chunk in chunks if chunk.step == step]
    assert [chunk.data for chunk in own if chunk.notice] == []
    return b"".join(chunk.data for chunk in own)


def check_honest(chunks: Sequence[Chunk], step: int, original: bytes) -> list[tuple[int, int]]:
    """Every byte is there, at its place, or in a range that is named. Return the ranges (first, after last)."""
    place, gaps = 0, []
    for chunk in chunks:
        if chunk.step != step:
            continue
        assert chunk.offset == place
        if not chunk.notice:
            assert chunk.data == original[place : place + len(chunk.data)]
            place += len(chunk.data)
        elif found := MISSING.fullmatch(chunk.data.decode()):
            assert int(found[1]) == place
            gaps.append((place, int(found[2]) + 1))
            place = int(found[2]) + 1
    assert place == len(original)
    return gaps


@given(outputs=OUTPUTS, cuts=st.lists(st.integers(0, 10_000), max_size=8), flush=st.booleans())
def test_any_output_in_any_pieces_comes_back_byte_for_byte(outputs: list[bytes], cuts: list[int], flush: bool) -> None:
    text = b"".join(runtime_records(toolbox_log(outputs)))
    splitter = StepLogSplitter(names(outputs))
    chunks: list[Chunk] = []
    for piece in pieces(text, cuts):
        chunks += splitter.feed(piece)
        if flush:
            chunks += splitter.flush()
    chunks += splitter.finish()
    assert [exact(chunks, step) for step in range(len(outputs))] == outputs
    assert exact(chunks, -1) == b"toolbox\n"
    assert splitter.complete
    assert [step.size for step in splitter.state.steps] == [len(output) for output in outputs]


@given(outputs=OUTPUTS, breaks=st.lists(st.integers(0, 10_000), min_size=1, max_size=4), restart=st.booleans())
def test_a_log_that_is_read_again_from_its_beginning_gives_no_byte_twice(
    outputs: list[bytes],
    breaks: list[int],
    restart: bool,
) -> None:
    text = b"".join(runtime_records(toolbox_log(outputs)))
    splitter = StepLogSplitter(names(outputs))
    chunks: list[Chunk] = []
    for cut in breaks:
        chunks += splitter.feed(text[: cut % (len(text) + 1)])
        chunks += splitter.reconnected()
        if restart:
            splitter = StepLogSplitter(names(outputs), SplitState.decode(splitter.state.encode()))
    chunks += splitter.feed(text) + splitter.finish()
    assert [exact(chunks, step) for step in range(len(outputs))] == outputs


@given(
    outputs=OUTPUTS,
    cut=st.integers(0, 10_000),
    begin=st.integers(0, 10_000),
    limit=st.sampled_from([16_384, 30]),
    restart=st.booleans(),
)
def test_what_was_rotated_away_between_two_requests_is_named_to_the_byte(
    outputs: list[bytes],
    cut: int,
    begin: int,
    limit: int,
    restart: bool,
) -> None:
    """A runtime that cuts lines at 30 bytes rotates in the middle of escapes, too."""
    records = runtime_records(toolbox_log(outputs), limit)
    text = b"".join(records)
    splitter = StepLogSplitter(names(outputs))
    chunks = splitter.feed(text[: cut % (len(text) + 1)]) + splitter.reconnected()
    if restart:
        splitter = StepLogSplitter(names(outputs), SplitState.decode(splitter.state.encode()))
    again = b"".join(records[begin % len(records) :])
    assume(PREFIX + b" done" in again)
    # Of a log whose beginning nobody ever read, the first line that looks like a marker names the nonce.
    first = LOOKS_LIKE_MARKER.search(again)
    assume(splitter.nonce is not None or (first is not None and first[1] == NONCE.encode()))
    chunks += splitter.feed(again) + splitter.finish()
    missing = sum(
        end - start for step, output in enumerate(outputs) for start, end in check_honest(chunks, step, output)
    )
    if len(text) - len(again) <= cut % (len(text) + 1):  # nothing was unread; only a first line may not be trusted
        assert missing <= again.index(b"\n") + 1
    assert splitter.complete


def test_a_gap_between_two_requests_is_exactly_what_neither_had() -> None:
    output = b"".join(b"line %03d\n" % number for number in range(100))
    records = runtime_records(toolbox_log([output]))
    at_300, at_700 = (
        next(i for i, record in enumerate(records) if record == b"line %03d\n" % number) for number in (30, 70)
    )
    splitter = StepLogSplitter(["compile"])
    chunks = splitter.feed(b"".join(records[:at_300])) + splitter.reconnected()
    chunks += splitter.feed(b"".join(records[at_700:])) + splitter.finish()
    # 299 and not 269: the last newline before a break may be the toolbox's, so it is not given out until the next line
    assert check_honest(chunks, 0, output) == [(30 * 9 - 1, 70 * 9)]
    assert (
        "\n[runabout: bytes 269–629 of step compile are missing: the container's log no longer has them]\n"  # noqa: RUF001
        in [chunk.data.decode() for chunk in chunks]
    )


@given(
    outputs=OUTPUTS,
    drop=st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)),
    cuts=st.lists(st.integers(0, 10_000), max_size=4),
)
def test_a_jump_forward_inside_one_request_puts_no_byte_in_a_wrong_place(
    outputs: list[bytes],
    drop: tuple[int, int],
    cuts: list[int],
) -> None:
    records = runtime_records(toolbox_log(outputs))
    first, after = sorted((drop[0] % len(records), drop[1] % len(records)))
    assume(first > 0)
    splitter = StepLogSplitter(names(outputs))
    chunks: list[Chunk] = []
    for piece in pieces(b"".join(records[:first] + records[after:]), cuts):
        chunks += splitter.feed(piece)
    chunks += splitter.finish()
    for step, output in enumerate(outputs):
        check_honest(chunks, step, output)


@given(
    outputs=OUTPUTS,
    jump=st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)),
    cuts=st.lists(st.integers(0, 10_000), max_size=4),
)
def test_a_jump_back_inside_one_request_loses_nothing_and_repeats_nothing(
    outputs: list[bytes],
    jump: tuple[int, int],
    cuts: list[int],
) -> None:
    records = runtime_records(toolbox_log(outputs))
    back, until = sorted((jump[0] % len(records), jump[1] % len(records)))
    # Without a marker in what is repeated, nothing tells the repeat from a program that says the same thing twice.
    assume(any(record.startswith((PREFIX + b" ", PREFIX + b"+")) for record in records[back : until + 1]))
    splitter = StepLogSplitter(names(outputs))
    chunks: list[Chunk] = []
    for piece in pieces(b"".join(records[: until + 1] + records[back:]), cuts):
        chunks += splitter.feed(piece)
    chunks += splitter.finish()
    assert [exact(chunks, step) for step in range(len(outputs))] == outputs


@given(outputs=OUTPUTS, cut=st.integers(0, 10_000))
def test_a_log_that_was_cut_off_is_whole_up_to_there_and_says_why(outputs: list[bytes], cut: int) -> None:
    records = runtime_records(toolbox_log(outputs))
    splitter = StepLogSplitter(names(outputs))
    chunks = splitter.feed(b"".join(records[: cut % len(records)])) + splitter.finish("OOM-killed")
    running = [step.name for step in splitter.state.steps if step.status == Status.RUNNING]
    assert not splitter.complete
    for step, output in enumerate(outputs):
        data = b"".join(chunk.data for chunk in chunks if chunk.step == step and not chunk.notice)
        assert output.startswith(data.removesuffix(b"\n"))
    notices = [chunk.data.decode().strip() for chunk in chunks if chunk.notice and chunk.step >= 0]
    assert notices == [f"[runabout: step {name} did not end: OOM-killed]" for name in running]


@given(data=st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=30)), max_size=40))
def test_a_log_of_something_else_is_no_error(data: list[bytes]) -> None:
    splitter = StepLogSplitter(["a", "b"])
    for piece in data:
        splitter.feed(piece)
    splitter.finish("evicted")


def test_a_log_without_a_toolbox_is_shown_as_setup_with_a_line_that_says_so() -> None:
    splitter = StepLogSplitter(["a"])
    chunks = splitter.feed(b"exec format error\n") + splitter.finish("the container did not start")
    assert b"".join(chunk.data for chunk in chunks if chunk.step == -1) == (
        b"exec format error\n[runabout: the task has no log: the container did not start]\n"
    )


def test_without_a_log_the_summary_still_says_what_is_missing() -> None:
    splitter = StepLogSplitter(["a", "b"])
    chunks = splitter.finish("node lost", [5, 10, 0])
    assert [(chunk.step, chunk.data.decode()) for chunk in chunks] == [
        (-1, "[runabout: bytes 0–4 of the setup are missing: node lost]\n"),  # noqa: RUF001
        (0, "[runabout: bytes 0–9 of step a are missing: node lost]\n"),  # noqa: RUF001
        (-1, "[runabout: the task has no log: node lost]\n"),
    ]


def test_steps_whose_ends_were_lost_with_a_whole_file_are_named() -> None:
    records = runtime_records(toolbox_log([b"a" * 50, b"b" * 60, b"c" * 10 + b"\n"]))
    begin = next(i for i, record in enumerate(records) if b" begin 2 " in record)
    splitter = StepLogSplitter(["a", "b", "c"])
    chunks = splitter.feed(b"".join(records[:2])) + splitter.reconnected()
    chunks += splitter.feed(b"".join(records[begin:])) + splitter.finish()
    assert check_honest(chunks, 0, b"a" * 50) == [(0, 50)]
    assert check_honest(chunks, 1, b"b" * 60) == [(0, 60)]
    assert exact(chunks, 2) == b"c" * 10 + b"\n"
    assert [step.status for step in splitter.state.steps] == [Status.SUCCESS] * 3


def test_a_tail_after_rotation_that_no_marker_follows_is_kept_with_a_warning() -> None:
    records = runtime_records(
        toolbox_log([b"".join(b"line %03d\n" % number for number in range(60))], mark_from=10_000)
    )
    splitter = StepLogSplitter(["a"])
    chunks = splitter.feed(b"".join(records[:5])) + splitter.reconnected()
    chunks += splitter.feed(b"".join(records[40:44])) + splitter.finish("evicted")
    assert b"".join(chunk.data for chunk in chunks if chunk.step == 0).decode() == (
        "line 000"
        "\n[runabout: an unknown number of bytes from byte 8 on are missing: evicted]\n"
        "line 036\nline 037\nline 038\nline 039\n"
        "[runabout: step a did not end: evicted]\n"
    )


def test_what_a_server_appends_to_a_broken_request_is_not_taken_for_output() -> None:
    text = b"".join(runtime_records(toolbox_log([b"one\ntwo\n"])))
    middle = text.index(b"two")
    splitter = StepLogSplitter(["a"])
    chunks = splitter.feed(text[:middle] + b"failed to create fsnotify watcher: too many open files")
    chunks += splitter.reconnected() + splitter.feed(text) + splitter.finish()
    assert exact(chunks, 0) == b"one\ntwo\n"


def test_output_is_visible_before_the_next_marker_when_flushed() -> None:
    log = ToolboxLog(mark_from=10_000, max_line=10_000)
    log.marker("v1", "r", "t", 1)
    log.end()
    log.begin(0)
    log.write(b"one\ntwo\n")
    splitter = StepLogSplitter(["a"])
    assert splitter.feed(bytes(log.text)) == []
    assert splitter.flush() == [Chunk(0, 0, b"one\ntwo")]
    assert splitter.flush() == []


def test_the_steps_times_states_and_exit_codes_are_known_from_the_log() -> None:
    log = ToolboxLog()
    log.marker("v1", "r", "t", 1)
    log.end()
    log.begin(0)
    log.write(b"x")
    splitter = StepLogSplitter(["a", "b"])
    splitter.feed(bytes(log.text))
    log.end("failed", 7)
    log.done(7, "StepFailed")
    splitter.feed(bytes(log.text)[len(log.text) - len(bytes(log.text)) :])
    first, second = splitter.state.steps
    assert (first.status, first.exit_code, first.started, first.ended, first.size) == (Status.FAILED, 7, 1000, 2000, 1)
    assert second.status == Status.NOTSTARTED


def test_memory_stays_bounded_however_large_the_log_is() -> None:
    splitter = StepLogSplitter(["a"])
    log = ToolboxLog(mark_from=48 << 10, max_line=15_500)
    log.marker("v1", "r", "t", 1)
    log.end()
    log.begin(0)
    splitter.feed(bytes(log.text))
    for _ in range(64):  # no marker in 8 MiB: from something that is no toolbox
        splitter.feed(b"y\n" * (64 << 10))
        assert splitter._held_size <= 256 << 10
    assert [chunk.notice for chunk in splitter.finish("evicted")][-1]


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"format":2}', b'{"format":1,"nonce":null,"complete":false,"steps":[]}']
)
def test_what_is_no_state_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not the state of a log splitter"):
        SplitState.decode(data)


def test_a_state_of_other_steps_is_refused() -> None:
    state = StepLogSplitter(["a", "b"]).state
    with pytest.raises(ValueError, match="other steps"):
        StepLogSplitter(["a"], state)
