"""Which values the chart refuses, and with which words."""

import json

import jsonschema
import pytest
import yaml

from fixtures.chart import CHART, S3, Chart
from runabout.control.retention import Rule


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            "operator: {replicas: 2}",
            ["/ost/type': value must be 's3'", "/ost/posix/accessMode': value must be 'ReadWriteMany'"],
        ),
        ("gateway: {maxActive: 0}", ["/gateway/maxActive': minimum"]),
        ("gateway: {impersonation: {groups: ['a,b']}}", ["/gateway/impersonation/groups/0'"]),
        ("gateway: {tls: {cert: a}}", ["/gateway/tls': additional properties 'cert' not allowed"]),
        ("operator: {replicas: two}", ["/operator/replicas': got string, want integer"]),
        ("operator: {replica: 1}", ["/operator': additional properties 'replica' not allowed"]),
        ("oops: 1", ["additional properties 'oops' not allowed"]),
        ("ost: {type: nfs}", ["/ost/type': value must be one of 'posix', 's3'"]),
        ("ost: {type: s3}", ["/ost/s3/bucket': minLength"]),
        ("ost: {type: s3, s3: {bucket: Not_A_Bucket}}", ["/ost/s3/bucket'"]),
        ("ost: {posix: {size: lots}}", ["/ost/posix/size'"]),
        ("ost: {posix: {accessMode: ReadOnlyMany}}", ["/ost/posix/accessMode'"]),
        ("etcd: {enabled: false}", ["/etcd/endpoints': minItems"]),
        ("etcd: {endpoints: ['http://x:1']}", ["/etcd/endpoints': maxItems"]),
        ("image: {pullPolicy: Sometimes}", ["/image/pullPolicy': value must be one of"]),
        ("images: {operator: {repository: 'UPPER case'}}", ["/images/operator/repository'"]),
        ("executors: [{name: a}]", ["/executors/0': missing property 'spec'"]),
        ("executors: [{name: a, spec: {archs: []}}]", ["/executors/0/spec/archs': minItems"]),
        ("datamanager: {durability: disk}", ["/datamanager/durability': value must be one of 'etcd', 'object'"]),
        ("datamanager: {indexedLabels: ['team,app']}", ["/datamanager/indexedLabels/0'"]),
        ("datamanager: {indexedLabels: [a, b, a]}", ["/datamanager/indexedLabels': items at 0 and 2 are equal"]),
        (
            "datamanager: {indexedLabels: [a, b, c, d, e, f, g, h, i]}",
            ["/datamanager/indexedLabels': maxItems: got 9, want 8"],
        ),
        ("settings: {ttlSecondsAfterFinished: -1}", ["/settings/ttlSecondsAfterFinished': minimum"]),
        ("caBundle: {pem: no certificate}", ["/caBundle/pem'"]),
        (f"caBundle: {{configMap: a, secret: b}}\n{S3}", ["caBundle: set only one of pem, configMap and secret"]),
        ("caBundle: {configMap: a}", ["/ost/type': value must be 's3'"]),
        ("caBundle: {secret: a}", ["/ost/type': value must be 's3'"]),
        ("caBundle: {pem: '-----BEGIN CERTIFICATE-----'}", ["/ost/type': value must be 's3'"]),
        ("serviceAccount: {create: false}", ["serviceAccount.name: needed"]),
        ("etcd: {auth: {user: a, passwordSecret: b}}", ["etcd.auth.user: the etcd of the chart has no users"]),
        (
            "etcd: {enabled: false, endpoints: ['http://x:1'], auth: {user: a}}",
            ["etcd.auth: set both user and passwordSecret, or none"],
        ),
        ("operator: {resources: {limits: {cpu: -1}}}", ["/operator/resources/limits/cpu': minimum"]),
        ("operator: {resources: {limits: {memory: lots}}}", ["/operator/resources/limits/memory'"]),
        (
            "operator: {resources: {limits: {'no name': 1}}}",
            ["/operator/resources/limits': additional properties 'no name'"],
        ),
        ("operator: {resources: {memory: 1Gi}}", ["/operator/resources': additional properties 'memory' not allowed"]),
        ("operator: {logStreams: 0}", ["/operator/logStreams': minimum"]),
        ("operator: {scratch: {sizeLimit: 8G}}", ["/operator/scratch/sizeLimit'"]),
        ("operator: {scratch: {sizeLimit: 0Gi}}", ["/operator/scratch/sizeLimit'"]),
        ("etcd: {auth: {password: a}}", ["/etcd/auth': additional properties 'password' not allowed"]),
    ],
)
def test_values_that_cannot_work_are_refused_with_their_path(chart: Chart, values: str, words: list[str]) -> None:
    said = chart.refusal(values)
    for each in words:
        assert each in said


@pytest.mark.parametrize(
    "values",
    [
        f"operator: {{replicas: 3}}\n{S3}",
        "operator: {replicas: 3}\nost: {posix: {accessMode: ReadWriteMany, existingClaim: shared}}",
        "operator: {replicas: 0}",
        "operator: {resources: {limits: {cpu: 1.5, memory: 2Gi, ephemeral-storage: 1e9, example.org/gpu: 1}}}",
        "global: {anything: goes}",
    ],
)
def test_values_that_work_are_accepted(chart: Chart, values: str) -> None:
    assert "runabout-operator" in chart.render(values).names("Deployment")


def test_the_schema_is_one_and_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)

    def compare(values: object, known: dict[str, object], path: str) -> None:
        if isinstance(values, dict) and "properties" in known:
            properties = known["properties"]
            assert isinstance(properties, dict)
            for name, value in values.items():
                assert name in properties, f"{path}.{name}"
                compare(value, properties[name], f"{path}.{name}")

    compare(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "")


def test_a_rule_of_retention_has_the_fields_that_the_operator_reads() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    rule = schema["properties"]["settings"]["properties"]["retention"]["items"]
    assert set(rule["properties"]) == {field.alias or name for name, field in Rule.model_fields.items()}
