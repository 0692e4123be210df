import os.path
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runabout.ost.filenames import entry, folders, path

keys = st.one_of(
    st.binary(min_size=1, max_size=1024),
    st.text(alphabet="a./+~%-\\é", min_size=1, max_size=300).map(str.encode),
    st.lists(st.sampled_from(["a" * 79, "a" * 80, "a" * 81, "", ".", "..", "/", "b"]), min_size=1).map(
        lambda parts: "/".join(parts).encode()[:1024] or b"x"
    ),
).filter(lambda key: b"\0" not in key)

SAFE = re.compile(r"(?!\.)[A-Za-z0-9_.=@,%-]*[+~]?")


def decoded(key: bytes) -> bytes:
    names, leaf = path(key)
    found = b""
    for name in names:
        folder = entry(name, is_folder=True)
        assert folder is not None
        found += folder.part
    file = entry(leaf, is_folder=False)
    assert file is not None
    return found + file.part


@given(keys)
@example(b"..")
@example(b"/")
@example(b"a" * 1024)
@example(b"/" * 1024)
@example(b"\xff" * 1024)
def test_a_path_gives_the_key_back(key: bytes) -> None:
    assert decoded(key) == key


@given(keys)
@example(b"../../etc/passwd")
@example(b"/etc/passwd")
@example(b"\xff" * 1024)
@example(b"/" * 1024)
def test_a_path_never_leaves_its_folder_and_fits_into_what_kernels_take(key: bytes) -> None:
    names, leaf = path(key)
    for name in (*names, leaf):
        assert SAFE.fullmatch(name), name
        assert 0 < len(name) <= 255
    whole = "/".join(("/base", *names, leaf))
    assert os.path.normpath(whole) == whole
    assert len(whole) < 4096 - 512


@given(keys, keys)
@example(b"a", b"a/b")
@example(b"a/", b"a")
@example(b"a" * 80, b"a" * 80 + b"/")
@example(b"a" * 80, b"a" * 81)
def test_two_keys_never_need_the_same_name_for_a_file_and_a_folder(one: bytes, other: bytes) -> None:
    if one == other:
        return
    paths = [[*names, leaf] for names, leaf in (path(one), path(other))]
    shorter, longer = sorted(paths, key=len)
    assert longer[: len(shorter)] != shorter


@given(st.lists(keys, min_size=2, max_size=8))
def test_names_sorted_by_what_they_stand_for_are_in_the_order_of_the_keys(some: list[bytes]) -> None:
    def parts(key: bytes) -> list[bytes]:
        names, leaf = path(key)
        entries = [*(entry(name, is_folder=True) for name in names), entry(leaf, is_folder=False)]
        return [each.part for each in entries if each is not None]

    assert [b"".join(each) for each in sorted(map(parts, some))] == sorted(some)


@given(keys, st.integers(0, 1024))
def test_all_keys_with_a_prefix_lie_in_its_folders(key: bytes, length: int) -> None:
    prefix = key[:length]
    names, rest = folders(prefix)
    assert path(key)[0][: len(names)] == names
    assert prefix.endswith(rest)


@pytest.mark.parametrize(
    ("name", "is_folder"),
    [
        ("", False),
        ("lost+found", True),
        ("plain", True),
        ("plain+", False),
        ("plain~", False),
        ("short~", True),
        ("a" * 80, False),
        ("a" * 80 + "+", True),
        (".hidden", False),
        (".nfs000123", False),
        ("%2e", False),
        ("%41", False),
        ("%2F", False),
        ("%00", False),
        ("%", True),
        ("%2", False),
        ("é", False),
        ("a b", False),
        ("\udcff", False),
    ],
)
def test_a_name_that_no_key_has_is_nobodys(name: str, is_folder: bool) -> None:
    assert entry(name, is_folder=is_folder) is None
