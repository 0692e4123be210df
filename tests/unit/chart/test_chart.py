"""What the chart makes of its values."""

import re

import pytest
import yaml

from fixtures.chart import CHART, S3, Chart, Manifest, Rendered, at, environment, helm
from runabout.control.settings import Settings


def pod_templates(rendered: Rendered) -> list[Manifest]:
    found: list[Manifest] = []
    for each in rendered.objects:
        if each["kind"] in {"Deployment", "StatefulSet", "Job"}:
            spec = at(each, "spec.template.spec")
        elif each["kind"] == "Pod":
            spec = each["spec"]
        else:
            continue
        assert isinstance(spec, dict)
        found.append(spec)
    return found


def test_helm_finds_nothing_wrong() -> None:
    result = helm("lint", "--strict", str(CHART))
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_values_are_an_installation_with_everything(chart: Chart) -> None:
    rendered = chart.render()
    assert rendered.names("Deployment") == ["runabout-operator"]
    assert rendered.names("StatefulSet") == ["runabout-etcd"]
    assert rendered.names("PersistentVolumeClaim") == ["runabout-ost"]
    assert rendered.names("Executor") == ["default"]
    assert rendered.names("Job") == ["runabout-crds", "runabout-release-finalizers"]
    assert rendered.names("Pod") == ["runabout-test"]
    assert environment(rendered) | {"RUNABOUT_NAMESPACE": None, "RUNABOUT_POD_NAME": None} == {
        "RUNABOUT_NAMESPACE": None,
        "RUNABOUT_POD_NAME": None,
        "RUNABOUT_HEALTH_PORT": "8080",
        "RUNABOUT_METRICS_PORT": "9090",
        "RUNABOUT_SCRATCH_DIR": "/var/lib/runabout/scratch",
        "RUNABOUT_SCRATCH_BYTES": "6442450944",
        "RUNABOUT_LOG_STREAMS": "1000",
        "RUNABOUT_LOG_LEVEL": "info",
        "RUNABOUT_TTL_SECONDS_AFTER_FINISHED": "86400",
        "RUNABOUT_CACHE_DAYS": "30",
        "RUNABOUT_CACHES_PER_GROUP": "100",
        "RUNABOUT_DURABILITY": "etcd",
        "RUNABOUT_TOOLBOX_IMAGE": "runabout/toolbox:dev",
        "RUNABOUT_TOOLBOX_PULL_POLICY": "IfNotPresent",
        "RUNABOUT_ETCD_ENDPOINTS": "http://runabout-etcd.ns.svc.cluster.local:2379",
        "RUNABOUT_OST": "file:///var/lib/runabout/ost",
        "RUNABOUT_GATEWAY_URL": "https://runabout-gateway.ns.svc.cluster.local",
        "RUNABOUT_GATEWAY_CA_FILE": "/etc/runabout/gateway-ca/ca.crt",
    }


def test_records_can_be_sealed_before_they_count(chart: Chart) -> None:
    assert environment(chart.render("datamanager: {durability: object}"))["RUNABOUT_DURABILITY"] == "object"


def test_labels_to_be_indexed_are_named_in_one_variable(chart: Chart) -> None:
    rendered = chart.render("datamanager: {indexedLabels: [team, example.com/part-of]}")
    assert environment(rendered)["RUNABOUT_INDEXED_LABELS"] == "team,example.com/part-of"


def test_everything_has_the_namespace_and_the_labels_of_the_release(chart: Chart) -> None:
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "Executor"}
    policies = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for each in chart.render("metrics: {serviceMonitor: {enabled: true}}").objects:
        if each["kind"] in policies:
            continue
        metadata = each["metadata"]
        assert isinstance(metadata, dict)
        assert metadata["labels"]["app.kubernetes.io/instance"] == "runabout", metadata
        assert metadata.get("namespace") == (None if each["kind"] in cluster_wide else "ns"), metadata


