"""`runabout data`: settings, exit codes, and what a person sees, without any store."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from runabout.__main__ import app
from runabout.client.progress import Teller, size
from runabout.datamanager.progress import Step

COMMANDS = (("stat",), ("check",), ("export", "FOLDER"), ("import", "FOLDER"))
NOWHERE = "http://127.0.0.1:1"


def data(*arguments: str, ost: Path, **settings: str) -> Result:
    environment = {"RUNABOUT_OST": f"file://{ost}", "RUNABOUT_ETCD_ENDPOINTS": NOWHERE, **settings}
    return CliRunner().invoke(app, ["data", *arguments], env=environment)


def commands(folder: Path) -> list[list[str]]:
    return [[str(folder) if each == "FOLDER" else each for each in command] for command in COMMANDS]


@pytest.mark.parametrize("command", [each[0] for each in COMMANDS])
def test_each_command_says_what_it_does(command: str, tmp_path: Path) -> None:
    result = data(command, "--help", ost=tmp_path)
    assert result.exit_code == 0
    assert f"data {command}" in result.stdout


def test_without_a_command_there_is_help(tmp_path: Path) -> None:
    assert "Look into the store of records" in data(ost=tmp_path).output


@pytest.mark.parametrize("place", range(len(COMMANDS)))
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"RUNABOUT_STORE": "256"}, "RUNABOUT_STORE: "),
        ({"RUNABOUT_ETCD_ENDPOINT": "http://x"}, "the nearest one is RUNABOUT_ETCD_ENDPOINTS"),
        ({"RUNABOUT_ETCD_ENDPOINTS": "ftp://x"}, "RUNABOUT_ETCD_ENDPOINTS: "),
        ({"RUNABOUT_ETCD_CA_FILE": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
        ({"RUNABOUT_OST": "ftp://x"}, "is neither file:///DIRECTORY nor s3://BUCKET/PREFIX"),
    ],
    ids=["store", "mistyped", "endpoint", "certificate", "object storage"],
)
def test_wrong_settings_are_named_in_one_sentence(
    place: int, settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    result = data(*commands(tmp_path / "e")[place], ost=tmp_path / "ost", **settings)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert said in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_to_import_that_is_not_there_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    result = data("import", str(tmp_path / "nowhere"), ost=tmp_path / "ost")
    assert result.exit_code == 1
    assert result.stderr == (f"{tmp_path}/nowhere is no folder: name one that `runabout data export` has written\n")
    assert not list(tmp_path.iterdir())


def test_a_folder_to_export_into_that_has_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = data("export", str(tmp_path), ost=tmp_path / "ost")
    assert result.exit_code == 1
    assert result.stderr == f"{tmp_path} is not empty: name an empty folder, or one that is not there\n"


def test_folders_are_arguments_that_must_be_given(tmp_path: Path) -> None:
    for command in ("export", "import"):
        assert data(command, ost=tmp_path).exit_code == 2


def test_progress_is_silent_at_first_and_then_says_something_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    tell = Teller(lambda: now)
    for second, step in enumerate(
        [
            Step("checking objects", 1024, 4096, "bytes"),
            Step("checking objects", 1024, 4096, "bytes"),
            Step("checking objects", 2048, 4096, "bytes"),
            Step("reading the log", 5, 10, "batches"),
            Step("writing", 12_000, 0, "documents"),
        ],
        start=1,
    ):
        now = second * 1.5
        tell(step)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "checking objects: 1.0 KiB of 4.0 KiB (25 %)",
        "reading the log: 5 of 10 batches (50 %)",
    ]
    now = 30.0
    tell(Step("writing", 12_000, 0, "documents"))
    assert capsys.readouterr().err == "writing: 12,000 documents\n"


def test_sizes_are_for_people() -> None:
    assert [size(each) for each in (0, 1023, 1024, 3 * 1024**3, 2 * 1024**5)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "3.0 GiB",
        "2048.0 TiB",
    ]
