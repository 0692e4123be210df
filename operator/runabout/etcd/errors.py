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
    """The same call will not work: wrong credentials, a request over the server's limits, no space."""


class CompactedError(PermanentEtcdError):
    """The revision asked for is gone."""
