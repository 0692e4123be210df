"""The guide lists every setting and every metric of the gateway, as they are."""

import re

from fixtures.tools import REPOSITORY
from runabout.control.settings import Settings
from runabout.gateway.metrics import GatewayMetrics
from runabout.gateway.settings import GatewaySettings

GUIDE = (REPOSITORY / "docs" / "guides" / "gateway.md").read_text()


def test_the_guide_lists_exactly_the_gateways_own_settings_with_their_defaults() -> None:
    rows = dict(re.findall(r"^\| `RUNABOUT_([A-Z0-9_]+)` \| (?:`([^`]*)`)? ?\|", GUIDE, re.MULTILINE))
    own = {
        name.upper(): field.default
        for name, field in GatewaySettings.model_fields.items()
        if name not in Settings.model_fields
    }
    assert rows == {name: str(value).lower() if value not in (None, ()) else "" for name, value in own.items()}


def test_the_guide_lists_exactly_the_metrics() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.+) \|$", GUIDE, re.MULTILINE)
    found = {
        metric.name + "_total" * (metric.type == "counter"): (metric.type, metric.documentation)
        for metric in GatewayMetrics().registry.collect()
    }
    assert {name: (kind, meaning) for name, kind, meaning in rows} == found
