"""The index of runs: which runs there are, found by group, namespace, phase, result, number and chosen labels.

Files (Parquet) hold what is archived. Each is decoded once into flat, memory-mapped columns; a small overlay holds what
is newer. There is no object per archived run, no event loop and no clock in here. docs/internals/run-index.md has
the file format, what queries cost, and how the owner of the log uses this:

- on start, `load` each file of the manifest (in a thread), `install` them all, then `put` and `delete` what the log has
  beyond;
- at a checkpoint, `plan` and `rewrite` (in a thread) with what it covers of runs, store the new files, `load` these,
  and `install` kept and new ones with the sequence that is covered, once the manifest is published.
"""

from runabout.runindex.archive import Archive
from runabout.runindex.errors import BadCursor, DamagedIndex, NewerIndex, NotIndexed, RunIndexError
from runabout.runindex.files import MAX_ROWS, FileInfo, NewFile
from runabout.runindex.index import MAX_LIMIT, RunIndex, load
from runabout.runindex.query import Page, Query
from runabout.runindex.rewriting import Rewriting, Stretch, plan, rewrite
from runabout.runindex.row import IndexRow, checked, number_of, row_of
from runabout.runindex.segment import Segment

__all__ = [
    "MAX_LIMIT",
    "MAX_ROWS",
    "Archive",
    "BadCursor",
    "DamagedIndex",
    "FileInfo",
    "IndexRow",
    "NewFile",
    "NewerIndex",
    "NotIndexed",
    "Page",
    "Query",
    "Rewriting",
    "RunIndex",
    "RunIndexError",
    "Segment",
    "Stretch",
    "checked",
    "load",
    "number_of",
    "plan",
    "rewrite",
    "row_of",
]
