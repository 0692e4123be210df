"""Values of Secrets and ConfigMaps where there is no cluster: files of a folder, `<name>/<key>`.

What always holds: what is missing or cannot be used is the task's fault, and the message says which file would do.
"""

from collections.abc import Mapping
from pathlib import Path

from runabout.executors.podview import items, mapping
from runabout.records.json import JsonObject

_NO_FOLDER = Path("/nonexistent")
_NO_TEXT = "a variable can only be text; encode the value, as base64 for example, and decode it in the step"


class UnusableError(Exception):
    """What a task asks for is not to be had here; the message says what to do."""


class LocalSecrets:
    """Reads a `folder`; None where there is none."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def variables(self, container: JsonObject) -> dict[str, str]:
        """Return the variables of a container of a pod, the values filled in.

        Raises:
            UnusableError: a value is missing, or no text.
        """
        found: dict[str, str] = {}
        for variable in items(container.get("env")):
            name, value = str(variable["name"]), variable.get("value")
            if isinstance(value, str):
                found[name] = value.replace("$$", "$")  # as Kubernetes does
                continue
            read = self._referred(name, mapping(variable.get("valueFrom")))
            if read is not None:
                found[name] = read
        return found

    def login(self, secret: str) -> Path:
        """Return the folder with what a clone step logs in with.

        Raises:
            UnusableError: it is not there.
        """
        folder = self._place(secret)
        if not folder.is_dir():
            raise UnusableError(
                f"what a clone step logs in with comes from the Secret {secret}, which only a cluster has: put "
                f"username and password, or ssh-privatekey, as files into the folder {self._advised(folder)}"
            )
        return folder

    def volume(self, volume: str, name: str, *, optional: bool) -> Path | None:
        """Return the folder with the files of a volume that comes from the Secret or ConfigMap of that name.

        Raises:
            UnusableError: it is not there, and not optional.
        """
        folder = self._place(name)
        if folder.is_dir():
            return folder
        if optional:
            return None
        raise UnusableError(
            f"the volume {volume} comes from the Secret or ConfigMap {name}, which only a cluster has: put its values "
            f"as files into the folder {self._advised(folder)}"
        )

    def _referred(self, variable: str, source: Mapping[str, object]) -> str | None:
        [reference] = map(mapping, source.values())
        file = self._place(str(reference["name"])) / str(reference["key"])
        try:
            value = file.read_bytes()
        except OSError as error:
            if reference.get("optional") is True:
                return None
            raise UnusableError(
                f"the variable {variable} comes from a Secret or ConfigMap, which only a cluster has: put its value "
                f"into the file {self._advised(file)}"
            ) from error
        try:
            text = value.decode()
        except UnicodeDecodeError as error:
            raise UnusableError(f"the variable {variable} comes from {file}, which is not UTF-8: {_NO_TEXT}") from error
        if "\x00" in text:
            raise UnusableError(f"the variable {variable} comes from {file}, which has a zero byte: {_NO_TEXT}")
        return text

    def _advised(self, place: Path) -> str:
        """Return where in the folder something belongs, and what to do to have such a folder."""
        if self._folder is not None:
            return str(place)
        return f"{place.relative_to(_NO_FOLDER)} and give the folder as --secrets"

    def _place(self, name: str) -> Path:
        return (self._folder or _NO_FOLDER) / name
