"""The project's images: which layers each consists of, and what they are made from.

Built without a Docker engine and without a registry; operator/Dockerfile makes the operator's for those who have one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from localcluster import archive, gobuild, leftovers, preflight
from localcluster.archive import Recipe
from localcluster.console import LocalClusterError, say, step
from localcluster.layers import Entry, Store, tree
from localcluster.settings import REPOSITORY, cache_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from localcluster.archive import Image
    from localcluster.layers import Blob

TOOLBOX_ARCHITECTURES = ("amd64", "arm64", "arm", "386")
DEBIAN_SUITE = "bookworm"
DEBIAN_PACKAGES = ("python3", "ca-certificates")
IMAGE_PYTHON = "3.11"
NONROOT = 65532
PYTHON_HOME = "opt/runabout/python"
PACKAGE_HOME = "opt/runabout/package"
TOOLBOX_HOME = "opt/runabout/toolbox"
TOOLBOX_PROGRAMS = {"toolbox": ".", "runabout-clone": "clone"}
"""The programs of the toolbox's image, and the folders of their modules in the toolbox's."""
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n"
GROUP = b"root:x:0:\nnogroup:x:65534:\n"
# Nothing in a container reads these.
_NEEDLESS = re.compile(
    r"(usr/share/(doc|man|info|locale|lintian|linda|zoneinfo/right)|var/(cache|log)|var/lib/apt/lists|dev|proc|sys|tmp|run)/.+"
    r"|etc/(machine-id|resolv\.conf|hostname)"
)


def source_digest(root: Path, *, leave_out: Callable[[str], bool] = lambda _: False) -> str:
    """A digest of every file below a folder: names, modes' execute bits and bytes."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root).as_posix()
        if path.is_file() and not leave_out(relative):
            executable = os.access(path, os.X_OK)
            digest.update(f"{relative}\0{executable}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def is_python_waste(relative: str) -> bool:
    """What of a Python package has no place in an image."""
    return "__pycache__" in relative.split("/") or relative.endswith((".pyc", ".pyo"))


def is_go_test(relative: str) -> bool:
    """What of a Go program is in no binary."""
    return relative.endswith("_test.go")


# --- operator -------------------------------------------------------------------------------------------------------


OPERATOR = Recipe(
    entrypoint=("python3", "-m", "runabout"),
    user=f"{NONROOT}:{NONROOT}",
    working_dir="/tmp",  # noqa: S108 - the only folder this user may write to
    environment={
        "PATH": f"/{PYTHON_HOME}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": f"/{PACKAGE_HOME}:/{PYTHON_HOME}",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_TRIM_THRESHOLD_": "131072",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
    },
)


def operator(store: Store) -> Image:
    """`runabout/operator:dev`: Debian's Python, the locked dependencies, the toolbox, and the package last."""
    layers = [
        debian_layer(store),
        dependency_layer(store),
        *_toolbox_layers(store, at=TOOLBOX_HOME, architectures=TOOLBOX_ARCHITECTURES),
        package_layer(store),
    ]
    return archive.assemble(store, "runabout/operator:dev", layers, OPERATOR)


def debian_layer(store: Store) -> Blob:
    """Debian's minimal system with Python; made once per set of packages, which takes about two minutes."""
    key = f"debian 2 {DEBIAN_SUITE} {' '.join(DEBIAN_PACKAGES)} {archive.architecture()}"
    return store.layer(key, _debootstrap)


def _debootstrap(scratch: Path) -> Iterator[Entry]:
    preflight.require_linux_and_root()
    preflight.ensure_programs(preflight.IMAGE_PROGRAMS)
    gobuild.require_space(scratch, 2, "building the operator's image")
    root = scratch / "rootfs"
    title = f"installing Debian {DEBIAN_SUITE} with {', '.join(DEBIAN_PACKAGES)} (about 1 min, once)"
    # Whatever happens, /proc must not stay mounted in a folder that is going to be removed.
    with step(title), closing_mounts(root):
        _run(
            *("debootstrap", "--variant=minbase", f"--include={','.join(DEBIAN_PACKAGES)}"),
            *(DEBIAN_SUITE, str(root), debian_mirror()),
        )
        # Debian's byte code is valid for a source with the time it had; files in a layer have none.
        _run(
            *("chroot", str(root), "python3", "-m", "compileall", "-q", "-f"),
            *("--invalidation-mode", "unchecked-hash", f"/usr/lib/python{IMAGE_PYTHON}", "/usr/lib/python3"),
            tolerate=True,
        )
    for name, line in (
        ("passwd", f"runabout:x:{NONROOT}:{NONROOT}:runabout:/tmp:/usr/sbin/nologin\n"),
        ("group", f"runabout:x:{NONROOT}:\n"),
    ):
        with (root / "etc" / name).open("a") as file:
            file.write(line)
    return tree(root, leave_out=lambda path: _NEEDLESS.fullmatch(path) is not None)


@contextmanager
def closing_mounts(folder: Path) -> Iterator[None]:
    """Unmount at the end whatever was mounted below a folder."""
    try:
        yield
    finally:
        leftovers.unmount(folder)


def debian_mirror() -> str:
    """The mirror this machine installs from, or Debian's own."""
    for path in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")):
        if path.exists():
            found = re.search(r"^(?:URIs:|deb(?: \[[^]]*\])?) *(\S+)", path.read_text(), re.MULTILINE)
            if found:
                return found[1]
    return "http://deb.debian.org/debian"


def dependency_layer(store: Store) -> Blob:
    """The locked Python dependencies; made once per lock file."""
    lock = REPOSITORY / "uv.lock"
    if not lock.exists():
        raise LocalClusterError(f"there is no {lock}", "The operator's image is built from a checkout of the project.")
    key = f"dependencies 2 {hashlib.sha256(lock.read_bytes()).hexdigest()} {archive.architecture()}"
    return store.layer(key, _dependencies)


def _dependencies(scratch: Path) -> Iterator[Entry]:
    uv = find_uv()
    platform = {"amd64": "x86_64", "arm64": "aarch64"}.get(archive.architecture())
    listing, target = scratch / "requirements.txt", scratch / "target"
    with step("installing the locked Python dependencies (once per uv.lock)"):
        _run(
            *(uv, "export", "--project", str(REPOSITORY), "--frozen", "--no-dev", "--no-emit-project"),
            *("--no-header", "--quiet", "--output-file", str(listing)),
        )
        _run(
            *(uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(target)),
            *("--python-version", IMAGE_PYTHON, "--link-mode", "copy", "-r", str(listing)),
            *(("--python-platform", f"{platform}-manylinux_2_28") if platform else ()),
        )
        _compile(uv, target)
    return _owned_by_root(tree(target, at=PYTHON_HOME, leave_out=_is_test_folder))


def _is_test_folder(relative: str) -> bool:
    # Only at a package's top: deeper a folder of this name may be code.
    parts = relative.split("/")
    return len(parts) == 2 and parts[1] in {"tests", "test"}  # noqa: PLR2004 - package and folder


def _compile(uv: str, target: Path) -> None:
    # Files in a layer have no times, so that byte code must be valid for its source whatever the time.
    python = sys.executable
    if f"{sys.version_info[0]}.{sys.version_info[1]}" != IMAGE_PYTHON:
        found = subprocess.run([uv, "python", "find", IMAGE_PYTHON], capture_output=True, text=True, check=False)
        if found.returncode != 0:
            say(f"  no Python {IMAGE_PYTHON} here to compile with: the operator starts some seconds later")
            return
        python = found.stdout.strip()
    flags = ["-q", "-f", "-s", str(target), "-p", f"/{PYTHON_HOME}", "--invalidation-mode", "unchecked-hash", "-j", "0"]
    _run(python, "-m", "compileall", *flags, str(target), tolerate=True)


def package_layer(store: Store) -> Blob:
    """The package itself, from the working tree."""
    package = REPOSITORY / "operator" / "runabout"
    if not (package / "__init__.py").exists():
        raise LocalClusterError(f"there is no package in {package}")
    return store.put_layer(_owned_by_root(tree(package, at=f"{PACKAGE_HOME}/runabout", leave_out=is_python_waste)))


# --- toolbox ----------------------------------------------------------------------------------------------------------


def toolbox(store: Store) -> Image:
    """`runabout/toolbox:dev`: /toolbox, which every task's first container copies, and the program that clones."""
    layers = _toolbox_layers(store, at="", architectures=(archive.architecture(),))
    return archive.assemble(store, "runabout/toolbox:dev", layers, Recipe(entrypoint=("/toolbox",)))


def _toolbox_layers(store: Store, *, at: str, architectures: tuple[str, ...]) -> list[Blob]:
    source = REPOSITORY / "operator" / "toolbox"
    if not (source / "go.mod").exists():
        say(f"  there is no {source}/go.mod: this image has no toolbox")
        return []
    digest = source_digest(source, leave_out=is_go_test)
    folder = cache_root() / "toolbox" / digest[:20]
    missing = [
        name for name in architectures if not all((folder / name / program).exists() for program in TOOLBOX_PROGRAMS)
    ]
    if missing:
        with step(f"building the toolbox for {', '.join(missing)}"):
            for name in missing:
                _build_toolbox(source, folder / name, name)
    own = archive.architecture()
    entries = [Entry(path=program, mode=0o755, content=folder / own / program) for program in TOOLBOX_PROGRAMS]
    if at:
        entries += [
            Entry(path=f"{at}/{name}/toolbox", mode=0o755, content=folder / name / "toolbox") for name in architectures
        ]
    return [store.put_layer(entries)]


def _build_toolbox(source: Path, target: Path, architecture: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    environment = gobuild.go_environment() | {"GOARCH": architecture, "GOOS": "linux"}
    for program, module in TOOLBOX_PROGRAMS.items():
        gobuild.build_program(source / module, target / program, environment)
    # One build is about 50 MB; the ten latest are kept.
    builds = sorted(target.parent.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    for old in builds[:-10]:
        shutil.rmtree(old, ignore_errors=True)


# --- small ones -------------------------------------------------------------------------------------------------------


def steps(store: Store) -> Image:
    """`runabout/steps:dev`: a shell and the usual commands, for the steps of tests and of the demo."""
    preflight.ensure_programs({"busybox": "busybox-static"})
    busybox = Path(str(shutil.which("busybox"))).resolve()
    applets = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True).stdout.split()
    entries = [
        Entry(path="bin/busybox", mode=0o755, content=busybox),
        *(Entry(path=f"bin/{name}", mode=0o777, link="busybox") for name in applets if name != "busybox"),
        Entry(path="etc/passwd", content=PASSWD + b"user:x:1000:1000:user:/home/user:/bin/sh\n"),
        Entry(path="etc/group", content=GROUP + b"user:x:1000:\n"),
        Entry(path="home/user", mode=0o755, uid=1000, gid=1000),
        Entry(path="root", mode=0o700),
        Entry(path="tmp", mode=0o1777),
        Entry(path="usr/bin/env", mode=0o777, link="/bin/busybox"),
        Entry(path="var/tmp", mode=0o1777),
    ]
    recipe = Recipe(command=("/bin/sh",), environment={"PATH": "/bin:/usr/bin"})
    return archive.assemble(store, "runabout/steps:dev", [store.put_layer(entries)], recipe)


def etcd(store: Store) -> Image:
    """`runabout/etcd:dev`: etcd and etcdctl, for the chart's StatefulSet."""
    folder = gobuild.build(gobuild.ETCD)
    entries = [
        Entry(path="usr/local/bin/etcd", mode=0o755, content=folder / "etcd"),
        Entry(path="usr/local/bin/etcdctl", mode=0o755, content=folder / "etcdctl"),
        Entry(path="etc/passwd", content=PASSWD),
        Entry(path="etc/group", content=GROUP),
        Entry(path="tmp", mode=0o1777),
    ]
    layer = store.layer(f"etcd 1 {gobuild.ETCD.version} {archive.architecture()}", lambda _: entries)
    recipe = Recipe(command=("/usr/local/bin/etcd",), environment={"PATH": "/usr/local/bin"})
    return archive.assemble(store, "runabout/etcd:dev", [layer], recipe)


def s3(store: Store) -> Image:
    """`runabout/s3:dev`: versitygw, an S3 server on a folder, for `hack/demo --s3`."""
    folder = gobuild.build(gobuild.VERSITYGW)
    entries = [
        Entry(path="usr/local/bin/versitygw", mode=0o755, content=folder / "versitygw"),
        Entry(path="etc/passwd", content=PASSWD),
        Entry(path="etc/group", content=GROUP),
        Entry(path="tmp", mode=0o1777),
    ]
    layer = store.layer(f"s3 1 {gobuild.VERSITYGW.version} {archive.architecture()}", lambda _: entries)
    recipe = Recipe(command=("/usr/local/bin/versitygw",), environment={"PATH": "/usr/local/bin"})
    return archive.assemble(store, "runabout/s3:dev", [layer], recipe)


def git(store: Store) -> Image:
    """`runabout/git:dev`: a folder as a git repository over https and ssh, for `hack/demo` and tests."""
    source = REPOSITORY / "hack" / "gitserver"
    program = cache_root() / "gitserver" / source_digest(source, leave_out=is_go_test)[:20] / "gitserver"
    if not program.exists():
        with step("building the git server"):
            shutil.rmtree(program.parent.parent, ignore_errors=True)
            program.parent.mkdir(parents=True)
            gobuild.build_program(source, program, gobuild.go_environment())
    entries = [
        Entry(path="gitserver", mode=0o755, content=program),
        Entry(path="etc/passwd", content=PASSWD),
        Entry(path="etc/group", content=GROUP),
    ]
    recipe = Recipe(entrypoint=("/gitserver",), user=f"{NONROOT}:{NONROOT}")
    return archive.assemble(store, "runabout/git:dev", [store.put_layer(entries)], recipe)


RECIPES: dict[str, Callable[[Store], Image]] = {
    "operator": operator,
    "toolbox": toolbox,
    "steps": steps,
    "etcd": etcd,
    "git": git,
    "s3": s3,
}
ORDINARY = tuple(target for target in RECIPES if target != "s3")
"""What `all` means: what an installation and its tests need."""
IMAGES = {target: f"runabout/{target}:dev" for target in RECIPES}


def _owned_by_root(entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        mode = entry.mode | 0o444 | (0o111 if entry.content is None and entry.link is None else 0)
        yield Entry(path=entry.path, mode=mode & ~0o022, content=entry.content, link=entry.link)


def find_uv() -> str:
    """uv, from the PATH or from where hack/env.sh has put it."""
    own = cache_root() / "uv" / "bin" / "uv"
    found = shutil.which("uv") or (str(own) if own.exists() else None)
    if found is None:
        raise LocalClusterError("uv is missing", "`. hack/env.sh` installs it into the cache; or `pip install uv`.")
    return found


def _run(*argv: str, tolerate: bool = False) -> None:
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0 and not tolerate:
        words = (result.stderr.strip() or result.stdout.strip())[-1500:]
        raise LocalClusterError(f"`{' '.join(argv[:4])} …` failed with {result.returncode}:\n{words}")
