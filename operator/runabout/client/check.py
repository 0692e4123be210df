"""`runabout check`: everything that API server and operator would find in files, without a cluster."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from runabout.client.documents import STDIN, DocumentError, iterate_documents
from runabout.control.config import further_errors, setup_errors
from runabout.control.rules import executor_rules
from runabout.resources import CheckedRun, check

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
"""Names of the files that kubectl applies of a directory, which are those that are checked of one."""


@dataclass(slots=True)
class Report:
    """What was found: lines for people, each with file, line, column, document and field; and what is sound.

    `listed` says of each file of a directory what is in it.
    """

    errors: list[str] = field(default_factory=list)
    broken: int = 0
    runs: int = 0
    executors: int = 0
    listed: list[str] = field(default_factory=list)

    def sound(self, *, runs: int = 0, executors: int = 0) -> str:
        """Return in words what is sound beyond these numbers; empty if nothing is."""
        numbers = ((self.runs - runs, "Run"), (self.executors - executors, "Executor"))
        return " and ".join(_count(number, word) for number, word in numbers if number)


def check_command(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="YAML or JSON files, several documents in each; - is stdin; a directory means all *.yaml, *.yml and "
            "*.json in it.",
        ),
    ],
) -> None:
    """Check files with Runs and Executors: schema, graph, and all other rules.

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
    sound = report.sound()
    if not sound:
        typer.echo(f"{', '.join(files)}: there is no Run and no Executor", err=True)
        raise typer.Exit(1)
    for line in report.listed:
        typer.echo(line)
    typer.echo(f"{sound}: no errors found. Next: kubectl apply {' '.join(f'-f {file}' for file in files)}")


def check_files(files: Iterable[str]) -> Report:
    """Return what is wrong in all documents of all files; a file that cannot be read is an error, too.

    A directory stands for the files in it that `kubectl apply -f` takes, in the order of their names; what is in
    directories below it is not looked at.
    """
    report = Report()
    for file in files:
        if Path(file) != STDIN and Path(file).is_dir():
            _check_directory(Path(file), report)
        else:
            _check_file(file, report)
    return report


def _check_directory(directory: Path, report: Report) -> None:
    try:
        found = sorted(each for each in directory.iterdir() if each.suffix in SUFFIXES and not each.is_dir())
    except OSError as error:
        report.errors.append(_one_line(f"{directory}: cannot be read: {error.strerror}"))
        report.broken += 1
        return
    if not found:
        report.errors.append(
            _one_line(f"{directory}: no *.yaml, *.yml or *.json in it, and what is below is not looked at; name files")
        )
        report.broken += 1
    for file in found:
        runs, executors = report.runs, report.executors
        _check_file(str(file), report)
        sound = report.sound(runs=runs, executors=executors) or "no Run and no Executor"
        report.listed.append(_one_line(f"{file}: {sound}"))


def _check_file(file: str, report: Report) -> None:
    name = "stdin" if Path(file) == STDIN else file
    try:
        for document in iterate_documents(Path(file)):
            findings = list(_findings(document.value, report))
            if findings:
                title, places = _title(document.value), document.places()
                report.errors.extend(_one_line(f"{name}:{places.find(at)}{title}: {text}") for at, text in findings)
                report.broken += 1
    except DocumentError as error:
        report.errors.append(_one_line(str(error)))
        report.broken += 1


def _findings(value: object, report: Report) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with one document: the path to it, and what to say; items of a List one by one."""
    if isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list):
        for number, item in enumerate(value["items"]):
            for at, text in _findings(item, report):
                is_path = text.startswith("items[") or (at and text.startswith(at))
                yield f"items[{number}].{at}", f"items[{number}]{'.' if is_path else ': '}{text}"
        return
    checked = check(value)
    if isinstance(checked, tuple):
        yield from ((problem.path, str(problem)) for problem in checked)
        if isinstance(value, dict) and value.get("kind") == "Run":
            spec = value.get("spec")
            yield from ((_path(error, spec), error) for error in further_errors(spec, checked))
    elif isinstance(checked, CheckedRun):
        report.runs += 1
        spec = value.get("spec") if isinstance(value, dict) else None
        yield from ((_path(error, spec), error) for error in setup_errors(checked))
    else:
        report.executors += 1
        yield from ((problem.path, str(problem)) for problem in executor_rules(checked.spec))


def _path(error: str, spec: object) -> str:
    """Return the path that a setup error is about; the client's own ones are in the spec themselves."""
    own = spec.get("setupErrors") if isinstance(spec, dict) else None
    if isinstance(own, list) and error in own:
        return f"spec.setupErrors[{own.index(error)}]"
    return error if error.startswith("spec.") else ""


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
