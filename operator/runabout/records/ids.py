"""Run ids: 64 bits that sort by creation, written as 13 characters.

From the top: milliseconds since 2020-01-01 UTC (41 bits), the store (8), a counter (15). The text is base 32hex in
lower case (0-9 a-v), right-aligned, so that texts sort as numbers do. An :class:`IdGenerator` never goes
backwards, even if the clock does.
"""

from typing import NewType

RunId = NewType("RunId", str)

EPOCH_MS = 1_577_836_800_000
"""2020-01-01T00:00:00Z in milliseconds since 1970."""

_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_LENGTH = 13
_STORE_BITS = 8
_COUNTER_BITS = 15
_TIME_BITS = 41
_MAX_STORE = (1 << _STORE_BITS) - 1


def _encode(number: int) -> RunId:
    digits = []
    for _ in range(_LENGTH):
        digits.append(_DIGITS[number & 31])
        number >>= 5
    return RunId("".join(reversed(digits)))


def _decode(text: str) -> int:
    number = 0
    for character in text:
        number = number * 32 + _DIGITS.index(character)
    return number


def parse_run_id(text: str) -> RunId:
    """Return `text` as a run id.

    Raises:
        ValueError: it is not 13 characters of 0-9 a-v below 2^64.
    """
    if len(text) != _LENGTH or any(character not in _DIGITS for character in text) or text[0] > "f":
        raise ValueError(f"{text!r} is no run id: expected 13 characters of 0-9 and a-v")
    return RunId(text)


def run_id_time(run: RunId) -> int:
    """Return when the id was given, in milliseconds since 1970."""
    return (_decode(run) >> (_STORE_BITS + _COUNTER_BITS)) + EPOCH_MS


class IdGenerator:
    """Gives increasing ids for one store.

    `last` is the newest id the store has ever given (None for an empty store): the first new one is above it,
    whatever the clock says.
    """

    def __init__(self, *, store: int, last: RunId | None = None) -> None:
        if not 0 <= store <= _MAX_STORE:
            raise ValueError(f"store must be 0 to {_MAX_STORE}, not {store}")
        self._store = store
        number = _decode(last) if last is not None else 0
        self._time = number >> (_STORE_BITS + _COUNTER_BITS)
        self._counter = number & ((1 << _COUNTER_BITS) - 1)

    def next(self, now: int) -> RunId:
        """Return an id above every earlier one; `now` is milliseconds since 1970."""
        time = now - EPOCH_MS
        if time > self._time:
            self._time, self._counter = time, 0
        else:
            self._counter += 1
            if self._counter >> _COUNTER_BITS:
                self._time, self._counter = self._time + 1, 0
        if self._time >> _TIME_BITS:
            raise OverflowError("the run id's 41 bits of time are used up (year 2089): the clock is wrong")
        return _encode(
            (self._time << (_STORE_BITS + _COUNTER_BITS)) | (self._store << _COUNTER_BITS) | self._counter,
        )
