"""What can go wrong with the object storage: one tree, in which the class says whether trying again can help.

Messages name the store, the key and what to do. A write that ended in :class:`RetryableOstError` or in
:class:`WriteFailedError`, or was cancelled, may be stored all the same, even some time later: nothing half-written is
ever visible, but the whole may be. So what matters is written with `create_only`.
"""


class OstError(Exception):
    """Any failure of the object storage."""


class RetryableOstError(OstError):
    """The same call may succeed later, without anybody changing what was asked for."""


class UnavailableError(RetryableOstError):
    """The storage did not answer, answered with a failure of its own, or did not answer in time."""


class FullError(RetryableOstError):
    """No room is left: it helps to make some."""


class PermanentOstError(OstError):
    """The same call will fail again."""


class NotFoundError(PermanentOstError):
    """There is no object under this key."""


class AlreadyExistsError(PermanentOstError):
    """There is an object under this key already, and the write was to create one. It is untouched."""


class DeniedError(PermanentOstError):
    """The storage refuses this client: credentials, permissions, a read-only file system."""


class UnsuitableError(PermanentOstError):
    """This place cannot serve as the object storage: it is missing, misconfigured or lacks what Runabout relies on."""


class InvalidKeyError(PermanentOstError, ValueError):
    """No object can have this key, in any store or in this one."""


class SizeMismatchError(PermanentOstError):
    """The data of a write did not have the size that was announced; nothing was stored."""


class CorruptError(PermanentOstError):
    """The storage returned something other than what was stored, again after reading once more."""


class ChangedError(PermanentOstError):
    """The object was replaced or deleted while it was read, so that the rest of it cannot be had: begin again."""


class WriteFailedError(PermanentOstError):
    """The device failed while data was written or synced; what was written before may be lost too."""
