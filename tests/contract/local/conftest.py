"""Runs without a cluster, with a toolbox that is built once."""

import shutil
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
    # In a folder with a short name: where its sockets' names are too long for the kernel, Podman misses a container's
    # end, and asks for it for 20 s.
    folder = Path(tempfile.mkdtemp(prefix="podman-"))
    home = podman_home.make(folder)
    yield home
    assert home.left() == []
    shutil.rmtree(folder, ignore_errors=True)


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
