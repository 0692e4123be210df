"""The markers in a container's log: telling them from output, and giving back the output's own bytes.

Pure. The rules are those of docs/internals/toolbox.md, section Log; `operator/toolbox/internal/steplog` writes what is
read here. What always holds: only a line with the log's own nonce is a marker; at most one line and its newline are
kept back, so memory is bounded; the pieces in which the bytes come make no difference.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from runabout.records import Status

SETUP: Final = -1
"""The number of the setup, where a step has 0 and up."""

_ESCAPE: Final = b"\x7f"
_MAX_MARKER: Final = 2_048
_MAX_LINE: Final = 64 << 10
"""Longer than any line of a toolbox; a longer one comes from something else and is passed on in pieces."""
_MAX_UNKNOWN: Final = 256 << 10
"""How much is kept of a log whose nonce is not known yet; its first marker comes after 64 KiB of output at most."""

_ANY_MARKER: Final = re.compile(rb"^\[runabout ([0-9a-f]{32})\+? (?:v1|begin|at|end|done) [^\]\n]*\]$", re.MULTILINE)
_ESCAPED_RETURN: Final = re.compile(rb"(\r\x7f*)\x7f(?=\n)")
_ENDED: Final = {"success": Status.SUCCESS, "failed": Status.FAILED, "stopped": Status.STOPPED}


class Kind(StrEnum):
    """What a marker says; the words are those in the log."""

    LOG = "v1"
    BEGIN = "begin"
    AT = "at"
    END = "end"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Marker:
    """A place in the log: `offset` bytes of step `step` come before it.

    `sizes` are the bytes of the setup and of the steps after it, as far as they have ended (begin, done). `status`,
    `exit_code` and `time` (milliseconds since 1970) are those of the step; for done `exit_code` is the task's.
    """

    kind: Kind
    step: int = SETUP
    offset: int = 0
    inserted: bool = False
    sizes: tuple[int, ...] = ()
    status: Status | None = None
    exit_code: int | None = None
    time: int | None = None
    reason: str = ""


Token: TypeAlias = bytes | Marker


def parse_marker(fields: bytes, *, inserted: bool = False) -> Marker | None:
    """Return the marker with these fields (what stands between the nonce and the bracket), None if it is none."""
    try:
        return _parse(fields.decode("ascii").split(" "), inserted=inserted)
    except (ValueError, IndexError, KeyError):
        return None


def _parse(fields: list[str], *, inserted: bool) -> Marker:
    kind = Kind(fields[0])
    match kind:
        case Kind.LOG:
            return Marker(kind, inserted=inserted)
        case Kind.BEGIN:
            _, step, time, sizes, _ = fields
            return Marker(kind, _number(step), inserted=inserted, time=_number(time), sizes=_sizes(sizes))
        case Kind.AT:
            _, step, offset = fields
            return Marker(kind, _step(step), _number(offset), inserted)
        case Kind.END:
            _, step, offset, status, exit_code, time = fields
            return Marker(
                kind,
                _step(step),
                _number(offset),
                inserted,
                status=_ENDED[status],
                exit_code=_number(exit_code),
                time=_number(time),
            )
        case Kind.DONE:
            _, exit_code, reason, sizes = fields
            return Marker(kind, inserted=inserted, exit_code=_number(exit_code), reason=reason, sizes=_sizes(sizes))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(text)
    return int(text)


def _step(text: str) -> int:
    return SETUP if text == "setup" else _number(text)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(_number(size) for size in text.split(","))


class MarkerScanner:
    """Cuts a container's log into output and markers.

    The last newline and the line after it are kept until more comes: a newline before a marker may be the toolbox's,
    and what has no newline yet may not have been written by the container at all (a log server appends its own errors).
    """

    def __init__(self, nonce: str | None = None) -> None:
        self.nonce: str | None = None
        self._prefix = b""
        self._rest = b""
        self._newline = False
        self._first = True
        if nonce is not None:
            self._adopt(nonce)

    def feed(self, data: bytes) -> Iterator[Token]:
        """Yield what `data` completes. Exhaust it before the next call."""
        text = self._rest + data
        if self.nonce is None:
            found = _ANY_MARKER.search(text, 0, text.rfind(b"\n") + 1)
            if found is None:
                self._rest = text[-_MAX_UNKNOWN:]
                return
            self._adopt(found[1].decode())
        end = text.rfind(b"\n") + 1
        if len(text) - end > _MAX_LINE:
            end = len(text)
        complete, self._rest = text[:end], text[end:]
        if complete:
            yield from self._held_back(self._cut(self._without_fragment(complete)))

    def restart(self) -> None:
        """Forget what is incomplete: the next bytes come from another request and may begin anywhere."""
        self._rest = b""
        self._newline = False
        self._first = True

    def finish(self) -> Iterator[Token]:
        """Yield what was kept back: nothing follows. A marker cut off in the middle is dropped."""
        rest, self._rest = self._rest, b""
        if self._newline:
            self._newline = False
            yield b"\n"
        if self.nonce is None:
            yield from (rest,) if rest else ()
        elif not rest.startswith((self._prefix + b" ", self._prefix + b"+")):
            yield from self._cut(rest)

    def _adopt(self, nonce: str) -> None:
        self.nonce = nonce
        self._prefix = b"[runabout " + nonce.encode()

    def _without_fragment(self, text: bytes) -> bytes:
        """Drop a first line that may be the end of a marker, or begin inside an escape: its bytes cannot be counted.

        Only a runtime that stores pieces of lines can begin a file like that.
        """
        if not self._first:
            return text
        self._first = False
        line, _, others = text.partition(b"\n")
        if line.startswith((self._prefix + b" ", self._prefix + b"+")):
            return text
        ends_marker = line == b"" or line.endswith(b"]")
        inside_prefix = any(line.startswith(self._prefix[i:] + _ESCAPE) for i in range(1, len(self._prefix) + 1))
        return others if ends_marker or inside_prefix else text

    def _cut(self, text: bytes) -> Iterator[Token]:
        start = search = 0
        while (found := text.find(self._prefix, search)) >= 0:
            search = found + len(self._prefix)
            follows = text[search : search + 1]
            if follows == _ESCAPE:
                yield _unescaped(text[start:search])
                start = search = search + 1
                continue
            end = text.find(b"]\n", search, search + _MAX_MARKER)
            if follows not in {b" ", b"+"} or end < 0:
                continue
            if found > start:
                yield _unescaped(text[start:found])
            inserted = follows == b"+"
            marker = parse_marker(text[search + (2 if inserted else 1) : end], inserted=inserted)
            if marker is not None:
                yield marker
            start = search = end + 2
        if start < len(text):
            yield _unescaped(text[start:])

    def _held_back(self, tokens: Iterator[Token]) -> Iterator[Token]:
        for token in tokens:
            if self._newline and not (isinstance(token, Marker) and token.inserted):
                yield b"\n"
            self._newline = False
            if isinstance(token, bytes) and token.endswith(b"\n"):
                self._newline = True
                token = token[:-1]  # noqa: PLW2901 -- the newline is the next token's to release
            if token != b"":
                yield token


def _unescaped(text: bytes) -> bytes:
    return _ESCAPED_RETURN.sub(rb"\1", text) if b"\r" in text else text
