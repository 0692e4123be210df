"""The vocabulary is stored and shown: a changed word breaks what is stored already."""

from enum import StrEnum

import pytest

from runabout.records import (
    FINISHED_STATUSES,
    MACHINERY_REASONS,
    TERMINAL_PHASES,
    Condition,
    Phase,
    Reason,
    RestartFrom,
    Result,
    Status,
    Verdict,
)

WORDS: dict[type[StrEnum], str] = {
    Phase: "setuperror queued cancelled running finished",
    Result: "unknown success failed stopped",
    Status: "notstarted running success failed stopped cancelled skipped",
    Condition: "on_success on_failure on_skipped",
    Verdict: "approved refused",
    RestartFrom: "start failed",
}


@pytest.mark.parametrize("kind", WORDS)
def test_words_are_as_stored(kind: type[StrEnum]) -> None:
    assert " ".join(kind) == WORDS[kind]


def test_a_phase_is_terminal_unless_a_run_in_it_goes_on() -> None:
    assert set(Phase) - TERMINAL_PHASES == {Phase.QUEUED, Phase.RUNNING}


def test_a_status_is_finished_unless_a_task_in_it_goes_on() -> None:
    assert set(Status) - FINISHED_STATUSES == {Status.NOTSTARTED, Status.RUNNING}


def test_reasons_are_camel_case_as_kubernetes_asks_of_conditions() -> None:
    for reason in Reason:
        assert reason[0].isupper()
        assert reason.isalnum()


def test_what_a_user_decides_or_breaks_is_no_fault_of_the_machinery() -> None:
    assert not MACHINERY_REASONS & {
        Reason.EXIT_CODE,
        Reason.OOM_KILLED,
        Reason.TIMEOUT,
        Reason.REFUSED,
        Reason.STOPPED,
        Reason.REPLACED,
        Reason.INVALID_POD,
        Reason.IMAGE_PULL,
    }
