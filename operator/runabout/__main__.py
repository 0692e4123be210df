"""`runabout`: the command line with the operator's process as one of its commands."""

import sys

from runabout.client.cli import app
from runabout.handlers.process import run_operator


@app.command()
def operator() -> None:
    """Run the operator; its settings come from the environment (RUNABOUT_…)."""
    sys.exit(run_operator())


def main() -> None:
    """Entry point of the `runabout` command."""
    app()


if __name__ == "__main__":
    main()
