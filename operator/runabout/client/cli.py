"""The command line `runabout`: each command does one thing and says what to do next."""

import typer

from runabout.client.check import check_command
from runabout.client.data import data
from runabout.client.logs import logs
from runabout.client.maintenance import apply_crds, release_finalizers, selftest
from runabout.client.simulate import simulate

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Runs on Kubernetes.")


@app.callback()
def _runabout() -> None:
    """Check, simulate and watch runs."""


app.command("check")(check_command)
app.command()(simulate)
app.command()(logs)
app.command(hidden=True)(apply_crds)
app.command(hidden=True)(release_finalizers)
app.command()(selftest)
app.add_typer(data, name="data")
