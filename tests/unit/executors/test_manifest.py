"""Task pods as JSON: what is in them, what cannot be overridden, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import yaml

from runabout.executors.errors import InvalidPodError
from runabout.executors.manifest import MAX_ANNOTATION_PLAN, MAX_PLAN, PodManifest, PodSettings, pod_manifest
from runabout.executors.names import PodKey, parse_labels
from runabout.executors.plan import step_names
from runabout.records import EnvVar, EnvVarSource, RunConfig, RunId, TaskConfig

DATA = Path(__file__).parents[2] / "data" / "manifests"
RUN = RunId("1il7g1c000001")
SETTINGS = PodSettings(toolbox_image="runabout/toolbox:1")
CONFIG = RunConfig(
    id=RUN,
    namespace="ci",
    name="web-118",
    uid="c0ffee",
    group="/ci/project/web/branch/main",
    cache_group="/ci/project/web",
    created=0,
    environment=(EnvVar("COMMIT", "3f2a9c1"), EnvVar("LEVEL", "environment")),
    static_environment=(EnvVar("CI", "true"), EnvVar("LEVEL", "static")),
)
BODY: dict[str, Any] = {"containers": [{"image": "golang:1.26"}], "steps": [{"run": "go build ./..."}]}


def task(**body: object) -> TaskConfig:
    return TaskConfig(name="build", body={**BODY, **body})


def container(**fields: object) -> list[dict[str, object]]:
    return [{"image": "golang:1.26", **fields}]


def made(
    of: TaskConfig,
    *,
    config: RunConfig = CONFIG,
    settings: PodSettings = SETTINGS,
    executor_pod: dict[str, object] | None = None,
) -> PodManifest:
    return pod_manifest(config, of, attempt=1, counter=118, executor_pod=executor_pod or {}, settings=settings)


def pod(
    of: TaskConfig,
    *,
    config: RunConfig = CONFIG,
    settings: PodSettings = SETTINGS,
    executor_pod: dict[str, object] | None = None,
) -> dict[str, Any]:
    manifest = made(of, config=config, settings=settings, executor_pod=executor_pod)
    return cast("dict[str, Any]", json.loads(orjson.dumps(manifest.pod)))


def main(of: TaskConfig, *, config: RunConfig = CONFIG, settings: PodSettings = SETTINGS) -> dict[str, Any]:
    return cast("dict[str, Any]", pod(of, config=config, settings=settings)["spec"]["containers"][0])


def plan(of: TaskConfig) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(pod(of)["metadata"]["annotations"]["runabout.dev/plan"]))


def environment(of: TaskConfig) -> dict[str, Any]:
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in main(of)["env"]}


def test_a_pod_is_made_as_the_example_says() -> None:
    example = yaml.safe_load((DATA / "build.yaml").read_text())
    of = TaskConfig(name="build", arch="amd64", timeout_seconds=900, body=example["task"])

    manifest = made(of, config=replace(CONFIG, pod=example["run"]), executor_pod=example["executor"])
    found = json.loads(orjson.dumps(manifest.pod))
    carried = json.loads(found["metadata"]["annotations"].pop("runabout.dev/plan"))

    assert found == example["pod"]
    assert carried == example["plan"]
    assert manifest.config_map is None
    assert (manifest.namespace, manifest.name, manifest.container) == ("ci", "1il7g1c000001-build-1", "compiler")


def test_the_labels_say_whose_pod_it_is() -> None:
    assert parse_labels(pod(task())["metadata"]["labels"]) == PodKey(RUN, "build", 1)


def test_the_same_arguments_give_the_same_bytes() -> None:
    assert orjson.dumps(made(task()).pod) == orjson.dumps(made(task()).pod)


def test_a_plan_too_large_for_an_annotation_goes_into_a_config_map() -> None:
    manifest = made(task(steps=[{"run": "x" * MAX_ANNOTATION_PLAN}]))
    assert manifest.config_map is not None
    config_map = json.loads(orjson.dumps(manifest.config_map))
    found = json.loads(orjson.dumps(manifest.pod))

    assert "runabout.dev/plan" not in found["metadata"]["annotations"]
    assert {"name": "runabout-plan", "configMap": {"name": manifest.name}} in found["spec"]["volumes"]
    assert config_map["metadata"]["name"] == manifest.name
    assert config_map["metadata"]["ownerReferences"] == found["metadata"]["ownerReferences"]
    assert config_map["immutable"] is True
    assert json.loads(config_map["data"]["plan.json"])["steps"][0]["command"] == "x" * MAX_ANNOTATION_PLAN
    assert len(orjson.dumps(manifest.pod)) < 64 * 1024


def test_a_pod_with_its_plan_stays_below_64_kib_where_it_is_stored() -> None:
    manifest = made(task(steps=[{"run": '"\n' * (MAX_ANNOTATION_PLAN // 4 - 200)}]))
    assert manifest.config_map is None
    stored = pod(task(steps=[{"run": '"\n' * (MAX_ANNOTATION_PLAN // 4 - 200)}]))
    carried = stored["metadata"]["annotations"].pop("runabout.dev/plan")

    assert MAX_ANNOTATION_PLAN - 1024 < len(carried) <= MAX_ANNOTATION_PLAN
    assert len(carried) + len(orjson.dumps(stored)) < 64 * 1024


def test_a_plan_too_large_for_a_config_map_is_refused_with_its_size() -> None:
    with pytest.raises(InvalidPodError, match=r"tasks\[build\].steps: .* bytes, more than the 1048576"):
        made(task(steps=[{"run": "x" * MAX_PLAN}]))


def test_each_level_of_the_environment_is_stronger_than_the_one_before() -> None:
    def level(name: str) -> list[dict[str, str]]:
        return [{"name": "LEVEL", "value": name}, {"name": f"ONLY_{name.upper()}", "value": name}]

    of = task(containers=container(environment=level("container")), environment=level("task"))
    found = environment(of)

    assert found["LEVEL"] == "environment"
    assert (found["ONLY_CONTAINER"], found["ONLY_TASK"], found["CI"]) == ("container", "task", "true")

    weaker = replace(CONFIG, environment=())
    assert {item["name"]: item["value"] for item in main(of, config=weaker)["env"]}["LEVEL"] == "static"


def test_the_values_of_a_variant_are_variables_at_the_level_of_its_task() -> None:
    of = task(containers=container(environment=[{"name": "GO", "value": "container"}]))
    variant = replace(of, values={"GO": "1.25$", "CI": "task"})
    found = environment(variant)

    assert (found["GO"], found["CI"]) == ("1.25$$", "true")
    with pytest.raises(InvalidPodError, match=r"tasks\[build\].matrix: the variable RUNABOUT_X cannot be set"):
        made(replace(of, values={"RUNABOUT_X": "x"}))


def test_a_steps_variables_travel_in_the_plan_and_its_secrets_in_the_container() -> None:
    secret = {"secretKeyRef": {"name": "registry", "key": "password"}}
    of = task(
        steps=[
            {"run": "a", "environment": [{"name": "A", "value": "$(B) $$"}]},
            {"run": "b", "environment": [{"name": "TOKEN", "valueFrom": secret}]},
        ]
    )

    assert plan(of)["steps"][0]["environment"] == [{"name": "A", "value": "$(B) $$"}]
    assert plan(of)["steps"][1]["environment"] == [{"name": "TOKEN", "from": "RUNABOUT_ENV_0"}]
    assert environment(of)["RUNABOUT_ENV_0"] == secret


def test_references_of_the_run_are_resolved_by_kubernetes() -> None:
    config = replace(CONFIG, environment=(EnvVar("T", value_from=EnvVarSource("secretKeyRef", "s", "k")),))

    assert {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}} in main(task(), config=config)["env"]


def test_the_built_in_variables_say_where_a_step_is() -> None:
    assert {key: value for key, value in environment(task()).items() if key.startswith("RUNABOUT_")} == {
        "RUNABOUT_RUN_ID": RUN,
        "RUNABOUT_RUN": "web-118",
        "RUNABOUT_NAMESPACE": "ci",
        "RUNABOUT_GROUP": "/project/web/branch/main",
        "RUNABOUT_COUNTER": "118",
        "RUNABOUT_TASK": "build",
        "RUNABOUT_ATTEMPT": "1",
    }


def test_a_step_without_a_name_is_called_after_its_kind_and_place() -> None:
    of = task(steps=[{"name": "compile", "run": "a"}, {"run": "b"}])

    assert step_names(of) == ("compile", "run-2")
    assert [step["name"] for step in plan(of)["steps"]] == ["compile", "run-2"]


def test_the_architecture_selects_the_node() -> None:
    of = replace(task(), arch="arm64")

    assert pod(of)["spec"]["nodeSelector"] == {"kubernetes.io/arch": "arm64"}
    with pytest.raises(InvalidPodError, match="contradicts the task's arch arm64"):
        made(of, executor_pod={"nodeSelector": {"kubernetes.io/arch": "amd64"}})


def test_a_container_gets_all_that_restricted_asks_for_but_non_root() -> None:
    found = pod(task())

    assert found["spec"]["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert found["spec"]["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_restricted_namespace_gets_non_root_too() -> None:
    restricted = replace(SETTINGS, restricted=True, add_capabilities=("CHOWN",))
    found = pod(task(user="1000:1000", steps=[{"run": "a", "user": "2"}]), settings=restricted)

    assert found["spec"]["securityContext"]["runAsNonRoot"] is True
    for each in (*found["spec"]["containers"], *found["spec"]["initContainers"]):
        assert each["securityContext"]["runAsNonRoot"] is True
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    with pytest.raises(InvalidPodError, match="only true is allowed"):
        made(task(pod={"securityContext": {"runAsNonRoot": False}}), settings=restricted)


def test_steps_of_other_users_keep_what_changing_users_takes() -> None:
    needed = {"drop": ["ALL"], "add": ["CHOWN", "KILL", "SETGID", "SETUID"]}

    assert main(task(user="ci"))["securityContext"]["capabilities"] == needed
    assert main(task(steps=[{"run": "a", "user": "1000"}]))["securityContext"]["capabilities"] == needed
    assert main(task(user="1000"))["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_numeric_user_is_the_containers() -> None:
    assert (
        main(task(user="1000:100"))["securityContext"] | {"runAsUser": 1000, "runAsGroup": 100}
        == main(task(containers=container(user="1000:100")))["securityContext"]
    )
    assert plan(task(user="1000:100"))["user"] == "1000:100"
    assert plan(task(containers=container(user="ci")))["user"] == "ci"


def test_privileged_needs_the_executors_word() -> None:
    of = replace(task(containers=container(privileged=True)), privileged=True)

    assert main(of, settings=replace(SETTINGS, allow_privileged=True))["securityContext"] == {"privileged": True}
    with pytest.raises(InvalidPodError, match="the executor does not allow privileged"):
        made(of)
    with pytest.raises(InvalidPodError, match="forbids privileged"):
        made(of, settings=replace(SETTINGS, allow_privileged=True, restricted=True))


NODE: dict[str, Any] = {"volumes": [{"name": "node", "hostPath": {"path": "/etc"}}]}
HOST_PROCESS: dict[str, Any] = {"securityContext": {"windowsOptions": {"hostProcess": True}}}


@pytest.mark.parametrize(
    ("of", "config", "path"),
    [
        (task(pod=NODE), CONFIG, r"tasks\[build\].pod.volumes\[0\].hostPath"),
        (task(), replace(CONFIG, pod=NODE), r"pod.volumes\[0\].hostPath"),
        (task(pod=HOST_PROCESS), CONFIG, r"tasks\[build\].pod.securityContext.windowsOptions.hostProcess"),
    ],
)
def test_what_reaches_into_the_node_needs_the_executors_word_as_privileged_does(
    of: TaskConfig, config: RunConfig, path: str
) -> None:
    with pytest.raises(InvalidPodError, match=f"^{path}: reaches into the node"):
        made(of, config=config)
    given = pod(of, config=config, settings=replace(SETTINGS, allow_privileged=True))["spec"]
    assert NODE["volumes"][0] in given["volumes"] or "windowsOptions" in given["securityContext"]


def test_an_executors_own_volumes_may_be_the_nodes() -> None:
    assert NODE["volumes"][0] in pod(task(), executor_pod=NODE)["spec"]["volumes"]


def test_the_toolbox_container_never_makes_a_pod_larger() -> None:
    resources = {"requests": {"cpu": "1", "nvidia.com/gpu": "1"}, "limits": {"memory": "1Gi", "nvidia.com/gpu": "1"}}
    found = pod(task(containers=container(resources=resources)))["spec"]

    assert found["containers"][0]["resources"] == resources
    assert found["initContainers"][0]["resources"] == {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
    assert "resources" not in pod(task())["spec"]["initContainers"][0]


def test_the_pod_gets_more_time_to_end_than_its_steps() -> None:
    of = task()

    assert plan(of)["gracePeriodSeconds"] == 30
    assert pod(of)["spec"]["terminationGracePeriodSeconds"] == 45


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"containers": []}, "containers: a task needs a container"),
        ({"containers": [{"name": "x"}]}, r"containers\[0\].image: an image is needed"),
        ({"containers": [*container(), {"name": "db"}]}, r"containers\[1\].image: an image is needed"),
        (
            {"containers": [*container(), {"name": "main", "image": "a"}]},
            r"containers\[1\].name: duplicate container \"main\"",
        ),
        (
            {"containers": [*container(), {"name": "runabout-db", "image": "a"}]},
            r"containers\[1\].name: .* is reserved",
        ),
        (
            {"containers": [*container(), {"image": "a", "user": "postgres"}]},
            r"containers\[1\].user: .* UID or UID:GID",
        ),
        (
            {"containers": [*container(), {"image": "a", "readiness": {}}]},
            r"containers\[1\].readiness: .*exactly one of",
        ),
        (
            {"containers": [*container(), {"image": "a", "environment": [{"name": "RUNABOUT_X"}]}]},
            r"containers\[1\].environment: the variable RUNABOUT_X cannot be set",
        ),
        (
            {"containers": [*container(), {"image": "a", "volumeMounts": [{"name": "v", "mountPath": "/runabout"}]}]},
            r"containers\[1\].volumeMounts\[0\].mountPath: '/runabout' cannot be used",
        ),
        ({"pod": {"automountServiceAccountToken": "yes"}}, "automountServiceAccountToken: expected true or false"),
        ({"containers": container(name="Main")}, "'Main' is no DNS label"),
        ({"containers": container(name="runabout-toolbox")}, "runabout-toolbox is reserved"),
        ({"containers": container(command=["true"])}, r"containers\[0\].command: the first container runs the steps"),
        ({"containers": container(args=["true"])}, r"containers\[0\].args: the first container runs the steps"),
        ({"containers": container(readiness={"exec": {}})}, r"containers\[0\].readiness: the first container"),
        (
            {"containers": container(volumeMounts=[{"name": "v", "mountPath": "/runabout/"}])},
            "'/runabout/' cannot be used",
        ),
        ({"containers": container(volumeMounts=[{"name": "v", "mountPath": "//runabout/./bin"}])}, "cannot be used"),
        (
            {"containers": container(volumeMounts=[{"name": "v", "mountPath": "/dev/termination-log"}])},
            "cannot be used",
        ),
        ({"containers": container(volumeMounts=[{"name": "v", "mountPath": "/"}])}, "cannot be used"),
        ({"containers": container(volumeMounts=[{"name": "v", "mountPath": "/a/../runabout"}])}, "cannot be used"),
        (
            {
                "containers": [
                    *container(),
                    {"image": "a", "volumeMounts": [{"name": "runabout-bin", "mountPath": "/b"}]},
                ]
            },
            r"containers\[1\].volumeMounts\[0\].name: runabout-bin is Runabout's own",
        ),
        ({"pod": {"volumes": [{"name": "runabout-bin", "emptyDir": {}}]}}, "the name runabout-bin is reserved"),
        ({"pod": {"labels": {"runabout.dev/task": "x"}}}, "labels: runabout.dev/task is set by Runabout"),
        ({"pod": {"labels": {"app.kubernetes.io/managed-by": "x"}}}, "managed-by is set by Runabout"),
        ({"pod": {"annotations": {"runabout.dev/plan": "x"}}}, "annotations: runabout.dev/plan is set by Runabout"),
        ({"pod": {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}}}, "is set by Runabout"),
        ({"pod": {"hostNetwork": True}}, r"tasks\[build\].pod.hostNetwork: there is no such pod setting"),
        ({"steps": [{"clone": {}}]}, r"steps\[0\].clone.url: an address is needed"),
        ({"steps": [{"name": "x"}]}, r"steps\[0\]: expected exactly one of run, clone"),
        ({"steps": [{"run": ["x"]}]}, r"steps\[0\].run: expected a text, found list"),
        ({"steps": "x"}, "steps: expected a list, found str"),
        ({"environment": [{"name": "RUNABOUT_X", "value": "1"}]}, "RUNABOUT_X cannot be set"),
        ({"steps": [{"run": "a", "environment": [{"name": "RUNABOUT_ENV_0"}]}]}, "RUNABOUT_ENV_0 cannot be set"),
    ],
)
def test_what_cannot_be_a_pod_is_refused_with_its_path(body: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidPodError, match=words):
        made(task(**body))


def test_the_runs_environment_cannot_take_our_names() -> None:
    with pytest.raises(InvalidPodError, match="environment: the variable RUNABOUT_TASK cannot be set"):
        made(task(), config=replace(CONFIG, environment=(EnvVar("RUNABOUT_TASK", "x"),)))


def test_a_task_name_that_is_no_label_is_refused() -> None:
    with pytest.raises(InvalidPodError, match="is no DNS label"):
        made(replace(task(), name="a" * 64))
