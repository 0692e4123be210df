"""The README's first command, as a newcomer runs it, with each kind of object storage."""

import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from cluster.conftest import uninstall_demos
from fixtures.tools import REPOSITORY

if TYPE_CHECKING:
    from cluster.conftest import Kubectl

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def taken_away(
    kubectl: "Kubectl",
    no_other_operator: None,  # noqa: ARG001 - the demo has the cluster for itself
) -> Iterator[None]:
    """The installations go again: other tests bring an operator of their own."""
    try:
        yield
    finally:
        uninstall_demos(kubectl.kubeconfig)


@pytest.mark.parametrize("arguments", [[], ["--s3"]], ids=["on a volume", "on an S3 server"])
def test_the_demo_shows_runs_from_their_start_to_their_stored_logs(
    arguments: list[str],
    taken_away: None,  # noqa: ARG001 - afterwards
) -> None:
    shown = subprocess.run(
        [str(REPOSITORY / "hack" / "demo"), *arguments], capture_output=True, text=True, timeout=570, check=False
    )
    assert shown.returncode == 0, shown.stdout[-4000:] + shown.stderr
    # What comes last was read from the object storage; the demo itself has judged how its runs ended.
    stored = shown.stdout[shown.stdout.index("The same for good, after the pods") :]
    for task in (
        "compiling 3f2a9c1",
        "unit test 3: ok",
        "released",
        "restored from the cache: table-",
        "telling people that run ",
    ):
        assert task in stored
