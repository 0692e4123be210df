"""Changes of a log are the same whether they are in memory or on disk; of several changes the last one counts."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runabout.datamanager.batch import APPEND, DELETE, NO_CHAIN, PUT, Batch, Entry
from runabout.datamanager.spill import Spill

KEYS = st.sampled_from(["", "a", "b", "a/b", "é", "\U0010ffff", "￿"])
ENTRIES = st.builds(Entry, st.sampled_from([PUT, DELETE]), st.sampled_from(["x", "y"]), KEYS, st.binary(max_size=3))


@given(st.lists(st.lists(ENTRIES, max_size=4), max_size=12), st.sampled_from([1, 60, 10_000]))
def test_the_last_change_of_each_document_is_kept_in_the_order_of_keys(history: list[list[Entry]], most: int) -> None:
    model: dict[str, dict[str, bytes | None]] = {"x": {}, "y": {}}
    with tempfile.TemporaryDirectory() as folder:
        spill = Spill(Path(folder), most=most)
        for sequence, entries in enumerate(history, start=1):
            spill.apply(Batch(sequence, NO_CHAIN, NO_CHAIN, b"", (tuple(entries),)))
            for entry in entries:
                model[entry.type][entry.key] = None if entry.op == DELETE else entry.body
        for kind, documents in model.items():
            assert list(spill.changes(kind)) == sorted(documents.items())
        assert spill.types == {kind for kind, documents in model.items() if documents}


def test_numbers_of_appends_are_known_also_of_what_is_on_disk(tmp_path: Path) -> None:
    spill = Spill(tmp_path, most=1)
    for number in (1, 2):
        entry = Entry(APPEND, "event", f"{number:016x}", b"x")
        spill.apply(Batch(number, NO_CHAIN, NO_CHAIN, b"", ((entry,),)))
    assert (spill.numbers, len(list(tmp_path.iterdir()))) == ({"event": 2}, 2)


def test_a_file_that_was_cut_is_not_taken_for_a_shorter_one(tmp_path: Path) -> None:
    spill = Spill(tmp_path, most=1)
    spill.apply(Batch(1, NO_CHAIN, NO_CHAIN, b"", ((Entry(PUT, "x", "key", b"body"),),)))
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(OSError, match="was cut"):
        list(spill.changes("x"))
