"""`python -m benchmarks`, which hack/bench starts."""

import sys

import structlog

from benchmarks.cli import main

if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # figures have the other output
    sys.exit(main())
