"""Keys as paths of files: any S3 key becomes a path below a directory, and back.

What always holds, for keys up to 1,024 bytes: two keys never share a path; no part of a path is empty, `.`, `..`,
hidden, or longer than 255 bytes; a key that is the beginning of another does not get in its way; and all keys in one
folder sort between the folder's neighbours, so that a walk in the order of the decoded names is in that of the keys.

The names: an element of the key is written with everything but letters, digits and a few signs as %XX. A folder for
what follows a slash ends in `+`. An element of 80 bytes or more is cut: its first 80 bytes are a folder that ends in
`~`, in which the rest goes on. An empty last element is the file `%`. Neither `+` nor `~` nor a lone `%` can come from
a key.
"""

from dataclasses import dataclass

CUT = 80
"""Bytes of an element in one name: three times that and a mark stay below 255."""
NEXT_ELEMENT = "+"
SAME_ELEMENT = "~"
EMPTY = "%"

# No colon: some file systems refuse it. Capitals need a file system that tells them apart; the probe finds out.
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=@,")
_HIDDEN = ord(".")


def _encode(piece: bytes) -> str:
    return "".join(
        chr(byte) if byte in _PLAIN and not (at == 0 and byte == _HIDDEN) else f"%{byte:02X}"
        for at, byte in enumerate(piece)
    )


def _decode(name: str) -> bytes | None:
    """Return the bytes whose encoding is `name`, None if there are none."""
    pieces = name.split("%")
    decoded = bytearray(pieces[0].encode("utf-8", "surrogateescape"))
    for piece in pieces[1:]:
        try:
            decoded += bytes.fromhex(piece[:2])
        except ValueError:
            return None
        decoded += piece[2:].encode("utf-8", "surrogateescape")
    found = bytes(decoded)
    return found if _encode(found) == name and b"/" not in found and b"\0" not in found else None


def folders(text: bytes) -> tuple[list[str], bytes]:
    """Return the folders that every key beginning with `text` lies in, and the rest of `text` that names none."""
    names: list[str] = []
    *complete, rest = text.split(b"/")
    for element in complete:
        inner, last = _cut(element)
        names += inner
        names.append(_encode(last) + NEXT_ELEMENT)
    inner, rest = _cut(rest)
    return names + inner, rest


def path(key: bytes) -> tuple[list[str], str]:
    """Return the folders and the name of the file for a key."""
    names, rest = folders(key)
    return names, _encode(rest) or EMPTY


def _cut(element: bytes) -> tuple[list[str], bytes]:
    names: list[str] = []
    while len(element) >= CUT:
        names.append(_encode(element[:CUT]) + SAME_ELEMENT)
        element = element[CUT:]
    return names, element


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """What a name in a folder stands for: a part of keys, and whether more of the key is inside."""

    part: bytes
    """Bytes that this adds to the key, with the slash of a folder that begins a new element."""
    is_folder: bool
    name: str


def entry(name: str, *, is_folder: bool) -> Entry | None:
    """Return what a directory entry stands for, None for one that no key has (someone else's file)."""
    if not is_folder:
        part = b"" if name == EMPTY else _decode(name)
        return None if part is None or len(part) >= CUT or not name else Entry(part, is_folder=False, name=name)
    mark, part = name[-1:], _decode(name[:-1])
    if part is None:
        return None
    if mark == NEXT_ELEMENT and len(part) < CUT:
        return Entry(part + b"/", is_folder=True, name=name)
    if mark == SAME_ELEMENT and len(part) == CUT:
        return Entry(part, is_folder=True, name=name)
    return None
