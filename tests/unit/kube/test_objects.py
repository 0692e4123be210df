"""How resources are addressed, and what is read of objects that are not as they should be."""

import pytest

from runabout.kube.objects import EXECUTORS, LEASES, NODES, PODS, RUNS, JsonObject, Resource, key_of, metadata, text

PATHS: list[tuple[Resource, tuple[str | None, ...], str]] = [
    (PODS, (), "/api/v1/pods"),
    (PODS, ("ci",), "/api/v1/namespaces/ci/pods"),
    (PODS, ("ci", "a"), "/api/v1/namespaces/ci/pods/a"),
    (PODS, ("ci", "a", "log"), "/api/v1/namespaces/ci/pods/a/log"),
    (RUNS, (), "/apis/runabout.dev/v1alpha1/runs"),
    (RUNS, ("ci", "a", "status"), "/apis/runabout.dev/v1alpha1/namespaces/ci/runs/a/status"),
    (EXECUTORS, (None, "any", "status"), "/apis/runabout.dev/v1alpha1/executors/any/status"),
    (NODES, ("ci", "n1"), "/api/v1/nodes/n1"),
    (LEASES, ("ci", "l"), "/apis/coordination.k8s.io/v1/namespaces/ci/leases/l"),
]


@pytest.mark.parametrize(("resource", "where", "path"), PATHS, ids=[path for _, _, path in PATHS])
def test_each_object_has_its_path(resource: Resource, where: tuple[str | None, ...], path: str) -> None:
    assert resource.path(*where) == path


@pytest.mark.parametrize(("resource", "version"), [(PODS, "v1"), (RUNS, "runabout.dev/v1alpha1")])
def test_each_resource_has_its_api_version(resource: Resource, version: str) -> None:
    assert resource.api_version == version


ODD: list[JsonObject] = [{}, {"metadata": None}, {"metadata": []}, {"metadata": "x"}, {"metadata": {"name": 1}}]


@pytest.mark.parametrize("item", ODD, ids=repr)
def test_an_object_without_a_usable_name_has_an_empty_one(item: JsonObject) -> None:
    assert key_of(item) == ("", "")
    assert text(metadata(item), "name") == ""


def test_an_object_is_known_by_namespace_and_name() -> None:
    assert key_of({"metadata": {"namespace": "ci", "name": "a"}}) == ("ci", "a")
    assert key_of({"metadata": {"name": "n1"}}) == ("", "n1")
