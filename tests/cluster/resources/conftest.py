"""Runs on a real API server, without an operator: what is refused, what is kept, and in whose name."""

import pytest

from fixtures.runs import Kubectl, Runs
from fixtures.specs import TASK


@pytest.fixture
def runs(kubectl: Kubectl, definitions: None, namespace: str) -> Runs:
    del definitions
    return Runs(kubectl, namespace)


@pytest.fixture
def run(runs: Runs) -> str:
    """A Run with one task."""
    return runs.create({"tasks": [TASK]})
