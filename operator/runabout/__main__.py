"""`runabout`: the command line with the operator's process as one of its commands."""

from runabout.client.cli import COMMANDS, Command, command_line

OPERATOR = Command(
    "runabout.handlers.process",
    "operator",
    "Run the operator; its settings come from the environment (RUNABOUT_…).",
)
app = command_line({**COMMANDS, "operator": OPERATOR})


def main() -> None:
    """Entry point of the `runabout` command."""
    app()


if __name__ == "__main__":
    main()
