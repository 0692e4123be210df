"""The command `hack/kind`: what pytest-kind asks of kind, answered by the native cluster where there is no Docker.

With a Docker engine it becomes the real kind, whatever the arguments. A question is answered on standard output and
everything for a person goes to standard error, as kind does it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from localcluster import docker, gobuild, native, nodeimages
from localcluster.console import LocalClusterError, answer, say
from localcluster.settings import RUN_ROOT, Places, cluster_name

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "kind v0.33.0 (hack/kind)"
THINGS = {
    "get": ("clusters", "nodes", "kubeconfig"),
    "create": ("cluster",),
    "delete": ("cluster",),
    "load": ("docker-image", "image-archive"),
}


def parser() -> argparse.ArgumentParser:
    """What the command line may say: the verbs of kind that tests use, with kind's own words for them."""
    top = argparse.ArgumentParser(
        prog="hack/kind",
        description="kind where a Docker engine works, elsewhere the native local cluster in its place.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("version", help="Print the version.")
    for verb, things in THINGS.items():
        words = verbs.add_parser(verb, help=", ".join(things)).add_subparsers(dest="thing", required=True)
        for thing in things:
            command = words.add_parser(thing)
            command.add_argument("--name", default=None, help="name of the cluster")
            if verb in {"create", "delete"}:
                command.add_argument("--kubeconfig", type=Path, help="file to write the cluster's kubeconfig to")
            if verb == "create":
                for flag in ("--image", "--config", "--wait"):
                    command.add_argument(flag, help="only kind itself needs it")
            if verb == "load":
                command.add_argument("image", nargs="+")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        if docker.available():
            become_kind(words)
        _run(parser().parse_args(words))
    except LocalClusterError as error:
        say(f"hack/kind {' '.join(words[:2])}: {error}")
        return 1
    return 0


def become_kind(words: Sequence[str]) -> None:
    """Go on as the real kind, with the same arguments."""
    kind = str(gobuild.tool("kind"))
    os.execv(kind, [kind, *words])  # noqa: S606 - it is that program from here on


def _run(arguments: argparse.Namespace) -> None:
    if arguments.verb == "version":
        answer(VERSION)
        return
    if (arguments.verb, arguments.thing) == ("get", "clusters"):
        for name in up_and_healthy():
            answer(name)
        return
    places = Places.of(cluster_name(arguments.name))
    match (arguments.verb, arguments.thing):
        case ("get", "nodes"):
            native.require_up(places)
            answer(places.name)
        case ("get", "kubeconfig"):
            native.require_up(places)
            answer(places.kubeconfig.read_text().rstrip())
        case ("create", _):
            native.up(places)
            write_kubeconfig(places, arguments.kubeconfig)
        case ("delete", _):
            native.down(places)
        case _:
            native.require_up(places)
            for image in arguments.image:
                nodeimages.load_named(places, image)


def up_and_healthy() -> list[str]:
    """The names of the clusters that need nothing: pytest-kind creates what is not listed, and that repairs it."""
    names = sorted(folder.name for folder in RUN_ROOT.iterdir()) if RUN_ROOT.is_dir() else []
    return [name for name in names if native.is_up(Places.of(name))]


def write_kubeconfig(places: Places, target: Path | None) -> None:
    """Write the cluster's kubeconfig where the caller wants it; pytest-kind has made an empty file there before."""
    if target is None or (target.exists() and target.samefile(places.kubeconfig)):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    target.write_text(places.kubeconfig.read_text())
