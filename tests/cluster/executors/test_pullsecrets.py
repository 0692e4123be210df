"""An image behind a password: pulled with the Secret in the pod settings, and without it a failure of the user's."""

from collections.abc import Iterator

import pytest

from fixtures.registry import Registry
from lab.taskpods import Lab, task
from localcluster import docker
from runabout.executors.state import Ended, Limits, Machinery, Pending, PodState
from runabout.kube.objects import Resource
from runabout.records import Reason

pytestmark = pytest.mark.skipif(
    docker.available(), reason="with Docker the node's loopback is its container's, where no test can listen"
)
SECRETS = Resource("", "v1", "secrets", "Secret")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as made:
        yield made


def over(state: PodState) -> bool:
    return isinstance(state, Ended | Machinery)


async def test_an_image_is_pulled_with_the_secret_that_the_pod_settings_name(lab: Lab, registry: Registry) -> None:
    await lab.session.create(
        SECRETS,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "registry"},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": registry.docker_config()},
        },
        namespace=lab.namespace,
    )
    container = {"image": registry.image, "imagePullPolicy": "Always"}
    attempt = await lab.start(
        task("echo pulled", container=container, pod={"imagePullSecrets": [{"name": "registry"}]})
    )

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert state.outcome == "success", state
    assert (await attempt.log())[0] == b"pulled\n"


async def test_an_image_without_its_secret_is_the_users_failure(lab: Lab, registry: Registry) -> None:
    attempt = await lab.start(task("true", container={"image": registry.image, "imagePullPolicy": "Always"}))

    state = await attempt.until(lambda found: isinstance(found, Pending) and found.reason is Reason.IMAGE_PULL)
    given_up = await attempt.until(over, limits=Limits(image_pull_seconds=2))

    assert isinstance(state, Pending)
    assert registry.image in state.message
    assert registry.refused
    assert isinstance(given_up, Ended), given_up
    assert given_up.reason is Reason.IMAGE_PULL
