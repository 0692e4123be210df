"""Groups: absolute paths by which runs are ordered, numbered and cached.

`/type/name[/type/name…]`; names are percent-encoded. Matching is by whole elements and case-sensitive: `/project/a`
covers `/project/a/branch/x`, never `/project/ab`. A run's effective group begins with its namespace, so tenants share
nothing.
"""

import re

_ELEMENT = re.compile(r"(?:[^/%]|%[0-9A-Fa-f]{2})+")
MIN_ELEMENTS = 2


def check_group(path: str) -> str | None:
    """Return what is wrong with a group path, None if nothing is."""
    if not path.startswith("/"):
        return f'group "{path}" is not absolute: begin it with "/", as in /project/web'
    elements = path[1:].split("/")
    if any(not element for element in elements):
        return f'group "{path}" has an empty element: remove the extra "/"'
    if len(elements) < MIN_ELEMENTS:
        return f'group "{path}" needs at least two elements, a type and a name, as in /project/web'
    for element in elements:
        if not _ELEMENT.fullmatch(element):
            return f'group "{path}": "{element}" has a "%" without two hexadecimal digits; write a percent sign as %25'
    return None


def default_group(name: str) -> str:
    """Return the group of a Run that names none: its own."""
    return f"/run/{name}"


def effective_group(namespace: str, group: str) -> str:
    """Return the group under which a run is ordered and stored."""
    return f"/{namespace}{group}"


def root_group(effective: str) -> str:
    """Return the part of an effective group whose runs are numbered together (`/<namespace>/project/web`)."""
    return "/".join(effective.split("/")[:4])


def covers(prefix: str, group: str) -> bool:
    """Whether `group` is `prefix` or below it, by whole elements."""
    return group == prefix or group.startswith(f"{prefix.rstrip('/')}/")
