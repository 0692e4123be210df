"""`runabout check`: everything that API server and operator would find in files, without a cluster."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from runabout.client.documents import STDIN, DocumentError, iterate_documents
from runabout.control.config import further_errors, setup_errors
from runabout.control.rules import executor_rules
from runabout.resources import CheckedRun, Problem, check


@dataclass(slots=True)
class Report:
    """What was found: lines for people, each with file, document and field; and what is sound."""

    errors: list[str] = field(default_factory=list)
    broken: int = 0
    runs: int = 0
    executors: int = 0


def check_command(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="YAML or JSON files, several documents in each; - is stdin.")
    ],
) -> None:
    """Check files with Runs and Executors: schema, rules, graph, and what this version does not execute yet.

    Finds everything that the API server and the operator would find, all at once and without a cluster. Exit code 0 if
    nothing is wrong, 1 otherwise.
    """
    report = check_files(files)
    if report.errors:
        for line in report.errors:
            typer.echo(line, err=True)
        errors = _count(len(report.errors), "error")
        typer.echo(f"{errors} in {_count(report.broken, 'document')}: correct them and check again.", err=True)
        raise typer.Exit(1)
    parts = [_count(number, word) for number, word in ((report.runs, "Run"), (report.executors, "Executor")) if number]
    if not parts:
        typer.echo(f"{', '.join(files)}: there is no Run and no Executor", err=True)
        raise typer.Exit(1)
    typer.echo(
        f"{' and '.join(parts)}: no errors found. Next: kubectl apply {' '.join(f'-f {file}' for file in files)}"
    )


def check_files(files: Iterable[str]) -> Report:
    """Return what is wrong in all documents of all files; a file that cannot be read is an error, too."""
    report = Report()
    for file in files:
        _check_file(file, report)
    return report


def _check_file(file: str, report: Report) -> None:
    name = "stdin" if Path(file) == STDIN else file
    try:
        for document in iterate_documents(Path(file)):
            problems = list(_problems(document.value, report))
            title = f"{name}:{document.line}{_title(document.value)}"
            report.errors.extend(_one_line(f"{title}: {problem}") for problem in problems)
            report.broken += bool(problems)
    except DocumentError as error:
        report.errors.append(_one_line(str(error)))
        report.broken += 1


def _problems(value: object, report: Report) -> Iterator[Problem | str]:
    """Return what is wrong with one document; items of a List are looked at one by one."""
    if isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list):
        for place, item in enumerate(value["items"]):
            for problem in _problems(item, report):
                yield _inside(problem, f"items[{place}]")
        return
    checked = check(value)
    if isinstance(checked, tuple):
        yield from checked
        if isinstance(value, dict) and value.get("kind") == "Run":
            yield from further_errors(value.get("spec"), checked)
    elif isinstance(checked, CheckedRun):
        report.runs += 1
        yield from setup_errors(checked)
    else:
        report.executors += 1
        yield from executor_rules(checked.spec)


def _inside(problem: Problem | str, where: str) -> Problem | str:
    """Return a problem of one item with the path from the List on."""
    if isinstance(problem, Problem):
        return Problem(f"{where}.{problem.path}" if problem.path else where, problem.message)
    return f"{where}.{problem}" if problem.startswith(("spec.", "items[")) else f"{where}: {problem}"


def _one_line(text: str) -> str:
    """Return a text whose line ends and other control characters are written out: whatever it is, it is one line."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _title(value: object) -> str:
    """Return kind and name of a document, as far as it has them."""
    if not isinstance(value, dict):
        return ""
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    kind = value.get("kind")
    return f" ({kind}{f' {name}' if isinstance(name, str) else ''})" if isinstance(kind, str) else ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
