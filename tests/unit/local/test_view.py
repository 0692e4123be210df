"""What a person sees: lines without a terminal, each change once, the end of a task after its last line."""

import io

from fixtures.states import task_spec
from runabout.control.config import templates
from runabout.engine.graph import Graph
from runabout.local.view import View
from runabout.records import Reason, RunId, Status, Task
from runabout.resources.check import run_spec
from runabout.resources.run import RunSpec

RUN = RunId("1il7g1c000001")


def graph(*names: str) -> Graph:
    found = run_spec({"tasks": [task_spec(name) for name in names]})
    assert isinstance(found, RunSpec)
    return Graph(tuple(each.task for each in templates(found)))


def shown(*states: Task, over: bool = False) -> list[str]:
    out = io.StringIO()
    view = View(out, tree=False, now=lambda: 0)
    for state in states:
        view.update(graph("a"), {"a": state}, {}, over=over)
    return out.getvalue().splitlines()


def running(**fields: object) -> Task:
    return Task(RUN, "a", Status.RUNNING, attempt=1, executor="local", stored=False, **fields)  # type: ignore[arg-type] # fields of Task


def failed(*, stored: bool) -> Task:
    return Task(
        RUN,
        "a",
        Status.FAILED,
        attempt=1,
        reason=Reason.EXIT_CODE,
        message="exit code 3",
        started=1000,
        ended=3500,
        stored=stored,
    )


def test_a_change_is_said_once_with_why_and_how_long() -> None:
    lines = shown(running(), running(), failed(stored=True), failed(stored=True))
    assert lines == ["a ▸ started", "a ✗ failed after 2.5 s (ExitCode: exit code 3)"]


def test_the_end_of_a_task_waits_for_its_last_line_but_not_for_ever() -> None:
    assert shown(running(), failed(stored=False)) == ["a ▸ started"]
    assert len(shown(running(), failed(stored=False), over=True)) == 2


def test_a_task_that_never_began_is_not_said_to_have_started() -> None:
    assert shown(Task(RUN, "a"), Task(RUN, "a", Status.SKIPPED)) == ["a - skipped"]


def test_the_next_attempt_is_said_with_its_number() -> None:
    again = Task(RUN, "a", Status.RUNNING, attempt=2, executor="local", stored=False)
    assert shown(running(), again) == ["a ▸ started", "a ▸ started again, attempt 2"]


def test_lines_are_as_long_as_they_are_and_are_no_markup() -> None:
    out = io.StringIO()
    line = "[bold]x[/bold] :smile: " + "y" * 500
    View(out, tree=False, now=lambda: 0).lines("a", [line])
    assert out.getvalue() == f"a | {line}\n"
