"""Steps that clone: what is said of them before anything runs."""

import pytest

from runabout.control.clonerules import clone_rules
from runabout.resources.steps import Step

KEY = {"credentials": {"name": "git"}}


def problems(**clone: object) -> list[tuple[str, str]]:
    return [(found.path, found.message) for found in clone_rules(Step.model_validate({"clone": clone}), "steps[0]")]


@pytest.mark.parametrize(
    "clone",
    [
        {"url": "https://example.org/web.git"},
        {"url": "https://anna@example.org:8443/web.git", **KEY},
        {"url": "http://git.example.org/web.git"},
        {"url": "ssh://git@example.org:2222/web.git", **KEY},
        {"url": "git@example.org:org/web.git", **KEY},
        {"url": "example.org:web.git", **KEY},
    ],
)
def test_an_address_that_can_be_cloned_is_not_complained_about(clone: dict[str, object]) -> None:
    assert problems(**clone) == []


@pytest.mark.parametrize(
    ("clone", "place", "words"),
    [
        ({"url": "/srv/web.git"}, "url", "no address of a git server"),
        ({"url": "web"}, "url", "no address of a git server"),
        ({"url": "file:///srv/web.git"}, "url", "file is no way to clone"),
        ({"url": "git://example.org/web.git"}, "url", "git is no way to clone"),
        ({"url": "https:///web.git"}, "url", "names no host"),
        ({"url": "https://anna:s3cret@example.org/web.git"}, "url", "has a password in it"),
        ({"url": "http://example.org/web.git", **KEY}, "url", "unencrypted"),
        ({"url": "ssh://git@example.org/web.git"}, "credentials", "ssh needs a key"),
        ({"url": "git@example.org:web.git"}, "credentials", "ssh needs a key"),
    ],
)
def test_what_cannot_work_is_said_with_its_place(clone: dict[str, object], place: str, words: str) -> None:
    [(path, message)] = problems(**clone)
    assert path == f"steps[0].clone.{place}"
    assert words in message
    assert "s3cret" not in message


def test_other_steps_are_left_alone() -> None:
    assert list(clone_rules(Step.model_validate({"run": "a"}), "steps[0]")) == []
