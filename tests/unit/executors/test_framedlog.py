"""What a container wrote comes out of its framed log as it was, however the file is read."""

from hypothesis import given
from hypothesis import strategies as st

from runabout.executors.framedlog import Unframed

PIECES = st.lists(st.tuples(st.sampled_from([b"stdout", b"stderr"]), st.binary(max_size=20)), max_size=8)


def framed(stream: bytes, written: bytes) -> bytes:
    """Return the records that conmon makes of one read: whole lines, and the beginning of one."""
    *lines, rest = written.split(b"\n")
    time = b"2026-11-27T08:24:32.502012455+00:00"
    records = [b" ".join((time, stream, b"F", line)) + b"\n" for line in lines]
    return b"".join([*records, b" ".join((time, stream, b"P", rest)) + b"\n" if rest else b""])


@given(PIECES, st.integers(1, 50))
def test_all_bytes_come_out_as_they_were_written(pieces: list[tuple[bytes, bytes]], size: int) -> None:
    file = b"".join(framed(stream, written) for stream, written in pieces)
    frames = Unframed()
    read = b"".join(frames.feed(file[begin : begin + size]) for begin in range(0, len(file), size))
    assert read == b"".join(written for _, written in pieces)


def test_a_line_that_is_no_record_is_kept() -> None:
    assert Unframed().feed(b"conmon: something went wrong\n") == b"conmon: something went wrong\n"