def test_every_pod_meets_the_restricted_pod_security_standard(chart: Chart) -> None:
    specs = pod_templates(chart.render())
    assert len(specs) == 5
    for spec in specs:
        assert at(spec, "securityContext.runAsNonRoot") is True
        assert at(spec, "securityContext.seccompProfile.type") == "RuntimeDefault"
        containers = spec["containers"]
        assert isinstance(containers, list)
        for container in containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_s3_takes_the_place_of_the_volume(chart: Chart) -> None:
    rendered = chart.render(S3)
    assert rendered.names("PersistentVolumeClaim") == []
    found = environment(rendered)
    assert found["RUNABOUT_OST"] == "s3://runs/team/a"
    assert found["RUNABOUT_S3_ENDPOINT"] == "https://s3.example.org"
    assert found["RUNABOUT_S3_REGION"] == "us-east-1"
    assert found["RUNABOUT_S3_PATH_STYLE"] == "true"
    assert found["AWS_SECRET_ACCESS_KEY"] == {"secretKeyRef": {"name": "keys", "key": "AWS_SECRET_ACCESS_KEY"}}
    volumes = at(rendered.one("Deployment", "runabout-operator"), "spec.template.spec.volumes")
    assert isinstance(volumes, list)
    assert [each["name"] for each in volumes] == ["tmp", "scratch", "gateway-ca"]


@pytest.mark.parametrize(
    ("values", "strategy"),
    [
        ("", "Recreate"),
        (S3, "RollingUpdate"),
        ("ost: {posix: {accessMode: ReadWriteMany}}", "RollingUpdate"),
        ("ost: {posix: {accessMode: ReadWriteOncePod}}", "Recreate"),
    ],
)
def test_a_volume_on_one_node_is_let_go_before_the_next_operator(chart: Chart, values: str, strategy: str) -> None:
    operator = chart.render(values).one("Deployment", "runabout-operator")
    assert at(operator, "spec.strategy.type") == strategy


def test_another_etcd_takes_the_place_of_the_own(chart: Chart) -> None:
    rendered = chart.render("etcd: {enabled: false, endpoints: ['https://a:2379', 'https://b:2379'], tlsSecret: tls}")
    assert rendered.names("StatefulSet") == rendered.names("NetworkPolicy") == []
    found = environment(rendered)
    assert found["RUNABOUT_ETCD_ENDPOINTS"] == "https://a:2379,https://b:2379"
    assert found["RUNABOUT_ETCD_CERT_FILE"] == "/etc/runabout/etcd/tls.crt"


def test_a_user_of_another_etcd_and_the_file_with_its_password_reach_the_operator(chart: Chart) -> None:
    other = "enabled: false, endpoints: ['https://a:2379']"
    rendered = chart.render(f"etcd: {{{other}, auth: {{user: ci, passwordSecret: login, passwordKey: pw}}}}")
    found = environment(rendered)
    assert found["RUNABOUT_ETCD_USER"] == "ci"
    assert found["RUNABOUT_ETCD_PASSWORD_FILE"] == "/etc/runabout/etcd-auth/pw"
    pod = at(rendered.one("Deployment", "runabout-operator"), "spec.template.spec")
    volumes, mounts = at(pod, "volumes"), at(pod, "containers.0.volumeMounts")
    assert isinstance(volumes, list)
    assert isinstance(mounts, list)
    assert {"name": "etcd-auth", "secret": {"secretName": "login", "defaultMode": 0o440}} in volumes
    assert {"name": "etcd-auth", "mountPath": "/etc/runabout/etcd-auth", "readOnly": True} in mounts
    assert "etcd-auth" not in str(chart.render().objects)


def test_tls_for_etcd_is_on_both_sides(chart: Chart) -> None:
    rendered = chart.render("etcd: {tlsSecret: tls}")
    assert environment(rendered)["RUNABOUT_ETCD_ENDPOINTS"] == "https://runabout-etcd.ns.svc.cluster.local:2379"
    arguments = at(rendered.one("StatefulSet", "runabout-etcd"), "spec.template.spec.containers.0.args")
    assert isinstance(arguments, list)
    assert "--client-cert-auth" in arguments
    assert "--listen-client-urls=https://0.0.0.0:2379" in arguments


def test_a_registry_stands_before_every_image(chart: Chart) -> None:
    values = "image: {registry: registry.example.org/mirror/, pullSecrets: [one]}\nimages: {etcd: {tag: v3.6.16}}"
    rendered = chart.render(values)
    images = set()
    for spec in pod_templates(rendered):
        assert spec["imagePullSecrets"] == [{"name": "one"}]
        containers = spec["containers"]
        assert isinstance(containers, list)
        images |= {each["image"] for each in containers}
    assert images == {
        "registry.example.org/mirror/runabout/operator:dev",
        "registry.example.org/mirror/runabout/etcd:v3.6.16",
    }
    assert environment(rendered)["RUNABOUT_TOOLBOX_IMAGE"] == "registry.example.org/mirror/runabout/toolbox:dev"


