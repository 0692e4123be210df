import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import ProtocolError

from runabout.ost import (
    AlreadyExistsError,
    DeniedError,
    FullError,
    InvalidKeyError,
    NotFoundError,
    OstError,
    PermanentOstError,
    UnavailableError,
    UnsuitableError,
)
from runabout.ost.s3errors import is_empty_range, translated


def answer(status: int, code: str = "") -> ClientError:
    response = {"Error": {"Code": code, "Message": "words"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")  # type: ignore[arg-type] # the rest of the metadata does not matter


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answer(404, "NoSuchKey"), NotFoundError),
        (answer(404, "404"), NotFoundError),
        (answer(404, "NoSuchBucket"), UnsuitableError),
        (answer(301, "PermanentRedirect"), UnsuitableError),
        (answer(400, "AuthorizationHeaderMalformed"), UnsuitableError),
        (answer(501, "NotImplemented"), UnsuitableError),
        (answer(403, "AccessDenied"), DeniedError),
        (answer(404, "XAdminUserNotFound"), DeniedError),
        (answer(403, "SignatureDoesNotMatch"), DeniedError),
        (answer(403, "RequestTimeTooSkewed"), DeniedError),
        (answer(400, "KeyTooLongError"), InvalidKeyError),
        (answer(412, "PreconditionFailed"), AlreadyExistsError),
        (answer(409, "ConditionalRequestConflict"), UnavailableError),
        (answer(409, "OperationAborted"), UnavailableError),
        (answer(400, "BadDigest"), UnavailableError),
        (answer(400, "RequestTimeout"), UnavailableError),
        (answer(408), UnavailableError),
        (answer(429), UnavailableError),
        (answer(500, "InternalError"), UnavailableError),
        (answer(502), UnavailableError),
        (answer(503, "SlowDown"), UnavailableError),
        (answer(507), FullError),
        (answer(0), UnavailableError),
        (EndpointConnectionError(endpoint_url="http://x"), UnavailableError),
        (ConnectTimeoutError(endpoint_url="http://x"), UnavailableError),
        (ReadTimeoutError(endpoint_url="http://x"), UnavailableError),
        (ProtocolError("broken"), UnavailableError),
        (ConnectionResetError("reset"), UnavailableError),
        (NoCredentialsError(), DeniedError),
        (SSLError(endpoint_url="https://x", error=OSError("CERTIFICATE_VERIFY_FAILED")), UnsuitableError),
        (SSLError(endpoint_url="https://x", error=OSError("EOF")), UnavailableError),
    ],
)
def test_an_answer_becomes_the_error_that_says_whether_to_try_again(error: Exception, expected: type[OstError]) -> None:
    found = translated(error, "writing 'x' in the bucket 'b'")
    assert type(found) is expected
    assert str(found).startswith("writing 'x' in the bucket 'b': ")


def test_an_unknown_refusal_is_permanent() -> None:
    assert type(translated(answer(400, "Whatever"), "x")) is PermanentOstError
    assert type(translated(answer(404, "NoSuchThingElse"), "x")) is PermanentOstError


@pytest.mark.parametrize("error", [answer(416, "InvalidRange"), answer(416)])
def test_a_range_behind_the_end_is_recognised(error: ClientError) -> None:
    assert is_empty_range(error)
    assert not is_empty_range(answer(404, "NoSuchKey"))
