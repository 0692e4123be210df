"""`runabout`: the command line with the processes of operator and gateway among its commands."""

from runabout.client.cli import COMMANDS, Command, command_line

OPERATOR = Command(
    "runabout.handlers.process",
    "operator",
    "Run the operator; its settings come from the environment (RUNABOUT_…).",
)
GATEWAY = Command(
    "runabout.gateway.process",
    "gateway",
    "Run the gateway; its settings come from the environment (RUNABOUT_…).",
)
app = command_line({**COMMANDS, "operator": OPERATOR, "gateway": GATEWAY})


def main() -> None:
    """Entry point of the `runabout` command."""
    app()


if __name__ == "__main__":
    main()
