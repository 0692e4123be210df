"""The command line `runabout`: each command does one thing and says what to do next."""

import typer

from runabout.client.simulate import simulate

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Runs on Kubernetes.")


@app.callback()
def _runabout() -> None:
    """Check, simulate and watch runs."""


app.command()(simulate)
