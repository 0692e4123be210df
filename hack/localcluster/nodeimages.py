"""Images on the native cluster's node: what is there, and loading what is not."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from localcluster import archive
from localcluster.archive import Recipe
from localcluster.console import LocalClusterError, say, step
from localcluster.layers import Entry, Store
from localcluster.settings import PAUSE_IMAGE

if TYPE_CHECKING:
    from localcluster.archive import Image
    from localcluster.settings import Places

NAMESPACE = "k8s.io"


def _ctr(places: Places, *arguments: str) -> list[str]:
    return ["ctr", "--address", str(places.containerd_socket), "--namespace", NAMESPACE, *arguments]


def _run(places: Places, *arguments: str) -> str:
    argv = _ctr(places, *arguments)
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LocalClusterError(f"`{' '.join(argv)}` failed: {result.stderr.strip()[-400:]}", "hack/cluster status")
    return result.stdout


def listing(places: Places) -> dict[str, str]:
    """Every image of the node: its name, or its id, and the digest behind it."""
    lines = _run(places, "images", "ls").splitlines()[1:]
    return {fields[0]: fields[2] for fields in (line.split() for line in lines) if len(fields) >= 3}  # noqa: PLR2004 -- name, type, digest


def load(places: Places, store: Store, image: Image) -> bool:
    """Bring an image to the node; only blobs that are not there travel. False if it is there already."""
    before = listing(places)
    old = before.get(image.name)
    if old == image.manifest.digest:
        return False
    present = set(_run(places, "content", "ls", "--quiet").split())
    # The manifest always travels: an index that names nothing in its archive is refused.
    wanted = {blob.digest for blob in image.blobs if blob.digest not in present} | {image.manifest.digest}
    process = subprocess.Popen(
        _ctr(places, "images", "import", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if process.stdin is None or process.stdout is None:
        raise AssertionError
    words: list[bytes] = []
    output = process.stdout
    reader = threading.Thread(target=lambda: words.append(output.read()))
    reader.start()
    try:
        archive.write(store, image, process.stdin, wanted=wanted.__contains__)  # type: ignore[arg-type]
        process.stdin.close()
    except BrokenPipeError:
        pass
    reader.join()
    if process.wait() != 0:
        raise LocalClusterError(f"containerd does not take {image.name}: {b''.join(words).decode()[-400:]}")
    if old is not None:
        _remove_superseded(places, old)
    return True


def load_file(places: Places, path: Path) -> None:
    """Bring every image of a docker-archive or OCI archive to the node."""
    before = listing(places)
    with step(f"importing {path.name}", quiet=True):
        _run(places, "images", "import", str(path))
    after = listing(places)
    for name, digest in before.items():
        if not name.startswith("sha256:") and after.get(name) != digest:
            _remove_superseded(places, digest)


def load_named(places: Places, name: str) -> None:
    """Bring an image to the node that is a file, was built by `hack/images`, or is known to a Docker engine."""
    path = Path(name)
    store = Store.of_user()
    if path.is_file():
        load_file(places, path)
        say(f"{path}: loaded")
        return
    image = archive.find(store, name)
    if image is None:
        raise LocalClusterError(
            f"no image is called {name!r}, and there is no such file",
            "`hack/images build` makes the project's own; others come as a docker-archive: `load-image FILE.tar`.",
        )
    say(f"{name}: {'loaded' if load(places, store, image) else 'there already'}")


def _remove_superseded(places: Places, digest: str) -> None:
    # An image that lost its last name would stay on the disk for ever: the kubelet collects nothing here.
    names = [name for name, target in listing(places).items() if target == digest]
    if names and all(name.startswith("sha256:") for name in names):
        _run(places, "images", "rm", *names)


def ensure_pause_image(places: Places) -> None:
    """The image that holds a pod's network together, made from the machine's static busybox."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise LocalClusterError("the command `busybox` is missing", "apt-get install busybox-static")
    store = Store.of_user()
    layer = store.put_layer([Entry(path="bin/busybox", mode=0o755, content=Path(busybox).resolve())])
    recipe = Recipe(entrypoint=("/bin/busybox", "sleep", "2147483647"), user="65535:65535")
    load(places, store, archive.assemble(store, PAUSE_IMAGE, [layer], recipe))