@pytest.mark.parametrize(
    ("setting", "warned"),
    [
        ("image.registry=", True),
        ("image.registry=registry.example.org/ci", False),
        ("images.operator.repository=registry.example.org/operator", False),
        ("images.operator.tag=v1", False),
    ],
)
def test_the_notes_say_when_nobody_can_pull_the_images(setting: str, warned: bool) -> None:
    result = helm("install", "runabout", str(CHART), "--dry-run=client", "--namespace", "ns", "--set", setting)
    assert result.returncode == 0, result.stderr
    assert "Wait until it works" in result.stdout
    assert ("WARNING: the images" in result.stdout) is warned


def test_a_digest_counts_instead_of_the_tag(chart: Chart) -> None:
    digest = f"sha256:{'a' * 64}"
    rendered = chart.render(f"images: {{operator: {{tag: x, digest: '{digest}'}}}}")
    image = at(rendered.one("Deployment", "runabout-operator"), "spec.template.spec.containers.0.image")
    assert image == f"runabout/operator@{digest}"


@pytest.mark.parametrize(
    ("ca", "source"),
    [
        ("configMap: mine", {"configMap": {"name": "mine"}}),
        ("secret: mine", {"secret": {"secretName": "mine", "defaultMode": 0o440}}),
        ("pem: '-----BEGIN CERTIFICATE-----'", {"configMap": {"name": "runabout-ca"}}),
    ],
)
def test_a_private_authority_reaches_the_operator(chart: Chart, ca: str, source: Manifest) -> None:
    rendered = chart.render(f"{S3}\ncaBundle: {{{ca}}}")
    assert environment(rendered)["RUNABOUT_S3_CA_FILE"] == "/etc/runabout/ca/ca.crt"
    volumes = at(rendered.one("Deployment", "runabout-operator"), "spec.template.spec.volumes")
    assert isinstance(volumes, list)
    assert {"name": "ca", **source} in volumes


def test_placement_reaches_the_pods(chart: Chart) -> None:
    placed = {
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "ci", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "podLabels": {"team": "a"},
        "podAnnotations": {"note": "b"},
    }
    spread = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]
    rendered = chart.render(
        yaml.safe_dump({"operator": {**placed, "topologySpreadConstraints": spread}, "etcd": placed})
    )
    for kind, name in (("Deployment", "runabout-operator"), ("StatefulSet", "runabout-etcd")):
        template = at(rendered.one(kind, name), "spec.template")
        assert at(template, "spec.nodeSelector") == {"disk": "fast"}
        assert at(template, "spec.tolerations") == [{"key": "ci", "operator": "Exists"}]
        assert at(template, "spec.affinity") == {"nodeAffinity": {}}
        assert at(template, "spec.priorityClassName") == "high"
        assert at(template, "metadata.labels.team") == "a"
        assert at(template, "metadata.annotations.note") == "b"
    operator = rendered.one("Deployment", "runabout-operator")
    selector = at(operator, "spec.template.spec.topologySpreadConstraints.0.labelSelector.matchLabels")
    assert selector == at(operator, "spec.selector.matchLabels")


def test_extra_environment_can_set_what_has_no_value(chart: Chart) -> None:
    rendered = chart.render("operator: {extraEnv: [{name: RUNABOUT_WORKERS, value: '8'}]}")
    assert environment(rendered)["RUNABOUT_WORKERS"] == "8"


