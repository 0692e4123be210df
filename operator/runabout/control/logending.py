"""When the log of a container that has ended is given up, judged by the answers that come. Pure; time is given."""

from collections.abc import Callable

TRIES_AFTER_END = 3
PATIENCE_SECONDS = 15.0
"""The log of a container that has ended is given up when the API server has said so often, and for so long, that it
cannot be had, or has sent it without its end. An API server that does not answer says nothing: it is asked again for
as long as it takes."""
SILENT_SECONDS = 600.0
"""The same for a log that does not come, or not whole, from an API server that is there: its node may hang."""


class Ending:
    """Judges whether the log of a container that has ended will ever be more than it is.

    An answer that ends well is no proof: an API server whose kubelet breaks off sends the rest of nothing and ends it
    as if it were whole.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tries = 0
        self._since = 0.0
        self._silences = 0
        self._silent_since = 0.0
        self._size = 0

    def refused(self) -> bool:
        """Take note that the log cannot be had; return whether that was said often enough."""
        self._since = self._since if self._tries else self._clock()
        self._tries += 1
        return self._tries >= TRIES_AFTER_END and self._clock() - self._since >= PATIENCE_SECONDS

    def silent(self) -> bool:
        """Take note that the log does not come from an API server that is there; return whether that went on."""
        self._silent_since = self._silent_since if self._silences else self._clock()
        self._silences += 1
        return self._silences >= TRIES_AFTER_END and self._clock() - self._silent_since >= SILENT_SECONDS

    def came(self, size: int, *, over: bool, ends: bool) -> bool:
        """Take note of an answer of `size` bytes without the log's last line; return whether there is no more.

        `over`: it was asked for when the container had ended; `ends`: the log has such a line. One that has none was
        ended with its container: two answers of one size are it, if they say anything.
        """
        agreed = size == self._size > 0
        self._size = size
        return over and (self.refused() if ends or not size else agreed)
