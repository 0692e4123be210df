"""Which store to use: what an installation says about it, checked before anything is opened."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from runabout.ost.errors import UnsuitableError


@dataclass(frozen=True, slots=True)
class OstSettings:
    """Place of the objects and how to reach it.

    Credentials for S3 come from where the AWS tools take them (environment, files, web identity), never from here.
    """

    url: str
    """`file:///DIRECTORY` or `s3://BUCKET[/PREFIX]`."""
    s3_endpoint: str = ""
    """URL of the S3 server; empty: Amazon's for the region."""
    s3_region: str = "us-east-1"
    s3_path_style: bool = False
    """The bucket stands in the path, not in the host's name; what most S3 servers other than Amazon's need."""
    s3_ca_file: Path | None = None
    """PEM file of the authorities that sign the S3 server's certificate; None: the usual public ones."""
    threads: int = 16
    """Calls to the store that are under way at once."""
    request_timeout_seconds: float = 30.0
    """How long one request, or one piece of work on files, may take without a byte."""
    retry_seconds: float = 60.0
    """How long one call goes on trying before it fails."""


@dataclass(frozen=True, slots=True)
class PosixPlace:
    """A directory."""

    directory: Path


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket; `prefix` stands in front of every key, and is empty or ends with a slash."""

    bucket: str
    prefix: str


def place(url: str) -> PosixPlace | S3Place:
    """Read a store's URL.

    Raises:
        UnsuitableError: it is neither `file:///DIRECTORY` nor `s3://BUCKET[/PREFIX]`.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _unreadable(url) from error
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise _unreadable(url)
    match parts:
        case SplitResult(scheme="file", netloc="", path=path) if path.startswith("/"):
            return PosixPlace(Path(unquote(path)))
        case SplitResult(scheme="s3", netloc=bucket, path=path) if bucket:
            prefix = unquote(path).strip("/")
            if prefix and {"", ".", ".."} & set(prefix.split("/")):
                raise _unreadable(url)
            return S3Place(bucket, f"{prefix}/" if prefix else "")
    raise _unreadable(url)


def _unreadable(url: str) -> UnsuitableError:
    return UnsuitableError(f"the object storage {url!r} is neither file:///DIRECTORY nor s3://BUCKET/PREFIX")
