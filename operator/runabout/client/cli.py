"""The command line `runabout`: each command does one thing and says what to do next.

A command is imported when it is asked for: who checks a file does not wait for the clients of object storages.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is: a function, or a `Typer` with commands of its own; `help` is the first line of its own."""

    module: str
    attribute: str
    help: str
    hidden: bool = False


COMMANDS: Mapping[str, Command] = {
    "check": Command(
        "runabout.client.check",
        "check_command",
        "Check files with Runs and Executors: schema, graph, and all other rules.",
    ),
    "simulate": Command(
        "runabout.client.simulate",
        "simulate",
        "Play a Run without a cluster: what would happen if a task failed, if it were stopped?",
    ),
    "logs": Command(
        "runabout.client.logs", "logs", "Print the stored logs of a run; RUNABOUT_OST says where they are."
    ),
    "restart": Command("runabout.client.verbs", "restart", "Run a run again, or what failed of it: creates a new Run."),
    "stop": Command(
        "runabout.client.verbs",
        "stop",
        "Stop a run for good: what runs is told to end, what waits does not start.",
    ),
    "approve": Command("runabout.client.verbs", "approve", "Approve a task that waits for it, in your own name."),
    "refuse": Command(
        "runabout.client.verbs",
        "refuse",
        "Refuse a task that waits for its approval, in your own name: it fails without having started.",
    ),
    "apply-crds": Command(
        "runabout.client.maintenance",
        "apply_crds",
        "Bring the definitions of Run and Executor up to date.",
        hidden=True,
    ),
    "release-finalizers": Command(
        "runabout.client.maintenance",
        "release_finalizers",
        "Let every Run be deleted without waiting for the operator; records that are stored stay.",
        hidden=True,
    ),
    "selftest": Command(
        "runabout.client.maintenance", "selftest", "Apply a Run with two tasks, wait for its end, and remove it."
    ),
    "data": Command(
        "runabout.client.data",
        "data",
        "Look into the store of records, check it, and copy it as files. The settings are the operator's: RUNABOUT_…",
    ),
}


def command_line(commands: Mapping[str, Command]) -> typer.Typer:
    """Return the command line with these commands."""

    class Group(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - typer has click inside, and its types
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:  # noqa: ANN401, ARG002 - as above
            """Return what the list of commands says of one."""
            found = commands.get(cmd_name)
            return None if found is None else TyperCommand(cmd_name, help=found.help, hidden=found.hidden)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - as above
            """Return the command that is to be executed."""
            name, said, rest = super().resolve_command(ctx, args)
            return name, said if said is None or name is None else _loaded(name, commands[name]), rest

    app = typer.Typer(cls=Group, no_args_is_help=True, add_completion=False, help="Runs on Kubernetes.")

    @app.callback()
    def _runabout() -> None:
        """Check, simulate and watch runs."""

    return app


def _loaded(name: str, command: Command) -> Any:  # noqa: ANN401 - a command of the click inside typer
    found = getattr(importlib.import_module(command.module), command.attribute)
    if isinstance(found, typer.Typer):
        made = typer.main.get_command(found)
        made.name = name
        return made
    app = typer.Typer(add_completion=False)
    app.command(name, hidden=command.hidden)(found)
    return typer.main.get_command(app)
