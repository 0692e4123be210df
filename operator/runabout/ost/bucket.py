"""Single requests to one S3 bucket: they block, are never repeated here, and raise our errors.

Every object carries the id of the write that made it, in its metadata. So a write that was told "there is one already"
after an attempt without an answer can find out whether the one is its own.
"""

import base64
import hashlib
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from runabout.ost.errors import AlreadyExistsError, ChangedError, NotFoundError, UnsuitableError
from runabout.ost.s3errors import CALL_ERRORS, is_empty_range, translated
from runabout.ost.settings import OstSettings, S3Place
from runabout.ost.store import Announced, ByteRange, ObjectInfo, SignedRequest, shown

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import (
        CompleteMultipartUploadRequestTypeDef,
        GetObjectRequestTypeDef,
        ListObjectsV2RequestTypeDef,
        PutObjectRequestTypeDef,
    )

WRITE_ID = "runabout-write"
"""Name of the metadata entry with the id of the write."""
CONNECT_SECONDS = 10.0
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Head:
    """What is known about an object without reading it."""

    info: ObjectInfo
    write_id: str
    etag: str


@dataclass(slots=True)
class Body:
    """An object, or a part of it, that is being received: `length` bytes, fewer than the object's size in a part."""

    info: ObjectInfo
    etag: str
    length: int
    stream: "StreamingBody | None"
    what: str

    def read(self, most: int | None = None) -> bytes:
        """Return the next bytes, all of them without `most`; nothing is the end, whether or not all came."""
        if self.stream is None:
            return b""
        with _translating(self.what):
            return self.stream.read(most)

    def close(self) -> None:
        """Let go of the connection."""
        if self.stream is not None:
            self.stream.close()


