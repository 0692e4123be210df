from pathlib import Path

import pytest

from runabout.client.definitions import DefinitionError, read_definitions

DEFINITION = "kind: CustomResourceDefinition\nmetadata: {name: things.example.org}\n"


def test_definitions_come_in_the_order_of_their_files(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(f"---\n{DEFINITION}---\n")
    (tmp_path / "a.yaml").write_text(DEFINITION.replace("things", "first"))
    (tmp_path / "c.txt").write_text("not read")
    names = [each["metadata"] for each in read_definitions(tmp_path)]
    assert names == [{"name": "first.example.org"}, {"name": "things.example.org"}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("kind: Secret\nmetadata: {name: x}\n", "a.yaml holds something else"),
        ("kind: CustomResourceDefinition\n", "a.yaml holds something else"),
        ("- a list\n", "a.yaml holds something else"),
        ("a: [", "a.yaml is no YAML"),
        ("", "there is no"),
    ],
)
def test_anything_else_than_definitions_is_refused_with_its_file(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(DefinitionError, match=words):
        read_definitions(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="there is no"):
        read_definitions(tmp_path)
