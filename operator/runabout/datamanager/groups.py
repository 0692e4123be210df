"""Which change groups were written when: finds transactions that read what somebody has changed since."""

from collections.abc import Iterable

from runabout.datamanager.transaction import Transaction

MAX_GROUPS = 100_000
"""Groups whose last write is remembered; what is older counts as written at the horizon."""


class Groups:
    """Remembers last writes. What was read before `horizon` is too old to be judged, and counts as changed."""

    def __init__(self, *, horizon: int) -> None:
        self._horizon = horizon
        self._written: dict[str, int] = {}

    def conflict(self, transaction: Transaction, also: set[str]) -> str | None:
        """Return a group of the transaction that was written after it read, or is in `also`; None if there is none."""
        read_at = transaction.read_at
        if read_at is None:
            return None
        assumed = read_at + 1 if read_at < self._horizon else 0
        for group in transaction.groups:
            if group in also or self._written.get(group, assumed) > read_at:
                return group
        return None

    def remember(self, groups: Iterable[str], sequence: int) -> None:
        """Take note of a write."""
        for group in groups:
            self._written.pop(group, None)
            self._written[group] = sequence
        while len(self._written) > MAX_GROUPS:
            group = next(iter(self._written))
            self._horizon = max(self._horizon, self._written.pop(group))
