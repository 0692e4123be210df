"""The page for those who operate Runabout lists every metric, with its type and its meaning."""

import re

from fixtures.tools import REPOSITORY
from runabout.control.metrics import Metrics

PAGE = (REPOSITORY / "docs" / "guides" / "operating.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", re.MULTILINE)


def test_every_metric_has_a_row_that_says_what_the_metric_says() -> None:
    rows = {name: (kind, meaning.replace("`", "")) for name, kind, meaning in ROW.findall(PAGE)}
    found = {
        metric.name + "_total" * (metric.type == "counter"): (metric.type, metric.documentation.rstrip("."))
        for metric in Metrics().registry.collect()
    }
    assert rows.keys() == found.keys()
    for name, (kind, documentation) in found.items():
        assert rows[name][0] == kind
        assert rows[name][1].startswith(documentation), name
