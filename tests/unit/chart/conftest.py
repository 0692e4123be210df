from pathlib import Path

import pytest

from fixtures.chart import Chart


@pytest.fixture
def chart(tmp_path: Path) -> Chart:
    return Chart(tmp_path)
