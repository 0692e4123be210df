"""The language of cache keys: what can be wrong in one before any step runs.

The toolbox fills keys in (operator/toolbox/internal/template); both read the same table of cases in their tests.
"""

import re

WORDS = {"checksum": True, "env": True, "os": False, "arch": False}
WORDS |= dict.fromkeys(("year", "month", "day", "week"), False)
"""What can stand between braces, and whether a text in double quotes follows."""

_KNOWN = 'checksum "FILE", env "NAME", os, arch, year, month, day, week'
_PLACEHOLDER = re.compile(r'[ \t]*([A-Za-z0-9._-]+)[ \t]*("(?:[^"\\]|\\["\\])*")?[ \t]*\}\}')
_SHOWN = 40


def key_problem(key: str) -> str | None:
    """Return what is wrong with the first wrong placeholder of `key`, None if all are sound."""
    place = 0
    while (begin := key.find("{{", place)) >= 0:
        found = _PLACEHOLDER.match(key, begin + 2)
        if found is None:
            rest = key[begin + 2 :]
            shown = rest if len(rest) <= _SHOWN else f"{rest[:_SHOWN]}…"
            return f"{{{{{shown} is no placeholder: there are {_KNOWN}, each closed by }}}}"
        word, text = found.groups()
        takes = WORDS.get(word)
        if takes is None:
            return f"{{{{ {word} }}}} is not known: there are {_KNOWN}"
        if takes and text is None:
            return f'{{{{ {word} }}}} needs a text in double quotes, such as {{{{ {word} "NAME" }}}}'
        if takes and text == '""':
            return f'{{{{ {word} "" }}}}: the text is empty'
        if not takes and text is not None:
            return f"{{{{ {word} }}}} takes no text"
        place = found.end()
    return None
