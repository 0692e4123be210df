"""`runabout simulate`: what would happen if? Plays a Run through the engine, without a cluster.

Of the spec only what decides a run's course is played: the client's setup errors, and each task's name, depends, skip,
ignoreFailure, needsApproval and matrix. The rest is checked, as the API server would, and otherwise ignored.
"""

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from runabout.client.documents import STDIN, DocumentError, read_documents
from runabout.client.outcomes import OutcomesError, parse_outcomes
from runabout.engine.matrix import Expansion, Template, expand
from runabout.engine.simulation import Outcomes, Simulation
from runabout.engine.simulation import simulate as play
from runabout.records import Condition, Dependency, Phase, Status, TaskConfig
from runabout.resources import CheckedRun, RunSpec, TaskSpec, check

UNUSABLE = 2
"""Exit code for input of which no simulation can be made."""


class Format(StrEnum):
    """How the simulation is written."""

    JSON = "json"


class _UnusableError(Exception):
    """Input of which no simulation can be made; one line for each problem."""


def simulate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A Run, as YAML or JSON; - reads standard input.")],
    *,
    outcomes: Annotated[
        Path | None,
        typer.Option(
            metavar="OUTCOMES", help="What happens to it: slots, tasks, stopAt, approve. Default: all succeed."
        ),
    ] = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="Format of the output.")] = Format.JSON,
) -> None:
    """Play a Run without a cluster: what would happen if a task failed, if it were stopped?

    Ends with 0 if there is a simulation, whatever the run's result, and with 2 if the input is unusable. On a terminal
    a hint follows on stderr: how to read the output, and how to say what happens.
    """
    try:
        simulation, tasks = played(run, outcomes)
    except (DocumentError, _UnusableError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(UNUSABLE) from error
    typer.echo(_text(simulation, output))
    if sys.stdout.isatty():
        typer.echo(hint(simulation, tasks, run=run, outcomes=outcomes), err=True)


def simulation_text(run: Path, outcomes: Path | None, output: Format) -> str:
    """Return the simulation of the Run in a file, as text.

    Raises:
        DocumentError, _UnusableError: the input is unusable.
    """
    return _text(played(run, outcomes)[0], output)


def played(run: Path, outcomes: Path | None) -> tuple[Simulation, tuple[TaskConfig, ...]]:
    """Return the simulation of the Run in a file, and the tasks that were played; errors as above."""
    if run == outcomes == Path(STDIN):
        raise _UnusableError("RUN and --outcomes cannot both be read from stdin: give one of them as a file")
    spec = _run_spec(run)
    expansion = expand([_template(task) for task in spec.tasks])
    errors = (*spec.setup_errors, *expansion.errors)
    return play(expansion.tasks, errors, _outcomes(outcomes, expansion)), expansion.tasks


def _text(simulation: Simulation, output: Format) -> str:
    match output:
        case Format.JSON:
            return json.dumps(as_json(simulation), indent=2)


def hint(simulation: Simulation, tasks: Sequence[TaskConfig], *, run: Path, outcomes: Path | None) -> str:
    """Return how to read a simulation of `tasks`, and what to write into which file to see another course."""
    if simulation.setup_errors:
        return f"Such a run never starts: correct its setup errors (runabout check {run} says where) and try again."
    lines = ["start, end and tick count from the run's start; null is what never came."]
    awaited = [
        task.name for task in tasks if task.needs_approval and simulation.tasks[task.name].status is Status.NOTSTARTED
    ]
    if simulation.phase is Phase.RUNNING and awaited:
        lines.append(f"The run goes on waiting for an approval of {awaited[0]}.")
        example: dict[str, object] = {"approve": {awaited[0]: 1}}
    elif tasks:
        example = {"tasks": {tasks[0].name: {"result": "failed", "ticks": 3}}}
    else:
        return lines[0]
    given = "Each task succeeds after 1 tick unless OUTCOMES says something else" if outcomes is None else "To go on"
    file = "OUTCOMES.yaml" if outcomes is None or outcomes == Path(STDIN) else str(outcomes)
    lines.append(f"{given}: write {json.dumps(example)} into {file} (also slots, stopAt, approve)")
    lines.append(f"Next: runabout simulate {run} --outcomes {file}")
    return "\n".join(lines)


def as_json(simulation: Simulation) -> dict[str, object]:
    """Return a simulation as a JSON object."""
    return {
        "phase": simulation.phase.value,
        "result": simulation.result.value,
        "setupErrors": list(simulation.setup_errors),
        "tasks": {
            name: {"status": task.status.value, "start": task.start, "end": task.end}
            for name, task in simulation.tasks.items()
        },
        "events": [
            {
                "sequence": event.sequence,
                "phase": event.phase.value,
                "result": event.result.value,
                "tick": event.tick,
            }
            for event in simulation.events
        ],
    }


def _run_spec(path: Path) -> RunSpec:
    documents = read_documents(path)
    if len(documents) != 1:
        raise _UnusableError(f"{path}: expected one Run, found {len(documents)} documents")
    checked = check(documents[0])
    if isinstance(checked, tuple):
        raise _UnusableError("\n".join(f"{path}: {problem}" for problem in checked))
    if not isinstance(checked, CheckedRun):
        raise _UnusableError(f"{path}: kind: expected a Run, found an Executor")
    if checked.spec.restart_from is not None:
        raise _UnusableError(
            f"{path}: spec.restartFrom: a restart has no tasks of its own to simulate; simulate the run it restarts"
        )
    return checked.spec


def _outcomes(path: Path | None, expansion: Expansion) -> Outcomes:
    if path is None:
        return Outcomes()
    documents = read_documents(path) or ({},)
    if len(documents) != 1:
        raise _UnusableError(f"{path}: expected one document, found {len(documents)}")
    try:
        return parse_outcomes(documents[0], tasks={task.name for task in expansion.tasks})
    except OutcomesError as error:
        raise _UnusableError("\n".join(f"{path}: {problem}" for problem in error.problems)) from error


def _template(task: TaskSpec) -> Template:
    config = TaskConfig(
        name=task.name,
        depends=tuple(
            Dependency(item.task, frozenset(Condition(word) for word in item.conditions)) for item in task.depends
        ),
        skip=task.skip,
        ignore_failure=task.ignore_failure,
        needs_approval=task.needs_approval,
        arch=task.arch,
    )
    return Template(config, task.matrix or {})
