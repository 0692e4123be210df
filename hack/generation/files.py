"""Which files are made, and how they should read."""

from __future__ import annotations

from pathlib import Path

from generation.manifest import text
from generation.reference import page
from runabout.resources.definitions import EXECUTOR, GROUP, KINDS, RUN, definition

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def expected(repository: Path = REPOSITORY) -> dict[Path, str]:
    """Return every made file with what should be in it."""
    files = {repository / "crds" / f"{GROUP}_{kind.plural}.yaml": text(definition(kind)) for kind in KINDS}
    files[repository / "docs" / "reference" / "run.md"] = page(RUN)
    files[repository / "docs" / "reference" / "executor.md"] = page(EXECUTOR)
    return files


def stale(repository: Path = REPOSITORY) -> list[Path]:
    """Return the files that are missing or differ."""
    return sorted(
        path for path, wanted in expected(repository).items() if not path.exists() or path.read_text() != wanted
    )


def update(repository: Path = REPOSITORY) -> list[Path]:
    """Write what is stale; return it."""
    wanted = expected(repository)
    changed = stale(repository)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    return changed
