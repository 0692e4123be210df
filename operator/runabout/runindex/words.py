"""The distinct strings of a column, sorted, as flat bytes; and a filter that says which of them a file cannot have.

Groups are kept with NUL in place of the slash. NUL is below every other byte, so a group and all that is below it, by
whole elements, are neighbours, and a prefix is a range.
"""

import zlib
from bisect import bisect_left
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Sums = TypeVar("Sums", U32, U64)

FILTER_BITS = 18
"""log2 of a filter's bits: 32 KiB a file. With 8,000 strings 3 in 100 absent ones are not told apart."""

_WORD = (1 << 64) - 1
_BASE = 0x9E3779B97F4A7C15
_OTHER_BASE = 0xD6E8FEB86659FD93
_SPREAD = 0xBF58476D1CE4E5B9


def group_key(group: str) -> bytes:
    """Return the bytes by which groups are sorted."""
    return group.replace("/", "\0").encode()


class Words(Sequence[bytes]):
    """Sorted, distinct strings: `data` holds their bytes without gaps, string i ends where string i + 1 begins."""

    def __init__(self, offsets: U32, data: U8) -> None:
        self.offsets = offsets
        self.data = data
        self._offsets = offsets.data
        self._data = data.data

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, place: int) -> bytes:  # type: ignore[override]  # slices of it are not needed
        return self._data[self._offsets[place] : self._offsets[place + 1]].tobytes()

    def text(self, place: int) -> str:
        """Return a string as one."""
        return str(self._data[self._offsets[place] : self._offsets[place + 1]], "utf-8")

    def span(self, low: bytes, high: bytes) -> tuple[int, int]:
        """Return the range of strings that are at least `low` and below `high`."""
        begin = bisect_left(self, low)
        return begin, bisect_left(self, high, begin)

    def exact(self, word: bytes) -> tuple[int, int]:
        """Return the range that holds `word` alone, an empty one if it is not here."""
        begin = bisect_left(self, word)
        return begin, begin + (begin < len(self) and self[begin] == word)


def bucket(field: str, word: bytes) -> int:
    """Return the bit of the filter that is set in every file whose column `field` has `word`."""
    value, weight = 0, 1
    for byte in word:
        value += (byte + 1) * weight
        weight = weight * _BASE & _WORD
    return ((value & _WORD) ^ _salt(field)) * _SPREAD % (1 << 64) >> (64 - FILTER_BITS)


def buckets(field: str, hashes: U64) -> npt.NDArray[np.int64]:
    """Return :func:`bucket` of words whose hashes are given."""
    spread = (hashes ^ np.uint64(_salt(field))) * np.uint64(_SPREAD)
    return (spread >> np.uint64(64 - FILTER_BITS)).astype(np.int64)


def _salt(field: str) -> int:
    return zlib.crc32(field.encode())


class Hashes:
    """Hashes of words and of their beginnings, all computed at once; a second hash of whole words if it is wanted."""

    def __init__(self, words: Words, *, twice: bool = False) -> None:
        offsets = words.offsets.astype(np.int64)
        lengths = np.diff(offsets)
        longest = int(lengths.max(initial=0))
        place = np.arange(len(words.data)) - np.repeat(offsets[:-1], lengths)
        self._offsets = offsets
        self._separators = np.flatnonzero(words.data == 0)
        self._sums = _sums(words.data, place, _powers(_BASE, longest))
        self._others = _sums(words.data, place, _powers(_OTHER_BASE, longest).astype(np.uint32)) if twice else None

    def whole(self) -> U64:
        """Return the hash of each word."""
        return self._until(np.arange(len(self._offsets) - 1), self._offsets[1:])

    def others(self) -> U32:
        """Return the second hash of each word, of 32 bits."""
        if self._others is None:
            raise ValueError("these words were hashed once")
        return self._others[self._offsets[1:]] - self._others[self._offsets[:-1]]

    def prefixes(self) -> U64:
        """Return the hashes of what stands before a separator, of all words; those of nothing included."""
        word = np.searchsorted(self._offsets, self._separators, side="right") - 1
        return self._until(word, self._separators)

    def roots(self, elements: int) -> U64:
        """Return the hash of each word's first elements, of all of it if it has fewer."""
        count = len(self._offsets) - 1
        first = np.searchsorted(self._separators, self._offsets[:-1])
        wanted = first + elements
        ends = self._offsets[1:].copy()
        inside = wanted < len(self._separators)
        candidate = self._separators[wanted[inside]]
        ends[inside] = np.minimum(ends[inside], candidate)
        return self._until(np.arange(count), ends)

    def _until(self, word: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> U64:
        return self._sums[end] - self._sums[self._offsets[word]]


def _powers(base: int, count: int) -> U64:
    powers = np.ones(count + 1, np.uint64)
    np.cumprod(np.full(count, base, np.uint64), out=powers[1:])
    return powers


def _sums(values: U8, place: npt.NDArray[np.int64], powers: Sums) -> Sums:
    """Return the sums of all bytes before each place, each byte by the power for its place in its word."""
    weighted = powers.take(place)
    weighted += weighted * values
    sums = np.zeros(len(values) + 1, powers.dtype)
    np.cumsum(weighted, out=sums[1:])
    return sums
