"""`runabout run`: a Run on this machine, without a cluster.

What takes long to load is loaded when there is something on the screen.
"""

import getpass
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from runabout.client.check import check_files
from runabout.client.documents import STDIN, DocumentError, read_documents
from runabout.local.options import EXIT_UNUSABLE, Options
from runabout.local.spec import local_notices, local_problems, local_spec, machine_arch, needs_containers
from runabout.resources import CheckedRun, RunSpec, check

PROGRAM = "toolbox"
BUILD = "build it with hack/toolbox, or name it: RUNABOUT_TOOLBOX=/path/to/toolbox"


INSTALL = "install Podman (Debian, Fedora and others: the package podman)"


class Kind(StrEnum):
    """What tasks are."""

    PROCESSES = "processes"
    CONTAINERS = "containers"


@dataclass(frozen=True, slots=True)
class Choice:
    """What tasks are here: `podman` is the program where they are containers; `why` says who wants that."""

    podman: str | None
    why: str = ""
    advice: str = ""
    """how they could be containers"""


def run_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A Run, as YAML or JSON.")],
    *,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Tasks at once.")] = os.cpu_count() or 1,
    approve: Annotated[
        list[str] | None,
        typer.Option(help="A task that is approved when it waits for that; repeatable. Others are asked for."),
    ] = None,
    secrets: Annotated[
        Path | None,
        typer.Option(help="A folder with the values of Secrets and ConfigMaps as files: NAME/KEY.", exists=True),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Folder of records, logs and caches. Default: ~/.local/share/runabout", file_okay=False),
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            "--in",
            help="What tasks are: processes of this machine, or containers of Podman with their own images. "
            "Default: processes; containers if a task has services and Podman is there.",
        ),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines only, also on a terminal.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folders in which the tasks worked.")] = False,
) -> None:
    """Execute a Run on this machine, without a cluster: its tasks are processes or containers, all else as there.

    Ends with 0 if the run succeeds, 1 if it fails, 130 if it was stopped (Ctrl-C; twice: at once), and 2 if it cannot
    be executed here; then nothing ran, and all reasons are said.
    """
    name, spec, choice = _checked(file, approve or (), kind)
    toolbox = _toolbox()
    if toolbox is None:
        named = os.environ.get("RUNABOUT_TOOLBOX")
        place = f"at {named}, as RUNABOUT_TOOLBOX says" if named else "here"
        _end([f"the toolbox, which executes the steps, is not {place}: {BUILD}"])
    tasks = spec.get("tasks")
    count = len(tasks) if isinstance(tasks, list) else 0
    what = f"{count} {'task' if count == 1 else 'tasks'}" if "restartFrom" not in spec else "a restart"
    tasks_are = "containers of Podman" if choice.podman else "processes of this machine"
    typer.echo(f"run {name}: {what}, at most {jobs} at once, as {tasks_are}{choice.why}")
    sys.stdout.flush()
    from runabout.local.execution import execute  # noqa: PLC0415 - see the module

    options = Options(
        store=_place(store),
        toolbox=toolbox,
        secrets=secrets.absolute() if secrets is not None else None,
        jobs=jobs,
        arch=machine_arch(),
        approve=tuple(approve or ()),
        by=getpass.getuser(),
        podman=choice.podman,
        keep=keep,
    )
    code, words = execute(name, spec, options, plain=plain)
    for line in words:
        typer.echo(line, err=True)
    raise typer.Exit(code)


def _chosen(spec: RunSpec, kind: Kind | None) -> Choice:
    """Return what tasks are: what was said, or what they need."""
    podman, needing = shutil.which("podman"), needs_containers(spec)
    if kind is Kind.CONTAINERS:
        return Choice(podman) if podman else _end([f"--in containers: {INSTALL}"])
    if kind is Kind.PROCESSES:
        return Choice(None, advice="leave out --in processes, ")
    if needing is not None and podman is not None:
        return Choice(podman, why=f": task {needing} has services")
    return Choice(None, advice=f"{INSTALL}, ")


def _checked(file: Path, approve: Sequence[str], kind: Kind | None) -> tuple[str, dict[str, object], Choice]:
    """Return name and spec of the Run in a file, and what its tasks are; end with all that is wrong with it."""
    if file == STDIN:
        _end(["-: a Run is read twice, and standard input answers questions: write it to a file"])
    report = check_files([str(file)])
    if report.errors:
        _end(report.errors)
    try:
        documents = read_documents(file)
    except DocumentError as error:
        _end([str(error)])
    found = check(documents[0]) if len(documents) == 1 else None
    if not isinstance(found, CheckedRun):
        _end([f"{file}: expected one Run, found {report.runs} Runs in {len(documents)} documents"])
    choice = _chosen(found.spec, kind)
    containers = choice.podman is not None
    problems = local_problems(
        found.spec,
        arch=machine_arch(),
        answers=sys.stdin.isatty(),
        approved=approve,
        containers=containers,
        advice=choice.advice,
    )
    errors = [problem if problem.startswith("--") else f"{file}: {problem}" for problem in problems]
    if errors:
        _end(errors)
    for notice in local_notices(found.spec, containers=containers):
        typer.echo(f"note: {notice}", err=True)
    return found.name or file.stem, local_spec(documents[0], containers=containers), choice


def _toolbox() -> Path | None:
    """Return the program that executes steps: named, built by hack/toolbox, or on the PATH."""
    named = os.environ.get("RUNABOUT_TOOLBOX")
    if named:
        return Path(named).resolve() if os.access(named, os.X_OK) else None
    built = _place(None) / "bin" / PROGRAM
    found = str(built) if os.access(built, os.X_OK) else shutil.which("runabout-toolbox")
    return None if found is None else Path(found).resolve()


def _place(store: Path | None) -> Path:
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return (store or Path(data) / "runabout").absolute()


def _end(lines: Sequence[str]) -> NoReturn:
    for line in lines:
        typer.echo(line, err=True)
    raise typer.Exit(EXIT_UNUSABLE)
