"""The project's pages: what they name is there."""

import re
from pathlib import Path

import pytest

from fixtures.tools import REPOSITORY

PAGES = [
    *REPOSITORY.glob("*.md"),
    *(REPOSITORY / "docs").rglob("*.md"),
    *(REPOSITORY / "charts").rglob("*.md"),
]
LINK = re.compile(r"(?<!!)\[[^]]*]\(([^)#\s]*)(#[^)\s]*)?\)")
TEST = re.compile(r"`(test_\w+)`")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as forges make them."""
    seen: dict[str, int] = {}
    found = set()
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ +(.*?) *$", text, flags=re.MULTILINE):
        plain = re.sub(r"\[([^]]*)]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = seen.get(name, 0)
        seen[name] = number + 1
        found.add(f"#{name}-{number}" if number else f"#{name}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target, anchor in LINK.findall(text):
        if "://" in target or target.startswith("mailto:"):
            continue
        place = (page.parent / target).resolve() if target else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(target + anchor)
    assert broken == []


def test_every_test_that_a_page_names_is_there() -> None:
    there = {
        name
        for module in (REPOSITORY / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", module.read_text())
    }
    named = {name for page in PAGES for name in TEST.findall(page.read_text())}
    assert len(named) > 30
    assert named - there == set()
