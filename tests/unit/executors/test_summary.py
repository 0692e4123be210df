import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.executors.summary import EndReason, StepSummary, parse_summary
from runabout.records import Status

NONCE = "0123456789abcdef0123456789abcdef"


def message(**changes: object) -> str:
    content: dict[str, object] = {
        "runabout": 1,
        "nonce": NONCE,
        "toolbox": "0.1.0",
        "start": 1_795_507_200_000,
        "exit": 3,
        "reason": "StepFailed",
        "message": "step test ended with exit code 3",
        "setup": 43,
        "steps": [["success", 0, 28, 8, 447], ["failed", 3, 4, 448, 457], ["notstarted", 0, 0, 0, 0]],
    }
    return json.dumps(content | changes) + "\n"


def test_a_summary_tells_each_steps_end() -> None:
    summary = parse_summary(message(), nonce=NONCE, exit_code=3, steps=3)
    assert summary is not None
    assert summary.reason == EndReason.STEP_FAILED
    assert summary.steps == (
        StepSummary(Status.SUCCESS, 0, 28, 1_795_507_200_008, 1_795_507_200_447),
        StepSummary(Status.FAILED, 3, 4, 1_795_507_200_448, 1_795_507_200_457),
        StepSummary(Status.NOTSTARTED, None, 0, None, None),
    )
    assert summary.sizes == (43, 28, 4, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a message that a step wrote",
        "null",
        message() + "more",
        message(nonce="f" * 32),
        message(nonce="short"),
        message(runabout=2),
        message(exit=0),
        message(exit=4),
        message(exit=256),
        message(exit="3"),
        message(reason="Completed"),
        message(reason="Splendid"),
        message(steps=[["success", 0, 28, 8, 447]]),
        message(steps=[]),
        message(steps=[["running", 0, 0, 0, 0]] * 3),
        message(steps=[["success", 0, -1, 0, 0]] * 3),
        message(extra=1),
    ],
)
def test_what_is_not_exactly_this_tasks_summary_is_none(text: str) -> None:
    assert parse_summary(text, nonce=NONCE, exit_code=3, steps=3) is None


def test_a_plan_that_could_not_be_read_has_a_summary_without_steps() -> None:
    text = message(exit=125, reason="BadPlan", steps=[])
    assert parse_summary(text, nonce=NONCE, exit_code=125, steps=3) is not None


def test_without_a_log_a_summary_is_believed_if_the_exit_code_agrees() -> None:
    assert parse_summary(message(), nonce=None, exit_code=3, steps=3) is not None
    assert parse_summary(message(), nonce=None, exit_code=1, steps=3) is None


@given(text=st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_no_text_is_an_error(text: str) -> None:
    assert parse_summary(text, nonce=None, exit_code=None) is None