class Bucket:
    """One bucket, with a prefix in front of every key; safe to use from several threads."""

    def __init__(self, client: "S3Client", where: S3Place, endpoint: str) -> None:
        self._client = client
        self._bucket = where.bucket
        self._prefix = where.prefix
        self.name = f"the bucket {where.bucket!r} at {endpoint}"

    @classmethod
    def connect(cls, where: S3Place, settings: OstSettings) -> "Bucket":
        """Return the bucket; no request is made yet.

        Raises:
            UnsuitableError: the settings cannot be.
        """
        if settings.s3_ca_file is not None:
            _check_authorities(settings.s3_ca_file)
        config = Config(
            region_name=settings.s3_region,
            signature_version="s3v4",  # also for URLs, where the default is still the version before
            connect_timeout=min(CONNECT_SECONDS, settings.request_timeout_seconds),
            read_timeout=settings.request_timeout_seconds,
            # Ours know what an attempt without an answer may have done.
            retries={"total_max_attempts": 1},
            max_pool_connections=settings.threads,
            s3={"addressing_style": "path" if settings.s3_path_style else "auto"},
            # Other servers than Amazon's do not all understand the newer checksums; Content-MD5 they all do.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            client = boto3.session.Session().client(
                "s3",
                endpoint_url=settings.s3_endpoint or None,
                config=config,
                verify=str(settings.s3_ca_file) if settings.s3_ca_file is not None else None,
            )
        except ValueError as error:
            raise UnsuitableError(f"the S3 settings cannot be used: {error}") from error
        except CALL_ERRORS as error:
            raise translated(error, "connecting to S3") from error
        return cls(client, where, settings.s3_endpoint or client.meta.endpoint_url)

    def put(self, key: str, body: bytes, *, write_id: str, create_only: bool) -> None:
        """Store a whole object."""
        request: PutObjectRequestTypeDef = {
            "Bucket": self._bucket,
            "Key": self._prefix + key,
            "Body": body,
            "ContentMD5": _md5(body),
            "Metadata": {WRITE_ID: write_id},
        }
        if create_only:
            request["IfNoneMatch"] = "*"
        with _translating(self.what("writing", key)):
            self._client.put_object(**request)

    def head(self, key: str) -> Head:
        """Describe an object."""
        with _translating(self.what("looking at", key)):
            answer = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        info = ObjectInfo(key, answer["ContentLength"], answer["LastModified"])
        return Head(info, answer["Metadata"].get(WRITE_ID, ""), answer["ETag"])

    def get(self, key: str, span: ByteRange, *, etag: str | None = None) -> Body:
        """Begin to receive an object or a part of it, with `etag` only that version.

        Raises:
            ChangedError: there is another version now, or none.
        """
        what = self.what("reading", key)
        if span.length == 0:
            return self._nothing(key, what)
        partial = span.start > 0 or span.length is not None
        request: GetObjectRequestTypeDef = {"Bucket": self._bucket, "Key": self._prefix + key}
        if partial:
            last = "" if span.length is None else span.start + span.length - 1
            request["Range"] = f"bytes={span.start}-{last}"
        if etag is not None:
            request["IfMatch"] = etag
        try:
            answer = self._client.get_object(**request)
        except CALL_ERRORS as error:
            if is_empty_range(error):
                return self._nothing(key, what)
            failure = translated(error, what)
            if etag is not None and isinstance(failure, AlreadyExistsError | NotFoundError):  # 412 or 404
                raise ChangedError(f"{what}: it is no longer what it was when reading began") from error
            raise failure from error
        size = length = answer["ContentLength"]
        if partial:
            found = _CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
            if found is None or int(found[1]) != span.start:
                answer["Body"].close()
                raise UnsuitableError(f"{what}: the server does not answer to ranges")
            size = int(found[3])
        return Body(ObjectInfo(key, size, answer["LastModified"]), answer["ETag"], length, answer["Body"], what)

    def delete(self, key: str) -> None:
        """Remove an object."""
        with _translating(self.what("deleting", key)):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def page(self, prefix: str, *, after: str, limit: int, token: str | None) -> tuple[list[ObjectInfo], str | None]:
        """Return some objects and, if there may be more, the token with which to go on."""
        request: ListObjectsV2RequestTypeDef = {
            "Bucket": self._bucket,
            "Prefix": self._prefix + prefix,
            "MaxKeys": limit,
        }
        if token is not None:
            request["ContinuationToken"] = token
        elif after:
            request["StartAfter"] = self._prefix + after
        with _translating(self.what("listing", prefix)):
            answer = self._client.list_objects_v2(**request)
        found = [
            ObjectInfo(each["Key"].removeprefix(self._prefix), each["Size"], each["LastModified"])
            for each in answer.get("Contents", [])
            if each["Key"] != self._prefix  # consoles make such an object to show a folder
        ]
        return found, answer.get("NextContinuationToken") if answer["IsTruncated"] else None

    def presign(self, key: str, *, expires_seconds: int, put: Announced | None) -> SignedRequest:
        """Return a request that needs no credentials; one that writes has the length and the checksum signed."""
        asked: dict[str, str | int] = {"Bucket": self._bucket, "Key": self._prefix + key}
        headers: dict[str, str] = {}
        if put is not None:
            checksum = base64.b64encode(put.sha256).decode()
            headers = {"x-amz-checksum-sha256": checksum}
            asked |= {"ContentLength": put.size, "ChecksumSHA256": checksum}
        with _translating(self.what("signing a URL for", key)):
            url = self._client.generate_presigned_url(
                "get_object" if put is None else "put_object", Params=asked, ExpiresIn=expires_seconds
            )
        return SignedRequest(url, "GET" if put is None else "PUT", headers)

    def begin_upload(self, key: str, *, write_id: str) -> str:
        """Begin an object that comes in parts, and return the upload's id."""
        with _translating(self.what("writing", key)):
            answer = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=self._prefix + key, Metadata={WRITE_ID: write_id}
            )
        return answer["UploadId"]

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> str:
        """Store a part, and return its tag."""
        with _translating(self.what("writing", key)):
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=self._prefix + key,
                UploadId=upload,
                PartNumber=number,
                Body=body,
                ContentMD5=_md5(body),
            )
        return answer["ETag"]

    def finish_upload(self, key: str, upload: str, tags: Sequence[str], *, create_only: bool) -> None:
        """Make the parts with these tags one object."""
        request: CompleteMultipartUploadRequestTypeDef = {
            "Bucket": self._bucket,
            "Key": self._prefix + key,
            "UploadId": upload,
            "MultipartUpload": {"Parts": [{"PartNumber": at, "ETag": tag} for at, tag in enumerate(tags, start=1)]},
        }
        if create_only:
            request["IfNoneMatch"] = "*"
        with _translating(self.what("writing", key)):
            self._client.complete_multipart_upload(**request)

    def abort_upload(self, key: str, upload: str) -> None:
        """Drop an upload and its parts."""
        with _translating(self.what("giving up writing", key)):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._prefix + key, UploadId=upload)

    def close(self) -> None:
        """Let go of all connections."""
        self._client.close()

    def _nothing(self, key: str, what: str) -> Body:
        head = self.head(key)
        return Body(head.info, head.etag, 0, None, what)

    def what(self, verb: str, key: str) -> str:
        """Say what is done, for errors and for who waits for it."""
        return f"{verb} {shown(self._prefix + key)} in {self.name}"


@contextmanager
def _translating(what: str) -> Iterator[None]:
    try:
        yield
    except CALL_ERRORS as error:
        raise translated(error, what) from error


def _check_authorities(file: Path) -> None:
    if not file.is_file():
        raise UnsuitableError(f"the file of authorities for S3, {file}, is not there")
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:
        raise UnsuitableError(
            f"the file of authorities for S3, {file}, cannot be used: {error}; put certificates in PEM there"
        ) from error


def _md5(body: bytes) -> str:
    # Finds bytes that flipped on the way; nobody's trust rests on it.
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
