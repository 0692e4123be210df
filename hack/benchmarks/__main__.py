"""`python -m benchmarks`, which hack/bench starts."""

import sys

from benchmarks.cli import main

if __name__ == "__main__":
    sys.exit(main())
