"""What can go wrong between us and etcd."""


class EtcdError(Exception):
    """The root of the tree."""


class RetryableEtcdError(EtcdError):
    """The same call may work later."""


class UnavailableError(RetryableEtcdError):
    """No server took the call; nothing happened."""


class UnknownOutcomeError(RetryableEtcdError):
    """The call was sent and no definite answer came: a write may have happened."""


class PermanentEtcdError(EtcdError):
    """The same call will not work: wrong credentials, a request over the server's limits."""


class RequestTooLargeError(PermanentEtcdError):
    """The request has more bytes than the server takes (its `--max-request-bytes`)."""


class FullError(EtcdError):
    """etcd is out of space and takes no writes.

    The write that it answered with this may have happened all the same: the one that fills the space up is carried out
    and then called refused. Reads and deletes go on, so a read says what is true.
    """


class CompactedError(PermanentEtcdError):
    """The revision asked for is gone."""
