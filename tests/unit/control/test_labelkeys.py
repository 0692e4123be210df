"""Which labels are indexed is read from one variable, and what cannot be one is refused in a sentence."""

import re

import pytest

from runabout.control.labelkeys import label_keys
from runabout.control.settings import Settings
from runabout.control.variables import read_settings

VARIABLE = "RUNABOUT_INDEXED_LABELS"
LONG = f"{'d' * 253}/{'n' * 63}"


def read(monkeypatch: pytest.MonkeyPatch, text: str) -> Settings | list[str]:
    monkeypatch.setenv(VARIABLE, text)
    return read_settings({VARIABLE: text}, Settings)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ()),
        (" ", ()),
        ("team", ("team",)),
        (" team , example.com/part-of", ("team", "example.com/part-of")),
        ("b,a", ("b", "a")),
        ("Team_1.x,a.b-c.d/e", ("Team_1.x", "a.b-c.d/e")),
        (LONG, (LONG,)),
        ("a,b,c,d,e,f,g,h", tuple("abcdefgh")),
    ],
)
def test_a_variable_names_labels_with_commas_between_them(
    monkeypatch: pytest.MonkeyPatch, text: str, keys: tuple[str, ...]
) -> None:
    settings = read(monkeypatch, text)
    assert isinstance(settings, Settings)
    assert settings.indexed_labels == keys


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("team,", "'' is no key of a label: a name of letters"),
        ("-team", "'-team' is no key of a label"),
        ("a b", "'a b' is no key of a label"),
        ("[team]", "'[team]' is no key of a label"),
        ("a/b/c", "'a/b/c' is no key of a label"),
        ("Example.com/team", "'Example.com/team' is no key of a label"),
        ("/team", "'/team' is no key of a label"),
        ("team/", "'team/' is no key of a label"),
        ("täm", "'täm' is no key of a label"),
        ("team\nx", r"'team\nx' is no key of a label"),
        ("n" * 64, "is no key of a label"),
        ("a,b,a", "the label a is there twice: name it once"),
        ("a,b,c,d,e,f,g,h,i", "9 labels, at most 8 can be indexed"),
    ],
)
def test_what_cannot_be_indexed_is_refused_in_a_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        label_keys(text)
    said = read(monkeypatch, text)
    assert isinstance(said, list)
    assert len(said) == 1
    assert said[0].startswith(f"{VARIABLE}: ")
    assert words in said[0]
