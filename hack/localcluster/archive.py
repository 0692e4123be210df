"""Images from layers, and the tar files that container runtimes read.

An archive is a docker-archive and an OCI layout at once, as `docker save` writes it today; it may leave out blobs that
the reader already has.
"""

from __future__ import annotations

import io
import json
import platform
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from localcluster.console import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localcluster.layers import Blob, Store

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm", "i686": "386"}


def architecture() -> str:
    """This machine's architecture as images and Go call it."""
    machine = platform.machine()
    if machine not in MACHINES:
        raise LocalClusterError(f"no images are built for {machine}", f"Known are: {', '.join(sorted(MACHINES))}.")
    return MACHINES[machine]


def full_name(name: str) -> str:
    """A name as container runtimes store it: `runabout/steps:dev` is `docker.io/runabout/steps:dev`."""
    head, _, rest = name.partition("/")
    host = rest and ("." in head or ":" in head or head == "localhost")
    base = name if host else f"docker.io/{name if rest else f'library/{name}'}"
    last = base.rpartition("/")[2]
    return base if ":" in last or "@" in last else f"{base}:latest"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a container of the image runs, as who and where."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the store: its name and the digests it consists of."""

    name: str
    manifest: Blob
    config: Blob
    layers: tuple[Blob, ...]

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Every blob, the manifest first."""
        return (self.manifest, self.config, *self.layers)


def assemble(store: Store, name: str, layers: Sequence[Blob], recipe: Recipe) -> Image:
    """Put layers together to an image and remember it under its name. Same input, same digests."""
    settings: dict[str, Any] = {
        "Env": [f"{key}={value}" for key, value in sorted(recipe.environment.items())],
        "WorkingDir": recipe.working_dir,
    }
    optional = {
        "Entrypoint": list(recipe.entrypoint),
        "Cmd": list(recipe.command),
        "User": recipe.user,
        "Labels": dict(sorted(recipe.labels.items())),
    }
    settings |= {key: value for key, value in optional.items() if value}
    document = {
        "architecture": architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }
    config = store.put(_json(document))
    manifest = store.put(
        _json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": _descriptor(CONFIG, config),
                "layers": [_descriptor(LAYER, layer) for layer in layers],
            }
        )
    )
    image = Image(name=full_name(name), manifest=manifest, config=config, layers=tuple(layers))
    note = store.root / "names" / f"{image.name.replace('/', '_')}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"name": image.name, "manifest": manifest.digest}) + "\n")
    return image


def find(store: Store, name: str) -> Image | None:
    """The image that was assembled last under this name, if all of it is still in the store."""
    from localcluster.layers import Blob  # noqa: PLC0415 - a cycle of types only

    wanted = full_name(name)
    note = store.root / "names" / f"{wanted.replace('/', '_')}.json"
    if not note.exists():
        return None
    digest = str(json.loads(note.read_text())["manifest"])
    if not store.has(digest):
        return None
    data = store.path(digest).read_bytes()
    manifest = json.loads(data)
    config, *layers = (Blob(digest=item["digest"], size=item["size"]) for item in _items(manifest))
    image = Image(name=wanted, manifest=Blob(digest=digest, size=len(data)), config=config, layers=tuple(layers))
    return image if all(store.has(blob.digest) for blob in image.blobs) else None


def write(store: Store, image: Image, sink: BinaryIO, *, wanted: Callable[[str], bool] = lambda _: True) -> int:
    """Write an image as a tar; blobs whose digest is not `wanted` are left out. Returns the bytes of blobs in it."""
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                **_descriptor(MANIFEST, image.manifest),
                "annotations": {
                    "io.containerd.image.name": image.name,
                    "org.opencontainers.image.ref.name": image.name.rpartition(":")[2],
                },
            }
        ],
    }
    docker = [
        {
            "Config": _member(image.config.digest),
            "RepoTags": [image.name.removeprefix("docker.io/")],
            "Layers": [_member(layer.digest) for layer in image.layers],
        }
    ]
    written = 0
    with tarfile.open(fileobj=sink, mode="w|", bufsize=1 << 20) as tar:
        complete = all(wanted(blob.digest) for blob in image.blobs)
        documents = {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": index}
        # A docker-archive must be complete; containerd would believe it rather than the index.
        for name, document in {**documents, **({"manifest.json": docker} if complete else {})}.items():
            data = _json(document)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for blob in dict.fromkeys(image.blobs):
            if wanted(blob.digest):
                info = tarfile.TarInfo(_member(blob.digest))
                info.size = blob.size
                with store.path(blob.digest).open("rb") as file:
                    tar.addfile(info, file)
                written += blob.size
    return written


def _items(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [manifest["config"], *manifest["layers"]]


def _member(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _descriptor(kind: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": kind, "digest": blob.digest, "size": blob.size}


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
