"""The command line: what it lists is there, and who asks for a little does not wait for everything."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from runabout.__main__ import GATEWAY, OPERATOR, RUN, app
from runabout.client.cli import COMMANDS, Command

ALL = {"run": RUN, **COMMANDS, "operator": OPERATOR, "gateway": GATEWAY}
HEAVY = ["boto3", "kopf", "kubernetes", "pyarrow", "grpc"]


def said(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    return " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(("name", "command"), ALL.items(), ids=ALL)
def test_a_command_says_of_itself_what_the_list_says_of_it(name: str, command: Command) -> None:
    assert command.help in said(name, "--help")


def test_the_list_has_every_command_for_people() -> None:
    listed = said("--help")
    for name, command in ALL.items():
        assert (f"{name} {command.help}" in listed) is not command.hidden


def test_an_unknown_command_is_named() -> None:
    result = CliRunner().invoke(app, ["chek"])
    assert result.exit_code == 2
    assert "No such command 'chek'" in result.output


@pytest.mark.parametrize("words", ["--help", "check --help", "simulate --help", "run --help", "run no-file"])
def test_what_needs_no_cluster_and_no_storage_loads_none_of_their_clients(words: str) -> None:
    code = (
        "import sys\n"
        "from runabout.__main__ import main\n"
        f"sys.argv[1:] = {words.split()!r}\n"
        "try: main()\n"
        f"finally: print('loaded', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    output = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stdout
    assert output.splitlines()[-1] == "loaded []"
