"""Runs without a cluster, with a toolbox that is built once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.local_runs import LocalRuns, build_toolbox


@pytest.fixture(scope="session")
def toolbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_toolbox(tmp_path_factory.mktemp("bin"))


@pytest.fixture
def here(toolbox: Path, tmp_path: Path) -> Iterator[LocalRuns]:
    runs = LocalRuns(toolbox, tmp_path)
    yield runs
    runs.close()