@pytest.mark.parametrize(
    ("size", "used"), [("8Gi", 6 * 1024**3), ("10Mi", 7864320), ("2Ti", 3 * 1024**4 // 2), ("1000Gi", 750 * 1024**3)]
)
def test_logs_that_wait_get_three_quarters_of_their_volume(chart: Chart, size: str, used: int) -> None:
    rendered = chart.render(f"operator: {{scratch: {{sizeLimit: {size}}}}}")
    assert environment(rendered)["RUNABOUT_SCRATCH_BYTES"] == str(used)
    volumes = at(rendered.one("Deployment", "runabout-operator"), "spec.template.spec.volumes")
    assert isinstance(volumes, list)
    assert {"name": "scratch", "emptyDir": {"sizeLimit": size}} in volumes


@pytest.mark.parametrize("values", ["", f"{S3}\ncaBundle: {{secret: ca}}\netcd: {{tlsSecret: tls}}"])
def test_every_variable_of_the_operator_is_a_setting_that_exists(chart: Chart, values: str) -> None:
    given = environment(chart.render(values))
    names = {name.removeprefix("RUNABOUT_").lower() for name in given if name.startswith("RUNABOUT_")}
    assert len(names) > 10
    assert names <= Settings.model_fields.keys()


def test_services_in_the_namespace_add_no_variables_to_the_operator(chart: Chart) -> None:
    assert at(chart.render().one("Deployment", "runabout-operator"), "spec.template.spec.enableServiceLinks") is False


def test_roles_are_added_to_those_of_people(chart: Chart) -> None:
    rendered = chart.render()
    edit = rendered.one("ClusterRole", "runabout-edit")
    assert at(edit, "rules") == [
        {
            "apiGroups": ["runabout.dev"],
            "resources": ["runs"],
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
        }
    ]
    labels = at(edit, "metadata.labels")
    assert isinstance(labels, dict)
    aggregated = {key for key in labels if key.startswith("rbac.authorization.k8s.io/")}
    assert aggregated == {f"rbac.authorization.k8s.io/aggregate-to-{role}" for role in ("edit", "admin")}
    assert "every Secret, ConfigMap and service account" in str(at(edit, "metadata.annotations"))
    assert "aggregate-to" not in str(chart.render("rbac: {aggregate: false}").objects)


def test_the_operator_may_do_only_what_it_does(chart: Chart) -> None:
    rules = at(chart.render().one("ClusterRole", "runabout-operator"), "rules")
    assert isinstance(rules, list)
    granted = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert not [each for each in granted if "*" in each]
    assert not {each for each in granted if each[0] in {"secrets", "serviceaccounts", "pods/exec", "clusterroles"}}
    assert {verb for resource, verb in granted if resource == "configmaps"} == {"create", "get"}


@pytest.mark.parametrize("values", ["", "nameOverride: other", "fullnameOverride: mine"])
def test_the_uninstallation_waits_for_the_operators_pods_whatever_they_are_called(chart: Chart, values: str) -> None:
    rendered = chart.render(values)
    [hook] = [name for name in rendered.names("Job") if name.endswith("release-finalizers")]
    command = at(rendered.one("Job", hook), "spec.template.spec.containers.0.args")
    assert isinstance(command, list)
    options = dict(zip(command[1::2], command[2::2], strict=True))
    [operator] = rendered.names("Deployment")
    assert options["--operator"] == operator
    selected = dict(pair.split("=") for pair in options["--selector"].split(","))
    assert selected == at(rendered.one("Deployment", operator), "spec.selector.matchLabels")


def test_hooks_and_policy_can_be_left_out(chart: Chart) -> None:
    rendered = chart.render(
        "hooks: {crds: false, releaseFinalizers: false}\nnetworkPolicy: {enabled: false}\n"
        "approvalsPolicy: {enabled: false}\nmetrics: {service: false}\nexecutors: []"
    )
    for kind in ("Job", "NetworkPolicy", "ValidatingAdmissionPolicy", "Executor"):
        assert rendered.names(kind) == []
    assert rendered.names("Service") == ["runabout-etcd", "runabout-gateway"]


def test_nobody_but_the_operator_reaches_etcd(chart: Chart) -> None:
    rendered = chart.render()
    policy = rendered.one("NetworkPolicy", "runabout-etcd")
    operator = at(rendered.one("Deployment", "runabout-operator"), "spec.template.metadata.labels")
    etcd = at(rendered.one("StatefulSet", "runabout-etcd"), "spec.template.metadata.labels")
    assert isinstance(operator, dict)
    assert isinstance(etcd, dict)
    selected = at(policy, "spec.podSelector.matchLabels")
    allowed = at(policy, "spec.ingress.0.from.0.podSelector.matchLabels")
    assert isinstance(selected, dict)
    assert isinstance(allowed, dict)
    assert selected.items() <= etcd.items()
    assert allowed.items() <= operator.items()
    assert not allowed.items() <= etcd.items()


def test_a_long_release_name_makes_legal_names(chart: Chart) -> None:
    rendered = chart.render(f"fullnameOverride: {'x' * 70}")
    for each in rendered.objects:
        assert len(str(at(each, "metadata.name"))) <= 63


def test_templates_name_no_image_host() -> None:
    for file in (CHART / "templates").iterdir():
        assert not re.search(r"(docker\.io|quay\.io|ghcr\.io)", file.read_text()), file.name
