"""The command `hack/generate`."""

from __future__ import annotations

import argparse
import sys

from generation.files import REPOSITORY, stale, update


def main() -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="hack/generate",
        description="Writes crds/*.yaml and docs/reference/{run,executor}.md, from operator/runabout/resources.",
    )
    parser.add_argument(
        "--check", action="store_true", help="Write nothing; exit code 1 if something is not up to date."
    )
    if not parser.parse_args().check:
        for path in update():
            print(f"updated {path.relative_to(REPOSITORY)}")
        return 0
    old = stale()
    for path in old:
        print(f"{path.relative_to(REPOSITORY)} is not up to date: run hack/generate", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
