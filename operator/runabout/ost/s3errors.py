"""What S3 and the way to it can answer, as our errors; the one place that knows the codes.

Servers differ in what they put into an answer, so the code decides where there is one, and the HTTP status otherwise.
"""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSLError,
)
from urllib3.exceptions import HTTPError

from runabout.ost.errors import (
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

CALL_ERRORS = (BotoCoreError, ClientError, HTTPError, OSError)
"""What a call through boto3 may raise for reasons outside this program."""

_BY_CODE: dict[str, type[OstError]] = {
    "NoSuchKey": NotFoundError,
    "NoSuchUpload": NotFoundError,
    "NotFound": NotFoundError,
    "404": NotFoundError,  # answers to HEAD have no body, and so no code
    "XAdminUserNotFound": DeniedError,
    "NoSuchBucket": UnsuitableError,
    "InvalidBucketName": UnsuitableError,
    "PermanentRedirect": UnsuitableError,
    "AuthorizationHeaderMalformed": UnsuitableError,  # another region's signature
    "IllegalLocationConstraintException": UnsuitableError,
    "NotImplemented": UnsuitableError,
    "PreconditionFailed": AlreadyExistsError,
    "KeyTooLongError": InvalidKeyError,
    "ObjectParentIsFile": InvalidKeyError,
    "ExistingObjectIsDirectory": InvalidKeyError,
    # To be tried again, although the status says that the client is to blame.
    "BadDigest": UnavailableError,
    "IncompleteBody": UnavailableError,
    "RequestTimeout": UnavailableError,
    "ConditionalRequestConflict": UnavailableError,
    "OperationAborted": UnavailableError,
    "SlowDown": UnavailableError,
    "TooManyRequests": UnavailableError,
    "XMinioStorageFull": FullError,
    "InsufficientCapacity": FullError,
    "QuotaExceeded": FullError,
    "InsufficientStorage": FullError,
}
_BY_STATUS: dict[int, type[OstError]] = {
    301: UnsuitableError,
    401: DeniedError,
    403: DeniedError,
    405: DeniedError,
    408: UnavailableError,
    409: UnavailableError,
    412: AlreadyExistsError,
    429: UnavailableError,
    501: UnsuitableError,
    507: FullError,
}
_ADVICE: dict[str, str] = {
    "NoSuchBucket": "create the bucket or correct its name",
    "AuthorizationHeaderMalformed": "correct the region",
    "PermanentRedirect": "correct the region or the endpoint",
    "InvalidAccessKeyId": "correct the credentials",
    "XAdminUserNotFound": "correct the credentials",
    "SignatureDoesNotMatch": "correct the credentials",
    "AccessDenied": "allow it for these credentials",
    "RequestTimeTooSkewed": "set this machine's clock",
}
_TLS_ADVICE: dict[str, str] = {
    "doesn't match": "use a name that its certificate has (RUNABOUT_S3_ENDPOINT)",
    "CERTIFICATE_VERIFY_FAILED": "name the file of the authority that signed it (RUNABOUT_S3_CA_FILE)",
}
"""By words of an error of the TLS handshake."""
_SERVER_FAILURE = 500


def translated(error: Exception, what: str) -> OstError:
    """Return the error for what boto3 raised while doing `what` ("writing 'x' in bucket 'y'")."""
    if isinstance(error, ClientError):
        return _answered(error, what)
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return DeniedError(f"{what}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a role")
    if isinstance(error, ParamValidationError):
        return PermanentOstError(f"{what}: {error}")
    if isinstance(error, SSLError):
        for sign, advice in _TLS_ADVICE.items():
            if sign in str(error):
                return UnsuitableError(f"{what}: {error}; {advice}")
    return UnavailableError(f"{what}: {str(error) or type(error).__name__}")


def _answered(error: ClientError, what: str) -> OstError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = error.response.get("Error", {}).get("Message", "")
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if kind is None:
        kind = UnavailableError if status >= _SERVER_FAILURE or not status else PermanentOstError
    advice = _ADVICE.get(code)
    return kind(f"{what}: the server says {status} {code} {text}".rstrip() + (f"; {advice}" if advice else ""))


def is_empty_range(error: Exception) -> bool:
    """Whether the server says that a range begins behind the object's end."""
    return isinstance(error, ClientError) and (
        error.response.get("Error", {}).get("Code") == "InvalidRange"
        or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 416  # noqa: PLR2004 - its HTTP status
    )
