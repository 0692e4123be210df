"""One thing that is wrong with a resource: where, and what to do about it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

Location = tuple[str | int, ...]
"""A path as parts: names of fields and keys, and places in lists."""

MAX_PART = 317
"""Characters of a key that a path shows: those of the longest key of a label."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at one place; as a text it reads like the API server's: `spec.tasks[2].name: Required value`."""

    path: str
    message: str

    def __str__(self) -> str:
        """Return path and message in one line."""
        return f"{self.path}: {self.message}" if self.path else self.message


def path_text(parts: Iterable[str | int], *, start: str = "") -> str:
    """Return a path as the API server writes it: `spec.tasks[2].depends[0].task`, odd keys in brackets."""
    text = start
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN.fullmatch(part):
            text += f".{_cut(part)}" if text else _cut(part)
        else:
            text += f"[{_cut(part)}]"
    return text


def _cut(part: str) -> str:
    return part if len(part) <= MAX_PART else f"{part[: MAX_PART - 1]}…"
