"""A played cluster for a module's tests, and a name for each; modules that need another cluster have their own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lab.played import LASTS, Bench, played


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with played(tmp_path_factory.mktemp("operator"), exit_codes={LASTS: None}) as made:
        yield made


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Return a name of a Run that no other test has."""
    return f"run-{request.session.items.index(request.node)}"
