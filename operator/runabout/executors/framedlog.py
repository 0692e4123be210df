"""A container's log as conmon writes it, and every kubelet: each line with time, stream, and whether it is whole.

What always holds: what comes out are the bytes that the container wrote, in whatever pieces the file was read.
"""

WHOLE = b"F"
"""Tag of a record that ends with an end of line; `P` is one that does not."""


class Unframed:
    """Takes the frames off, piece by piece."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> bytes:
        """Return what the container wrote, as far as its records are complete after this piece."""
        *records, self._rest = (self._rest + piece).split(b"\n")
        return b"".join(map(_content, records))


def _content(record: bytes) -> bytes:
    """Return what is in one record; one that is none is a line as it is."""
    fields = record.split(b" ", 3)
    if len(fields) != 4 or fields[1] not in (b"stdout", b"stderr"):  # noqa: PLR2004 - time, stream, tag, content
        return record + b"\n"
    return fields[3] + (b"\n" if fields[2] == WHOLE else b"")
