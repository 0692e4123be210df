"""What an answer of gRPC means: whether a write can have happened, and whether trying again makes sense."""

import grpc
import grpc.aio
import pytest

from runabout.etcd import CompactedError, EtcdError, FullError, PermanentEtcdError, UnknownOutcomeError, connect
from runabout.etcd.connection import translated

REFUSED = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAUTHENTICATED"} | {
    "UNIMPLEMENTED",
    "NOT_FOUND",
}


def _expected(code: grpc.StatusCode) -> type[EtcdError]:
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return CompactedError
    return PermanentEtcdError if code.name in REFUSED else UnknownOutcomeError


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_only_what_a_server_refuses_itself_is_known_not_to_have_happened(code: grpc.StatusCode) -> None:
    nothing = grpc.aio.Metadata()
    error = translated(grpc.aio.AioRpcError(code, nothing, nothing, details="the server's words"))
    assert type(error) is _expected(code)
    assert "the server's words" in str(error)


def test_a_write_that_finds_no_space_may_have_happened() -> None:
    nothing = grpc.aio.Metadata()
    words = "etcdserver: mvcc: database space exceeded"
    error = translated(grpc.aio.AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, nothing, nothing, details=words))
    assert isinstance(error, FullError)
    assert not isinstance(error, PermanentEtcdError)


def test_an_answer_without_words_is_named_by_its_code() -> None:
    nothing = grpc.aio.Metadata()
    assert "INTERNAL" in str(translated(grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, nothing, nothing)))


@pytest.mark.parametrize("endpoints", ["", "localhost", "http://", "http://a:2379,", "a:2379", "ftp://a", "http://a/b"])
def test_what_is_no_url_is_refused_before_anything_is_sent(endpoints: str) -> None:
    with pytest.raises(ValueError, match="is no etcd endpoint: write it as"):
        connect(endpoints)


@pytest.mark.parametrize("endpoint", ["http://a:99999", "http://[::1:2379", "http://a:b"])
def test_a_url_that_cannot_be_is_refused_in_words(endpoint: str) -> None:
    with pytest.raises(ValueError, match="is no etcd endpoint: "):
        connect(endpoint)
