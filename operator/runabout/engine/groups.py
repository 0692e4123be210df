"""Groups: absolute paths by which runs are ordered, numbered and cached.

`/type/name[/type/name…]`; names are percent-encoded. Matching is by whole elements and case-sensitive: `/project/a`
covers `/project/a/branch/x`, never `/project/ab`. A run's effective group begins with its namespace, so tenants share
nothing.
"""

import re

_ELEMENT = re.compile(r"(?:[^/%\x00-\x20\x7f]|%[0-9A-Fa-f]{2})+")

MIN_ELEMENTS = 2
_ROOT_ELEMENTS = 3
"""namespace, type and name"""


def check_group(path: str) -> str | None:
    """Return what is wrong with a group path, None if nothing is."""
    if not path.startswith("/"):
        return f'group "{path}" is not absolute: begin it with "/", as in /project/web'
    elements = path[1:].split("/")
    if not all(elements):
        return f'group "{path}" has an empty element: remove the extra "/"'
    if len(elements) < MIN_ELEMENTS:
        return f'group "{path}" needs at least two elements, a type and a name, as in /project/web'
    for element in elements:
        if element in (".", ".."):
            return f'group "{path}": an element cannot be "{element}"'
        if not _ELEMENT.fullmatch(element):
            return (
                f'group "{path}": "{element}" is not percent-encoded; '
                "write a percent sign as %25, a slash inside a name as %2F, a space as %20"
            )
    return None


def default_group(name: str) -> str:
    """Return the group of a Run that names none: its own."""
    return f"/run/{name}"


def effective_group(namespace: str, group: str) -> str:
    """Return the group under which a run is ordered and stored."""
    return f"/{namespace}{group}"


def root_group(effective: str) -> str:
    """Return the part of an effective group whose runs are numbered together (`/<namespace>/project/web`)."""
    return "/".join(effective.split("/")[: _ROOT_ELEMENTS + 1])


def effective_cache_group(namespace: str, group: str, cache_group: str | None = None) -> str:
    """Return the group of a run's caches, in its namespace: its own choice, else the root of its group."""
    if cache_group is not None:
        return effective_group(namespace, cache_group)
    return root_group(effective_group(namespace, group))


def covers(prefix: str, group: str) -> bool:
    """Whether `group` is `prefix` or below it, by whole elements."""
    return group == prefix or group.startswith(f"{prefix.rstrip('/')}/")
