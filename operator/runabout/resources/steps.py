"""Steps: what a task does, one after the other, in its first container."""

from collections.abc import Iterable
from typing import Annotated, ClassVar

from pydantic import Field

from runabout.resources.environment import Environment
from runabout.resources.fields import (
    LIST,
    Depth,
    DnsLabel,
    DnsName,
    ListAtomic,
    Name,
    Path,
    Script,
    Seconds,
    Shell,
    Url,
    User,
)
from runabout.resources.model import Found, Model, Rule

STEP_KINDS = ("run", "clone", "saveToWorkspace", "restoreWorkspace", "saveCache", "restoreCache")


class SecretRef(Model):
    """A Secret in the Run's namespace."""

    name: DnsName
    """Its name."""


class Clone(Model):
    """Gets a git repository."""

    url: Url
    """Address of the repository: https://…, ssh://… or git@host:path."""
    ref: Name = "HEAD"
    """Branch, tag or commit (all 40 characters)."""
    dest_dir: Path = "."
    """Where to put the files, from the working directory; it must be empty or absent."""
    depth: Depth = 0
    """How many commits of history; 0 for all."""
    submodules: bool = False
    """Whether to get submodules too, all levels."""
    credentials: SecretRef | None = None
    """Secret of type kubernetes.io/basic-auth (username, password) or kubernetes.io/ssh-auth (ssh-privatekey)."""
    known_hosts: Annotated[str, Field(max_length=16_384)] | None = None
    """Host keys for ssh, as in a known_hosts file, beside those in known_hosts of the Secret; no other is trusted."""


class Content(Model):
    """Files for an archive."""

    source_dir: Path = "."
    """Directory to take them from, from the working directory."""
    dest_dir: Path = "."
    """Directory to put them into when restored, from `destDir` of the restoring step."""
    paths: Annotated[tuple[Path, ...], LIST, Field(min_length=1, max_length=64), ListAtomic()] = ("**",)
    """Patterns relative to sourceDir: * within a name, ** across directories; ! in front takes away again."""


Contents = Annotated[tuple[Content, ...], LIST, Field(min_length=1, max_length=16), ListAtomic()]
CacheKey = Annotated[str, Field(min_length=1, max_length=512)]


class SaveToWorkspace(Model):
    """Hands files to the tasks that depend on this one, however indirectly."""

    contents: Contents
    """Which files."""


class RestoreWorkspace(Model):
    """Unpacks what all ancestors saved, in level order, then by task and step."""

    dest_dir: Path = "."
    """Where to, from the working directory."""


class SaveCache(Model):
    """Keeps files for later runs of the cache group; a key that exists is left as it is."""

    key: CacheKey
    """Name of the entry; {{ checksum "FILE" }}, {{ env "NAME" }}, {{ os }}, {{ arch }} and dates are filled in."""
    contents: Contents
    """Which files."""


class RestoreCache(Model):
    """Unpacks the newest entry of the cache group that matches; none is no error."""

    keys: Annotated[tuple[CacheKey, ...], LIST, Field(min_length=1, max_length=16), ListAtomic()]
    """Prefixes of keys, tried in this order; rendered as in saveCache."""
    dest_dir: Path = "."
    """Where to, from the working directory."""


class Step(Model):
    """One step; the first that fails ends the task."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[" + ", ".join(f"has(self.{kind})" for kind in STEP_KINDS) + "].filter(x, x).size() == 1",
            f"expected exactly one of {', '.join(STEP_KINDS)}",
        ),
    )

    name: DnsLabel | None = None
    """Name, unique in the task; without one it is called after kind and place, such as run-2."""
    run: Script | None = None
    """A script for the shell. At most 15,360 characters: longer ones belong into the repository or the image."""
    clone: Clone | None = None
    """Get a git repository."""
    save_to_workspace: SaveToWorkspace | None = None
    """Hand files to dependent tasks."""
    restore_workspace: RestoreWorkspace | None = None
    """Unpack the files that ancestors handed on."""
    save_cache: SaveCache | None = None
    """Keep files for later runs."""
    restore_cache: RestoreCache | None = None
    """Unpack files kept by earlier runs."""
    environment: Environment = ()
    """Variables for this step only; stronger than all others."""
    working_dir: Path | None = None
    """Directory to run in, created if missing, from the home directory if it begins with ~; default: the task's."""
    shell: Shell | None = None
    """Program and arguments that get the script; default: the task's."""
    user: User | None = None
    """Who runs it: NAME, UID, NAME:GROUP or UID:GID; default: the task's."""
    timeout_seconds: Seconds = 0
    """The step is ended after this time; 0 for no limit of its own."""

    def broken(self) -> Iterable[Found]:
        """Return what is wrong with the object as a whole."""
        if len(self.kinds()) != 1:
            yield (), self.rules[0].message

    def kinds(self) -> tuple[str, ...]:
        """Return the kinds that are set; exactly one in a sound step."""
        given = (
            self.run,
            self.clone,
            self.save_to_workspace,
            self.restore_workspace,
            self.save_cache,
            self.restore_cache,
        )
        return tuple(kind for kind, value in zip(STEP_KINDS, given, strict=True) if value is not None)

    def label(self, place: int) -> str:
        """Return the step's name, or the one it gets from its kind and its place (0, 1, …)."""
        return self.name or f"{self.kinds()[0]}-{place + 1}"
