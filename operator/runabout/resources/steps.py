"""Steps: what a task does, one after the other, in its first container."""

from typing import Annotated

from pydantic import Field, StringConstraints

from runabout.resources.base import Long, Model, Name, Seconds, Short, Text
from runabout.resources.pod import KeyRef, Variable, variables

Script = Annotated[str, StringConstraints(min_length=1, max_length=65_536)]
Patterns = Annotated[tuple[Text, ...], Field(max_length=64)]

KINDS = ("run", "clone", "saveToWorkspace", "restoreWorkspace", "saveCache", "restoreCache")


class Content(Model):
    """Files to archive."""

    source_dir: Text = Field(default=".", description="Where the patterns start.")
    dest_dir: Text = Field(default=".", description="Where the files stand in the archive.")
    paths: Patterns = Field(default=("**",), description="Patterns; ** matches any number of folders.")


class Clone(Model):
    """Clones a git repository."""

    url: Long = Field(description="https or ssh URL.")
    ref: Short = Field(default="HEAD", description="Branch, tag or commit.")
    depth: Annotated[int, Field(ge=0, le=1_000_000)] = Field(default=1, description="Commits; 0 is all of them.")
    submodules: bool = Field(default=False, description="Whether to clone submodules, too.")
    dest_dir: Text = Field(default=".", description="Where to clone to.")
    credentials: KeyRef | None = Field(default=None, description="A Secret's key with a token or an ssh key.")
    known_hosts: KeyRef | None = Field(default=None, description="A ConfigMap's key with ssh host keys.")


class SaveToWorkspace(Model):
    """Saves files for the tasks that depend on this one."""

    contents: Annotated[tuple[Content, ...], Field(min_length=1, max_length=32)] = Field(description="What to save.")


class RestoreWorkspace(Model):
    """Restores what all ancestors have saved."""

    dest_dir: Text = Field(default=".", description="Where to restore it.")


class SaveCache(Model):
    """Saves files under a key, unless there is such a key already."""

    key: Text = Field(description="Template of the key.")
    contents: Annotated[tuple[Content, ...], Field(min_length=1, max_length=32)] = Field(description="What to save.")


class RestoreCache(Model):
    """Restores the newest cache whose key begins with one of `keys`."""

    keys: Annotated[tuple[Text, ...], Field(min_length=1, max_length=16)] = Field(description="Tried in this order.")
    dest_dir: Text = Field(default=".", description="Where to restore it.")


class Step(Model):
    """One step; exactly one of run, clone, saveToWorkspace, restoreWorkspace, saveCache, restoreCache."""

    name: Name | None = Field(default=None, description="Default: the step's kind and number.")
    run: Script | None = Field(default=None, description="A script for the shell.")
    clone: Clone | None = Field(default=None, description="Clones a git repository.")
    save_to_workspace: SaveToWorkspace | None = Field(default=None, description="Saves files for later tasks.")
    restore_workspace: RestoreWorkspace | None = Field(default=None, description="Restores what ancestors saved.")
    save_cache: SaveCache | None = Field(default=None, description="Saves a cache.")
    restore_cache: RestoreCache | None = Field(default=None, description="Restores a cache.")
    environment: tuple[Variable, ...] = variables("Variables of this step; they win over all others.")
    working_dir: Text | None = Field(default=None, description="Default: the task's.")
    shell: Short | None = Field(default=None, description="Default: the task's.")
    user: Short | None = Field(default=None, description="Default: the task's.")
    timeout_seconds: Seconds = Field(default=0, description="After which the step fails; 0 is never.")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which kinds are set, by their names in the spec."""
        values = (
            self.run,
            self.clone,
            self.save_to_workspace,
            self.restore_workspace,
            self.save_cache,
            self.restore_cache,
        )
        return tuple(kind for kind, value in zip(KINDS, values, strict=True) if value is not None)
