"""The command `hack/images`."""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from localcluster import archive, docker, native, nodeimages, recipes
from localcluster.console import LocalClusterError, answer, say, step
from localcluster.layers import Store
from localcluster.settings import REPOSITORY, Places, cluster_name

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGETS = (*recipes.RECIPES, "all")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="hack/images",
        description="The project's images, with Docker where there is one and without a registry elsewhere.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    names = ", ".join(f"{target} ({image})" for target, image in recipes.IMAGES.items())
    for verb, summary in (
        ("build", "Build images; what has not changed is not built again."),
        ("load", "Build images and bring them to the cluster's node; what is there already is skipped."),
    ):
        sub = verbs.add_parser(verb, help=summary, description=f"{summary} Targets: {names}, all but s3 (default).")
        sub.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[], metavar="TARGET")
        if verb == "load":
            sub.add_argument("--name", help="name of the cluster (default: $RUNABOUT_CLUSTER or runabout)")
    digest = verbs.add_parser(
        "digest", help="Print the digest of an image that was built: another one, other contents."
    )
    digest.add_argument("target", choices=tuple(recipes.RECIPES))
    save = verbs.add_parser("save", help="Write an image as a docker-archive; prints the path.")
    save.add_argument("target", choices=tuple(recipes.RECIPES))
    save.add_argument("file", nargs="?", type=Path, help="default: a file in the cache")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    arguments = parser().parse_args(argv)
    try:
        if arguments.verb == "save":
            _save(arguments.target, arguments.file)
        elif arguments.verb == "digest":
            answer(_digest(recipes.IMAGES[arguments.target]))
        else:
            chosen = arguments.targets or ["all"]
            targets = list(
                dict.fromkeys(
                    name for target in chosen for name in (recipes.ORDINARY if target == "all" else (target,))
                )
            )
            _build_and_load(targets, load=arguments.verb == "load", name=getattr(arguments, "name", None))
    except LocalClusterError as error:
        say(f"hack/images {arguments.verb}: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the same command continues where it was")
        return 130
    return 0


def _build_and_load(targets: list[str], *, load: bool, name: str | None) -> None:
    places = Places.of(cluster_name(name))
    with_docker = docker.available()
    if load and not with_docker:
        native.require_up(places)
    store = Store.of_user()
    for target in targets:
        begin = time.monotonic()
        image_name = recipes.IMAGES[target]
        if with_docker:
            _docker_build(target)
            state = "built by Docker"
        else:
            image = recipes.RECIPES[target](store)
            state = f"built, {image.config.digest[:19]}"
            if load:
                with step(f"loading {image_name}", quiet=True):
                    loaded = nodeimages.load(places, store, image)
                state = f"{state}, {'loaded' if loaded else 'was loaded already'}"
        if load and with_docker:
            docker.load(places, image_name)
            state = f"{state}, loaded"
        say(f"{image_name}: {state} ({time.monotonic() - begin:.1f} s)")
    say("next: the images are on the node; pods use imagePullPolicy IfNotPresent" if load else "next: hack/images load")


def _docker_build(target: str) -> None:
    argv = ["docker", "build", "--file", str(REPOSITORY / "operator" / "Dockerfile"), "--target", target]
    argv += ["--tag", recipes.IMAGES[target], str(REPOSITORY)]
    if subprocess.run(argv, check=False).returncode != 0:
        raise LocalClusterError(f"`{' '.join(argv)}` failed", "See Docker's words above.")


def _digest(image_name: str) -> str:
    if docker.available():
        argv = ["docker", "image", "inspect", "--format={{.Id}}", image_name]
        result = subprocess.run(argv, capture_output=True, text=True, check=False)
        digest = result.stdout.strip() if result.returncode == 0 else ""
    else:
        image = archive.find(Store.of_user(), image_name)
        digest = image.config.digest if image is not None else ""
    if not digest:
        raise LocalClusterError(f"{image_name} has not been built", "hack/images build")
    return digest


def _save(target: str, file: Path | None) -> None:
    store = Store.of_user()
    image = recipes.RECIPES[target](store)
    path = file or store.root / f"runabout-{target}.tar"
    draft = path.with_name(f".{path.name}.new")
    with step(f"writing {path}", quiet=True):
        with draft.open("wb") as sink:
            archive.write(store, image, sink)
        draft.replace(path)
    answer(str(path))
