"""Where the chart puts the gateway, and what it tells it and those who call it."""

import base64
import re

import pytest
import yaml
from cryptography import x509

from fixtures.chart import S3, Chart, Rendered, at, environment
from runabout.gateway.settings import GatewaySettings


def gateways(rendered: Rendered, deployment: str) -> list[dict[str, object]]:
    containers = at(rendered.one("Deployment", deployment), "spec.template.spec.containers")
    assert isinstance(containers, list)
    return [each for each in containers if each["name"] == "gateway"]


def test_a_volume_of_one_node_has_the_gateway_beside_the_operator(chart: Chart) -> None:
    rendered = chart.render()
    assert rendered.names("Deployment") == ["runabout-operator"]
    [gateway] = gateways(rendered, "runabout-operator")
    assert {"name": "ost", "mountPath": "/var/lib/runabout/ost"} in at(gateway, "volumeMounts")  # type: ignore[operator] # a list
    service = rendered.one("Service", "runabout-gateway")
    assert at(service, "spec.selector") == at(
        rendered.one("Deployment", "runabout-operator"), "spec.selector.matchLabels"
    )
    assert at(rendered.one("ClusterRoleBinding", "runabout-gateway"), "subjects.0.name") == "runabout-operator"


@pytest.mark.parametrize("values", [S3, "ost: {posix: {accessMode: ReadWriteMany}}"], ids=["s3", "a shared volume"])
def test_storage_that_can_be_shared_has_the_gateway_apart(chart: Chart, values: str) -> None:
    rendered = chart.render(f"gateway: {{replicas: 3}}\n{values}")
    assert gateways(rendered, "runabout-operator") == []
    deployment = rendered.one("Deployment", "runabout-gateway")
    assert at(deployment, "spec.replicas") == 3
    service = rendered.one("Service", "runabout-gateway")
    assert at(service, "spec.selector") == at(deployment, "spec.selector.matchLabels")
    assert at(rendered.one("ClusterRoleBinding", "runabout-gateway"), "subjects.0.name") == "runabout-gateway"
    selectors = at(rendered.one("NetworkPolicy", "runabout-etcd"), "spec.ingress.0.from")
    assert isinstance(selectors, list)
    labels = at(deployment, "spec.template.metadata.labels")
    assert isinstance(labels, dict)
    assert any(at(each, "podSelector.matchLabels").items() <= labels.items() for each in selectors)  # type: ignore[attr-defined] # a mapping


def test_gateway_and_operator_look_at_the_same_records_and_objects(chart: Chart) -> None:
    tls = "etcd: {tlsSecret: etcd-tls}\ncaBundle: {secret: authorities}"
    rendered = chart.render(f"{S3}\n{tls}")
    variables = [
        {each["name"]: each for each in at(rendered.one("Deployment", name), "spec.template.spec.containers.0.env")}  # type: ignore[attr-defined] # a list
        for name in ("runabout-operator", "runabout-gateway")
    ]
    shared = {name for name in variables[0] if re.match("RUNABOUT_(ETCD|OST|S3)|AWS", name)}
    assert len(shared) == 12
    assert {name: variables[0][name] for name in shared} == {name: variables[1].get(name) for name in shared}


def test_the_certificate_is_for_the_address_that_tasks_are_told(chart: Chart) -> None:
    rendered = chart.render()
    secret = rendered.one("Secret", "runabout-gateway-tls")
    certificate = x509.load_pem_x509_certificate(base64.b64decode(str(at(secret, "data")["tls.crt"])))  # type: ignore[index] # a mapping
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    url = str(environment(rendered)["RUNABOUT_GATEWAY_URL"])
    assert url.removeprefix("https://") in names.get_values_for_type(x509.DNSName)
    own = chart.render("gateway: {tls: {existingSecret: mine, caKey: ''}}")
    assert own.names("Secret") == []
    assert "RUNABOUT_GATEWAY_CA_FILE" not in environment(own)


def test_without_a_gateway_nothing_of_it_is_there(chart: Chart) -> None:
    rendered = chart.render("gateway: {enabled: false}")
    assert "gateway" not in yaml.safe_dump(rendered.objects)
    assert "RUNABOUT_GATEWAY_URL" not in environment(rendered)


def test_every_variable_of_the_gateway_is_a_setting_of_it(chart: Chart) -> None:
    [gateway] = gateways(chart.render("gateway: {impersonation: {groups: [a]}}"), "runabout-operator")
    variables = at(gateway, "env")
    assert isinstance(variables, list)
    names = {each["name"].removeprefix("RUNABOUT_").lower() for each in variables}
    assert names <= set(GatewaySettings.model_fields)
    assert "gateway_groups" in names
