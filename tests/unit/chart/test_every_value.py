"""No value of the chart is ignored: another one makes another rendering, or the value is named here with a reason.

Texts, numbers, lists and maps are set to something that is found again in the rendering, many at once; switches and
words out of a few are changed one at a time.
"""

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from fixtures.chart import CHART, Chart

WITHOUT_EFFECT_ALONE = {
    "etcd.enabled": "false is refused without etcd.endpoints, and true with them; test_chart has what the two do",
}
BESIDE = {
    "ost.s3": "ost: {type: s3, s3: {bucket: runs}}",
    "caBundle": "ost: {type: s3, s3: {bucket: runs}}",
    "caBundle.key": "{ost: {type: s3, s3: {bucket: runs}}, caBundle: {configMap: authorities}}",
    "operator.replicas": "ost: {type: s3, s3: {bucket: runs}}",
    "gateway": "ost: {type: s3, s3: {bucket: runs}}",
    "ost.type": "ost: {s3: {bucket: runs}}",
    "etcd.endpoints": 'etcd: {enabled: false, endpoints: ["https://etcd"]}',
    "etcd.auth": 'etcd: {enabled: false, endpoints: ["https://etcd"], auth: {user: u, passwordSecret: s}}',
    "serviceAccount.create": "serviceAccount: {name: mine}",
    "metrics.serviceMonitor.labels": "metrics: {serviceMonitor: {enabled: true}}",
    "metrics.serviceMonitor.interval": "metrics: {serviceMonitor: {enabled: true}}",
}
"""What has to be set for a value, or all below it, to count; the longest beginning decides."""
WORDS: dict[str, object] = {
    "image.pullPolicy": "Never",
    "images.toolbox.pullPolicy": "Never",
    "operator.replicas": 3,
    "settings.logLevel": "debug",
    "ost.type": "s3",
    "ost.posix.accessMode": "ReadWriteMany",
    "datamanager.durability": "object",
}
"""Another value where only a few are allowed; that of a switch is its opposite."""
ALONE = (".digest", "caBundle.pem", "caBundle.configMap", "caBundle.secret", "ost.posix.existingClaim")
"""Ends of values that others have to give way to."""
SHAPES = {
    "digest": "sha256:" + "0" * 60 + "NUMBER",
    "cpu": "NUMBERm",
    "memory": "NUMBERMi",
    "size": "NUMBERGi",
    "sizeLimit": "NUMBERGi",
    "interval": "NUMBERs",
    "quotaBytes": "100000NUMBER",
    "endpoint": "https://MARK",
    "endpoints": '["https://MARK"]',
    "pem": '"-----BEGIN CERTIFICATE----- MARK"',
    "tolerations": "[{key: MARK}]",
    "topologySpreadConstraints": "[{topologyKey: MARK}]",
    "extraEnv": "[{name: MARK}]",
    "retention": "[{group: /MARK}]",
    "executors": "[{name: MARK, spec: {archs: [amd64]}}]",
}
"""How values are written that not every text is good for, by the last part of their names."""
FIRST_NUMBER = 3001


def leaves(values: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value


LEAVES = dict(leaves(yaml.safe_load((CHART / "values.yaml").read_text())))
SWITCHES = {name: not value for name, value in LEAVES.items() if isinstance(value, bool)}
ONE_AT_A_TIME = {name: value for name, value in {**SWITCHES, **WORDS}.items() if name not in WITHOUT_EFFECT_ALONE}


def beside(name: str) -> str:
    return next((BESIDE[begin] for begin in sorted(BESIDE, reverse=True) if f"{name}.".startswith(f"{begin}.")), "")


def groups() -> dict[str, list[str]]:
    """The values that can be set together, by the name of the first."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in LEAVES:
        if name not in ONE_AT_A_TIME and name not in WITHOUT_EFFECT_ALONE:
            found.setdefault((beside(name), name if name.endswith(ALONE) else ""), []).append(name)
    return {names[0]: names for names in found.values()}


def marked(name: str, value: object, number: int) -> tuple[object, str]:
    """Return another value that tells in the rendering, and what to look for there."""
    shape = SHAPES.get(name.rsplit(".", 1)[-1])
    if shape is None:
        shape = {int: "NUMBER", list: "[MARK]", dict: "{MARK: x}"}.get(type(value), "MARK")
    mark = f"mark-{number}" if "MARK" in shape else str(number)
    return yaml.safe_load(shape.replace("MARK", mark).replace("NUMBER", mark)), mark


@cache
def rendered(values: str) -> str:
    with TemporaryDirectory() as folder:
        objects = Chart(Path(folder)).render(values).objects
    # A certificate is another one each time.
    return yaml.safe_dump_all([{**each, "data": {}} if each["kind"] == "Secret" else each for each in objects])


def with_values(values: str, changes: Mapping[str, object]) -> str:
    root = copy.deepcopy(yaml.safe_load(values) or {})
    for name, value in changes.items():
        *folders, last = name.split(".")
        place = root
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return yaml.safe_dump(root)


@pytest.mark.parametrize("first", groups())
def test_what_a_value_says_stands_in_what_is_installed(first: str) -> None:
    changes = {name: marked(name, LEAVES[name], FIRST_NUMBER + place) for place, name in enumerate(groups()[first])}
    before = rendered(beside(first))
    after = rendered(with_values(beside(first), {name: value for name, (value, _) in changes.items()}))
    assert [name for name, (_, mark) in changes.items() if mark in before] == []
    assert [name for name, (_, mark) in changes.items() if mark not in after] == []


@pytest.mark.parametrize(("name", "value"), ONE_AT_A_TIME.items())
def test_a_switch_changes_what_is_installed(name: str, value: object) -> None:
    assert rendered(with_values(beside(name), {name: value})) != rendered(beside(name))


@pytest.mark.parametrize("name", WITHOUT_EFFECT_ALONE)
def test_what_is_named_as_without_effect_has_none(name: str, chart: Chart) -> None:
    value = SWITCHES.get(name, 7)
    if name in SWITCHES:
        assert chart.refusal(with_values("", {name: value}))
    else:
        assert rendered(with_values("", {name: value})) == rendered("")
