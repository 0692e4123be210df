"""How many files and connections a process may have open."""

import resource


def allow_open_files() -> int:
    """Take as many open files as the process may have, and return their number.

    A container runtime may begin with 1,024 and allow half a million. Each log that is followed is a connection and,
    if it is long, a file.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
