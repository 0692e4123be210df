"""What can go wrong with the index of runs."""


class RunIndexError(Exception):
    """Base of the errors of this package."""


class DamagedIndex(RunIndexError):  # noqa: N818  # named after what is wrong
    """Bytes that are not the index file they should be; the message names the file."""


class NewerIndex(RunIndexError):  # noqa: N818  # named after what is wrong
    """An index file of a format or with words that this version does not know."""


class BadCursor(RunIndexError, ValueError):  # noqa: N818  # named after what is wrong
    """A cursor that no page of this program's has given."""


class NotIndexed(RunIndexError, ValueError):  # noqa: N818  # named after what is wrong
    """A query by a label that the installation does not index."""
