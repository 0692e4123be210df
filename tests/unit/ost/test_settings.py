from pathlib import Path

import pytest

from runabout.ost import UnsuitableError
from runabout.ost.settings import PosixPlace, S3Place, place


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:///var/lib/runabout", PosixPlace(Path("/var/lib/runabout"))),
        ("file:///with%20space", PosixPlace(Path("/with space"))),
        ("s3://bucket", S3Place("bucket", "")),
        ("s3://bucket/", S3Place("bucket", "")),
        ("s3://bucket/a/b", S3Place("bucket", "a/b/")),
        ("s3://bucket//a/", S3Place("bucket", "a/")),
    ],
)
def test_a_url_names_a_place(url: str, expected: object) -> None:
    assert place(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/var/lib",
        "file://host/path",
        "file:relative",
        "file:",
        "s3://",
        "s3:///key",
        "s3://key:secret@bucket/",
        "s3://bucket/?x=1",
        "s3://bucket/#x",
        "s3://bucket/../other",
        "s3://bucket/a//b",
        "http://bucket/",
        "s3://[",
    ],
)
def test_any_other_url_is_refused_with_what_it_should_be(url: str) -> None:
    with pytest.raises(UnsuitableError, match="neither file:///DIRECTORY nor s3://BUCKET/PREFIX"):
        place(url)
