"""Files as people write them, read as kubectl reads them; whatever a file holds, an answer comes, and soon."""

import contextlib
import io
import json
import math
from pathlib import Path
from time import process_time
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from runabout.client.documents import (
    MAX_DEPTH,
    STDIN,
    DocumentError,
    iterate_documents,
    read_documents,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.yaml"


def read(file: Path, text: str | bytes) -> list[object]:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_documents(file))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("y", True),
        ("N", False),
        ("on", True),
        ("Off", False),
        ("yes", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("nope", "nope"),
        ("=", "="),
        ("<", "<"),
        ("2026-01-01", "2026-01-01"),
        ("12:30:45", "12:30:45"),
        ("010", 8),
        ("0o10", 8),
        ("0x1F", 31),
        ("-0b11", -3),
        ("1_000", 1000),
        ("09", 9.0),
        ("1e3", 1000.0),
        ("1.", 1.0),
        ("-.5", -0.5),
        ("1.2.3", "1.2.3"),
        ("~", None),
        ("", None),
        ('"1"', "1"),
        ("'yes'", "yes"),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("{a: [1, {b: c}]}", {"a": [1, {"b": "c"}]}),
    ],
)
def test_a_value_is_what_kubectl_makes_of_it(file: Path, written: str, value: object) -> None:
    assert read(file, f"a: {written}\n") == [{"a": value}]


def test_keys_become_texts(file: Path) -> None:
    assert read(file, "1: a\ntrue: b\nnull: c\n1.5: d\n") == [{"1": "a", "true": "b", "null": "c", "1.5": "d"}]


def test_own_keys_are_stronger_than_merged_ones_and_earlier_sources_than_later_ones(file: Path) -> None:
    text = "a: &a {k: 1, l: 2}\nb: &b {k: 3, m: 4}\nc: {k: 5, <<: *a}\nd: {<<: [*a, *b], o: 6}\n"
    (found,) = read(file, text)
    assert isinstance(found, dict)
    assert found["c"] == {"k": 5, "l": 2}
    assert found["d"] == {"k": 1, "l": 2, "m": 4, "o": 6}


def test_several_documents_come_with_the_lines_they_begin_at_and_empty_ones_do_not(file: Path) -> None:
    file.write_text("---\n---\na: 1\n---\n# nothing\n---\n\nb: 2\n...\n")
    assert [(document.line, document.value) for document in iterate_documents(file)] == [(3, {"a": 1}), (8, {"b": 2})]


@pytest.mark.parametrize("broken", ["b: [\n", "[" * 200 + "]" * 200, "b: 1\nb: 2\n", "b: .nan\n"])
def test_the_documents_before_a_broken_one_still_come(file: Path, broken: str) -> None:
    file.write_text(f"a: 1\n---\n---\n{broken}")
    found = iterate_documents(file)
    assert next(found).value == {"a": 1}
    with pytest.raises(DocumentError, match=r"run\.yaml: "):
        next(found)


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "\ufeff", "null"])
def test_a_file_of_nothing_has_no_documents(file: Path, text: str) -> None:
    assert read(file, text) == []


def test_json_may_have_tabs_and_a_byte_order_mark(file: Path) -> None:
    assert read(file, '\ufeff{\n\t"a": [1, 2.5, "é", null]\n}') == [{"a": [1, 2.5, "é", None]}]


def test_half_a_character_becomes_the_one_for_unknown_ones(file: Path) -> None:
    assert read(file, r'{"\ud800": "a\udc00b", "c": "\ud83e\udde8"}') == [{"\ufffd": "a\ufffdb", "c": "🧨"}]


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a: 1")))
    assert read_documents(STDIN) == [{"a": 1}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2\n", 'line 2: "a" is there twice'),
        ('{"a": 1, "a": 2}', '"a" is there twice'),
        ("? [a]\n: 1\n", "a key must be a text"),
        ("a: {<<: 1}\n", "only maps can be merged"),
        ("a: {<<: [1]}\n", "only maps can be merged"),
        ("a: [1\n", "no YAML or JSON: line 2"),
        ("a:\n\t- b\n", "no YAML or JSON: line 2"),
        ("a: *b\n", "undefined alias"),
        ("a: &a [*a]\n", "no YAML or JSON"),
        ("a: !!python/object:os.system {}\n", "could not determine a constructor"),
        ("a: !!binary YQ==\n", "a value of type bytes is not possible in JSON"),
        ("a: !!set {b}\n", "a value of type set is not possible in JSON"),
        ("a: .nan\n", "nan is no number in JSON"),
        ('{"a": Infinity}', "inf is no number in JSON"),
        ("a: " + "9" * 5000, '9…" is larger than any number'),
        ('{"a": ' + "9" * 5000 + "}", '9…" is larger than any number'),
        ("a: 0x_\n", 'line 1: "0x_" is no integer'),
        ("a: !!int abc\n", 'line 1: "abc" is no integer'),
        ("a: !!float abc\n", 'line 1: "abc" is no number'),
        ("a: !!bool abc\n", 'line 1: "abc" is neither true nor false'),
        (b"a: \xff\n", "no UTF-8 text"),
        (b"a: \x00\n", "no YAML or JSON"),
        ("[" * 200 + "]" * 200, "nested"),
        ("[" * 100_000, "nested"),
        ("- " * 5000, "nested"),
        ("{a: " * 200 + "1" + "}" * 200, "nested"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_file(file: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(DocumentError) as found:
        read(file, text)
    assert str(found.value).startswith(str(file))
    assert words in str(found.value)
    assert "\n" not in str(found.value)


def test_a_file_that_is_not_there_or_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"none\.yaml: cannot be read: No such file"):
        read_documents(tmp_path / "none.yaml")
    with pytest.raises(DocumentError, match="cannot be read: Is a directory"):
        read_documents(tmp_path)


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12))


@pytest.mark.parametrize("text", [LAUGHS, MERGES, "a: " + "[]," * 300_000, '"' + "x" * 10_000_000], ids=range(4))
def test_a_file_that_would_grow_is_answered_soon(file: Path, text: str) -> None:
    begin = process_time()
    with contextlib.suppress(DocumentError):
        read(file, text)
    assert process_time() - begin < 10


def test_nesting_up_to_the_limit_is_read(file: Path) -> None:
    depth = MAX_DEPTH - 1
    assert read(file, "[" * depth + "]" * depth)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def same(one: object, other: object) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        return isinstance(one, int | float) and isinstance(other, int | float) and math.isclose(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@settings(max_examples=60, deadline=None)
@given(value=VALUES)
def test_json_is_read_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    file = tmp_path_factory.getbasetemp() / "value.json"
    (found,) = read(file, json.dumps({"": value}))
    assert same(found, {"": value})


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60) | st.text("[]{}:,-&*!|>'\"# \n\tab01.?<=%@`~", max_size=40) | st.binary(max_size=40))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str | bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    found: list[object] = []
    with contextlib.suppress(DocumentError):
        found = read(file, text)
    assert json.dumps(found, allow_nan=False).encode()


def test_dates_stay_texts_whatever_yaml_itself_would_say(file: Path) -> None:
    assert not isinstance(yaml.safe_load("2026-01-01"), str)
    assert read(file, "- 2026-01-01\n- 2026-01-01T00:00:00Z\n") == [["2026-01-01", "2026-01-01T00:00:00Z"]]
