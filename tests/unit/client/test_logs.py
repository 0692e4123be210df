"""`runabout logs` where there is nothing to read: it says which setting to look at, and makes nothing."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from runabout.__main__ import app
from runabout.client.logs import unusable
from runabout.control.settings import Settings
from runabout.ost import UnavailableError


def logs(**settings: str) -> Result:
    return CliRunner().invoke(app, ["logs", "1il7g1c000001"], env=settings)


def test_without_its_setting_the_setting_and_another_way_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = UnavailableError("listing 'logs/' in /var/lib/runabout/ost: No such file or directory")
    monkeypatch.delenv("RUNABOUT_OST", raising=False)
    assert unusable(Settings(), error) == (
        "RUNABOUT_OST is not set, and its default, file:///var/lib/runabout/ost, cannot be used (listing 'logs/' in "
        "/var/lib/runabout/ost: No such file or directory): set it to the object storage that the operator uses, or "
        "call this in the operator's pod, where it is set: "
        "kubectl -n runabout exec deploy/runabout-operator -- python3 -m runabout logs RUN; "
        "if it ran without a cluster, name the folder of `runabout run`: --store ~/.local/share/runabout"
    )


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_that_is_no_object_storage_stays_as_it_is(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "ost"
    if made:
        folder.mkdir()
    result = logs(RUNABOUT_OST=f"file://{folder}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"RUNABOUT_OST: the object storage file://{folder} cannot be used: ")
    assert result.stderr.endswith("No such file or directory; is its volume mounted?\n")
    assert list(tmp_path.rglob("*")) == ([folder] if made else [])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"RUNABOUT_OST": "ftp://x"}, "RUNABOUT_OST: the object storage ftp://x cannot be used: "),
        ({"RUNABOUT_STORE": "256"}, "RUNABOUT_STORE: "),
        ({"RUNABOUT_OSTS": "file:///x"}, "RUNABOUT_OSTS: no setting has this name; the nearest one is RUNABOUT_OST\n"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, str], said: str) -> None:
    result = logs(**settings)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(said)
