"""What `hack/test` is told, and what the stages then see; programs that they would run only say what they are given."""

import os
import subprocess
from pathlib import Path

import pytest

HACK = Path(__file__).resolve().parents[3] / "hack"
SAY = '#!/bin/sh\necho "uv $* explore=${RUNABOUT_EXPLORE:-} rounds=${RUNABOUT_ROUNDS:-}"\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with our script, and nothing else that does anything."""
    (tmp_path / "hack").mkdir()
    for name in ("test", "env.sh"):
        (tmp_path / "hack" / name).write_bytes((HACK / name).read_bytes())
    for program in (tmp_path / "hack" / "cluster", tmp_path / "uv"):
        program.write_text(SAY)
        program.chmod(0o755)
    return tmp_path


def run(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNABOUT_")}
    return subprocess.run(
        ["bash", str(checkout / "hack" / "test"), *arguments],
        env={**kept, "PATH": f"{checkout}:{os.environ['PATH']}", **variables},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "variables", "seen"),
    [
        (["unit"], {}, "explore= rounds="),
        (["--long", "unit"], {}, "explore=1 rounds=30"),
        (["unit", "--long"], {"RUNABOUT_ROUNDS": "5"}, "explore=1 rounds=5"),
        (["unit"], {"RUNABOUT_ROUNDS": "5"}, "explore= rounds=5"),
    ],
)
def test_a_long_run_tries_everything_unless_it_is_told_how_much(
    checkout: Path, arguments: list[str], variables: dict[str, str], seen: str
) -> None:
    done = run(checkout, *arguments, **variables)
    assert done.returncode == 0, done.stderr
    (stage,) = [line for line in done.stdout.splitlines() if "pytest" in line]
    assert stage.endswith(f"tests/unit {seen}")


def test_the_help_names_every_stage_and_what_a_long_run_sets(checkout: Path) -> None:
    said = run(checkout, "--help").stdout
    for word in (
        "static",
        "unit",
        "toolbox",
        "contract",
        "cluster",
        "--long",
        "RUNABOUT_EXPLORE=1",
        "RUNABOUT_ROUNDS=30",
    ):
        assert word in said
    assert run(checkout, "--longer").returncode == 2
