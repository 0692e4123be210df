"""Runs without a cluster, with a toolbox that is built once."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import podman_home
from fixtures.local_runs import LocalRuns, build_toolbox
from fixtures.podman_home import PodmanHome


@pytest.fixture(scope="session")
def toolbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_toolbox(tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="session")
def podmans_home() -> Iterator[PodmanHome]:
    # Not in pytest's folder: in that of a worker of xdist, which is deeper, Podman 4.3 was seen to miss every end of a
    # container, and to ask for it for 20 s. With this shorter one it was not.
    with tempfile.TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as folder:
        home = podman_home.make(Path(folder))
        yield home
        assert home.left() == []


@pytest.fixture
def podman(podmans_home: PodmanHome, monkeypatch: pytest.MonkeyPatch) -> PodmanHome:
    """Podman for this process and those that it starts."""
    for name, value in podmans_home.environment.items():
        monkeypatch.setenv(name, value)
    return podmans_home


@pytest.fixture
def here(toolbox: Path, tmp_path: Path) -> Iterator[LocalRuns]:
    runs = LocalRuns(toolbox, tmp_path)
    yield runs
    runs.close()
