"""The Dockerfile, for those with Docker, makes what hack/images makes without."""

import json
import re

from fixtures.tools import REPOSITORY
from localcluster import gobuild, recipes

STAGES = {
    found[2]: found[0] + found[3]
    for found in re.findall(
        r"FROM ((?:--platform=\S+ )?)(\S+) AS (\S+)\n(.*?)(?=\nFROM |\Z)",
        (REPOSITORY / "operator" / "Dockerfile").read_text().replace("\\\n", " "),
        re.DOTALL,
    )
}


def instructions(stage: str, name: str) -> list[str]:
    return [line.removeprefix(f"{name} ").strip() for line in STAGES[stage].splitlines() if line.startswith(f"{name} ")]


def test_the_operators_image_starts_as_the_same_user_in_the_same_place_with_the_same_environment() -> None:
    [environment] = instructions("operator", "ENV")
    assert dict(pair.split("=", 1) for pair in environment.split()) == recipes.OPERATOR.environment
    assert instructions("operator", "USER") == [recipes.OPERATOR.user]
    assert instructions("operator", "WORKDIR") == [recipes.OPERATOR.working_dir]
    assert [tuple(json.loads(line)) for line in instructions("operator", "ENTRYPOINT")] == [recipes.OPERATOR.entrypoint]


def test_the_operators_image_has_the_same_parts_at_the_same_places() -> None:
    targets = {line.split()[-1] for line in instructions("operator", "COPY")}
    assert targets == {
        f"/{recipes.PYTHON_HOME}",
        f"/{recipes.TOOLBOX_HOME}",
        f"/{recipes.PACKAGE_HOME}/runabout",
        *(f"/{program}" for program in recipes.TOOLBOX_PROGRAMS),
    }


def test_the_toolbox_is_built_for_every_architecture_on_the_builders_own() -> None:
    [build] = instructions("toolboxes", "RUN")
    assert all(f"/$architecture/{program} ." in build for program in recipes.TOOLBOX_PROGRAMS)
    assert f"for architecture in {' '.join(recipes.TOOLBOX_ARCHITECTURES)};" in build
    assert STAGES["toolboxes"].startswith("--platform=$BUILDPLATFORM")


def test_the_base_has_the_same_packages() -> None:
    [install] = instructions("base", "RUN")
    assert f"--no-install-recommends {' '.join(recipes.DEBIAN_PACKAGES)} " in install


def test_every_image_of_the_project_is_a_target() -> None:
    assert recipes.RECIPES.keys() <= STAGES.keys()


def test_whatever_is_copied_from_the_checkout_is_let_through_by_dockerignore() -> None:
    allowed = {
        line.removeprefix("!")
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        path.rstrip("/")
        for stage in STAGES
        for line in instructions(stage, "COPY")
        if not line.startswith("--from")
        for path in line.split()[:-1]
    }
    assert copied == allowed
    assert all((REPOSITORY / path).exists() for path in copied)


def test_etcd_is_built_from_the_same_packages_for_the_images_own_architecture() -> None:
    [build] = instructions("etcds", "RUN")
    assert "GOARCH=$TARGETARCH" in build
    assert all(package in build.split() for package in gobuild.ETCD.binaries.values())


def test_the_s3_server_is_the_same() -> None:
    [build] = instructions("versitygws", "RUN")
    [package] = gobuild.VERSITYGW.binaries.values()
    assert f"{package}@{gobuild.VERSITYGW.version}" in build.split()
