"""The labels by which an installation indexes its runs: how they are written in a setting, and what they may be.

Each one is a column of every index file and costs memory for every run there ever was, so their number is bounded.
"""

import re
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

MOST = 8
"""Labels that can be indexed."""
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_LONGEST_PREFIX = 253
_LONGEST_NAME = 63


def label_keys(text: str) -> tuple[str, ...]:
    """Return the keys in a text that has commas between them, in its order; none for an empty one.

    Raises:
        ValueError: one is no key of a label as Kubernetes has them, one is there twice, or there are too many.
    """
    keys = tuple(key.strip() for key in text.split(",")) if text.strip() else ()
    for key in keys:
        if not _is_key(key):
            raise ValueError(
                f"{key!r} is no key of a label: a name of letters, digits, '-', '_' and '.', at most {_LONGEST_NAME} "
                f"characters, with a domain and a slash before it if you like, such as team or example.com/team"
            )
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"the label {twice[0]} is there twice: name it once")
    if len(keys) > MOST:
        raise ValueError(f"{len(keys)} labels, at most {MOST} can be indexed: leave out those that nobody asks for")
    return keys


def _is_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    domain = not slash or (len(prefix) <= _LONGEST_PREFIX and _PREFIX.fullmatch(prefix) is not None)
    return domain and len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


def _read(value: object) -> object:
    return label_keys(value) if isinstance(value, str) else value


LabelKeys = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read)]
"""A setting's type: a variable with commas between the keys."""
