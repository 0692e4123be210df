"""What is wrong with steps that clone: addresses that no git server has, and ssh without a key.

The toolbox would say the same when the step comes; found here, it is said before anything runs.
"""

import re
from collections.abc import Iterator

from runabout.resources import Problem
from runabout.resources.steps import Clone, Step

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/]*)")
_SCP_LIKE = re.compile(r"([^@/\s]+@)?[^:/\s]+:[^\\\s].*")
_SCHEMES = frozenset({"https", "http", "ssh"})
_ADVICE = "write https://…, ssh://… or git@host:path"


def clone_rules(step: Step, where: str) -> Iterator[Problem]:
    """Return what is wrong with `step`, whose path is `where`, if it is one that clones a repository."""
    if step.clone is not None:
        yield from _clone(step.clone, f"{where}.clone")


def _clone(clone: Clone, where: str) -> Iterator[Problem]:
    found = _SCHEME.match(clone.url)
    if found is None:
        if not _SCP_LIKE.fullmatch(clone.url):
            yield Problem(f"{where}.url", f"is no address of a git server: {_ADVICE}")
            return
    elif found["scheme"].lower() not in _SCHEMES:
        yield Problem(f"{where}.url", f"{found['scheme']} is no way to clone: {_ADVICE}")
        return
    elif not found["authority"].rpartition("@")[2]:
        yield Problem(f"{where}.url", f"names no host: {_ADVICE}")
        return
    if found is not None and ":" in found["authority"].rpartition("@")[0]:
        yield Problem(
            f"{where}.url", "has a password in it, which everybody may read: put it into a Secret named by credentials"
        )
    if clone.credentials is None and (found is None or found["scheme"].lower() == "ssh"):
        yield Problem(f"{where}.credentials", "ssh needs a key: name a Secret of type kubernetes.io/ssh-auth")
    if clone.credentials is not None and found is not None and found["scheme"].lower() == "http":
        yield Problem(f"{where}.url", "would get the password unencrypted: use https, or no credentials")
