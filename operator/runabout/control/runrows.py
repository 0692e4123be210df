"""How the rows of the run index are found in the records: what `open_store` needs so that `Store.runs` answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runabout.control.ledger import RUN, RUN_CONFIG
from runabout.control.settings import Settings, index_folder
from runabout.datamanager import IndexSource
from runabout.records import Run
from runabout.records.encoding import decode
from runabout.runindex import IndexRow, row_of


@dataclass(frozen=True, slots=True)
class _Labelled:
    """What is needed of a run's configuration; the rest, which may be large, is not made into objects."""

    labels: Mapping[str, str] = field(default_factory=dict)


def run_index(scratch: Path, *, labels: tuple[str, ...] = ()) -> IndexSource:
    """Return how runs are indexed: with these of their labels, and a folder for what is mapped into memory."""
    return IndexSource(RUN, _row, scratch, labels, RUN_CONFIG, _labels)


def index_source(settings: Settings) -> IndexSource:
    """Return how an installation indexes its runs.

    Raises:
        OSError: the scratch folder cannot be made.
    """
    return run_index(index_folder(settings), labels=settings.indexed_labels)


def _row(_key: str, body: bytes) -> IndexRow:
    return row_of(decode(Run, body))


def _labels(_key: str, body: bytes) -> Mapping[str, str]:
    return decode(_Labelled, body).labels
