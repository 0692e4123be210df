"""`runabout`: the command line with the processes of operator and gateway, and runs without either."""

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
RUN = Command(
    "runabout.local.command",
    "run_command",
    "Execute a Run on this machine, without a cluster: its tasks are processes or containers, all else as there.",
)
app = command_line({"run": RUN, **COMMANDS, "operator": OPERATOR, "gateway": GATEWAY})


def main() -> None:
    """Entry point of the `runabout` command."""
    app()


if __name__ == "__main__":
    main()
