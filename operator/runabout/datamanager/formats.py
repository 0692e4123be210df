"""Numbers of formats: telling what a newer version wrote from what is damaged.

What always holds, in this and every later format: what we write begins with four letters and a number (u8), and ends
with the CRC32C of all bytes before (u32). So bytes with a right checksum and a higher number are not damaged: a newer
version wrote them, and nothing older may stand in for them. Meta and identity have no checksum; there the number is the
last character of their first 16.
"""

import struct

import google_crc32c

from runabout.datamanager.errors import NewerFormat

MAGIC_SIZE = 5
"""Bytes of letters and number."""
_CRC = struct.Struct(">I")


def is_newer(data: bytes, magic: bytes) -> bool:
    """Return whether bytes begin with the letters of `magic` and a higher number; they may be damaged."""
    return data[: MAGIC_SIZE - 1] == magic[:-1] and data[MAGIC_SIZE - 1 : MAGIC_SIZE] > magic[-1:]


def refuse_newer(data: bytes, magic: bytes, *, where: str) -> None:
    """Refuse whole bytes of a newer format than `magic`; `where` names them in errors.

    Raises:
        NewerFormat: they are of one.
    """
    if is_newer(data, magic) and data[-_CRC.size :] == _CRC.pack(google_crc32c.value(data[: -_CRC.size])):
        raise _newer(where, data[MAGIC_SIZE - 1], magic[-1])


def refuse_newer_store(data: bytes, newest: bytes, *, where: str) -> None:
    """Refuse a meta or identity of a newer format than `newest`; `where` names it in errors.

    Raises:
        NewerFormat: it is of one.
    """
    at = len(newest) - 1
    number = data[at : at + 1]
    if data[:at] == newest[:at] and number.isdigit() and number > newest[at:]:
        raise _newer(where, int(number), int(newest[at:]))


def _newer(where: str, found: int, read: int) -> NewerFormat:
    return NewerFormat(
        f"{where} has the format {found}, which this version cannot read (it reads {read} and older ones): a newer "
        "version of Runabout has written this store; run that one, or a newer one"
    )
