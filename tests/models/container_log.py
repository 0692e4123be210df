"""What happens to a task's output on its way to us, as models: the toolbox's log, and the runtime's files after it.

`ToolboxLog` follows the rules of docs/internals/toolbox.md byte by byte and knows nothing of how the Go program does
it; its limits are arguments, so that small logs meet them. `runtime_records` does what containerd's logger and the
kubelet do to it: lines end without their carriage return and long lines are cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

NONCE = "0123456789abcdef0123456789abcdef"
RUNTIME_LINE = 16_384


@dataclass
class ToolboxLog:
    """Writes a log whose bytes are in `text`."""

    nonce: str = NONCE
    mark_from: int = 200
    max_line: int = 100
    text: bytearray = field(default_factory=bytearray)
    _stream: str = "setup"
    _sizes: list[int] = field(default_factory=list)
    _offset: int = 0
    _since: int = 0
    _line: bytes = b""
    """The current line as output, where the log stands in it."""

    @property
    def prefix(self) -> bytes:
        return b"[runabout " + self.nonce.encode()

    def marker(self, *fields: object) -> None:
        if self._line:
            self._newline()
        inserted = b"+" if self._line else b""
        words = " ".join(str(word) for word in fields).encode()
        self.text += self.prefix + inserted + b" " + words + b"]\n"
        self._line = b""
        self._since = 0

    def begin(self, step: int, name: str = "x") -> None:
        self._stream, self._offset = str(step), 0
        self.marker("begin", step, 1000 + step, ",".join(map(str, self._sizes)), name)

    def write(self, data: bytes) -> None:
        for byte in (bytes([value]) for value in data):
            self._offset += 1
            self._since += 1
            if byte == b"\n":
                self._newline()
                self._line = b""
                if self._since >= self.mark_from:
                    self.marker("at", self._stream, self._offset)
                continue
            self._line += byte
            self.text += byte
            if self._line.endswith(self.prefix):
                self.text += b"\x7f"
            if len(self._line) >= self.max_line:
                self.marker("at", self._stream, self._offset)

    def end(self, status: str = "success", exit_code: int = 0) -> None:
        self.marker("end", self._stream, self._offset, status, exit_code, 2000)
        self._sizes.append(self._offset)

    def done(self, exit_code: int = 0, reason: str = "Completed") -> None:
        self.marker("done", exit_code, reason, ",".join(map(str, self._sizes)))

    def _newline(self) -> None:
        if self._line.rstrip(b"\x7f").endswith(b"\r"):
            self.text += b"\x7f"
        self.text += b"\n"


def toolbox_log(
    outputs: Sequence[bytes], *, setup: bytes = b"toolbox\n", mark_from: int = 200, max_line: int = 100
) -> bytes:
    """Return the log of a task all of whose steps succeed."""
    log = ToolboxLog(mark_from=mark_from, max_line=max_line)
    log.marker("v1", "1il7g1c000001", "build", 1)
    log.write(setup)
    log.end()
    for number, output in enumerate(outputs):
        log.begin(number)
        log.write(output)
        log.end()
    log.done()
    return bytes(log.text)


def runtime_records(text: bytes, limit: int = RUNTIME_LINE) -> list[bytes]:
    """Return what the log API gives for each record of the runtime's file."""
    records: list[bytes] = []
    for line in _lines(text):
        content, newline = (line[:-1], b"\n") if line.endswith(b"\n") else (line, b"")
        if newline and content.endswith(b"\r"):
            content = content[:-1]
        while len(content) > limit:
            records.append(content[:limit])
            content = content[limit:]
        records.append(content + newline)
    return records


def _lines(text: bytes) -> list[bytes]:
    *complete, last = text.split(b"\n")
    return [line + b"\n" for line in complete] + ([last] if last else [])
