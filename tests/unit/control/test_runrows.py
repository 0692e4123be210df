"""The run index over real records: what the ledger writes is found by group, number, phase and indexed labels."""

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.states import NOW, created, task_spec
from lab.checkpoints import checkpoint
from runabout.control.ledger import Change, Ledger
from runabout.control.runrows import index_source, run_index
from runabout.control.settings import Settings
from runabout.datamanager import Delete, Transaction, open_store
from runabout.etcd.memory import MemoryEtcd
from runabout.ost.memory import MemoryObjectStore
from runabout.records import Phase, Result
from runabout.runindex import NotIndexed, Query


async def test_a_run_is_found_as_its_records_say(tmp_path: Path) -> None:
    state = created(task_spec("a"), group="/project/web/branch/x")
    config = replace(state.config, labels={"team": "red", "other": "not indexed"})
    run = state.run
    store = await open_store(MemoryEtcd(), index=run_index(tmp_path, labels=("team",)))
    try:
        ledger = Ledger(store)
        await ledger.commit(Change(run, config=config))
        (row,) = store.runs.page().rows
        assert (row.id, row.group, row.namespace, row.counter) == (run.id, run.group, run.namespace, run.counter)
        assert (row.phase, row.result, row.start, row.end) == (run.phase, run.result, run.started, run.ended)
        assert dict(row.labels) == {"team": "red"}
        over = replace(run, phase=Phase.FINISHED, result=Result.SUCCESS, started=NOW, ended=NOW + 1)
        await ledger.commit(Change(over))
        for query in (
            Query(group=run.group),
            Query(prefix="/".join(run.group.split("/")[:3])),
            Query(namespace=run.namespace),
            Query(phases=frozenset({Phase.FINISHED}), results=frozenset({Result.SUCCESS})),
            Query(labels={"team": "red"}),
        ):
            assert [(each.id, each.end) for each in store.runs.page(query).rows] == [(run.id, NOW + 1)]
        assert store.runs.count(Query(labels={"team": "blue"})) == 0
        assert not store.unreadable
        await store.commit(Transaction((Delete("run", run.id), Delete("runconfig", run.id))))
        assert (store.runs.get(run.id), store.runs.count()) == (None, 0)
    finally:
        await store.close()


APP, PART = "app", "app.kubernetes.io/part-of"
"""The column of one begins like that of the other."""


@pytest.mark.parametrize(
    ("before", "after"),
    [("", PART), (APP, PART), (APP, f"{PART},{APP}"), (f"{APP},{PART}", f"{PART},{APP}"), (f"{APP},{PART}", PART)],
)
async def test_whatever_labels_were_indexed_before_all_runs_are_found_by_those_that_are_now(
    tmp_path: Path, before: str, after: str
) -> None:
    def settings(labels: str) -> Settings:
        return Settings.model_validate({"scratch_dir": tmp_path, "indexed_labels": labels})

    etcd, ost = MemoryEtcd(), MemoryObjectStore()
    state = created(task_spec("a"))
    labels = {APP: "web", PART: "shop"}
    store = await open_store(etcd, ost=ost, index=index_source(settings(before)))
    await Ledger(store).commit(Change(state.run, config=replace(state.config, labels=labels)))
    await checkpoint(store)
    await store.close()
    store = await open_store(etcd, ost=ost, index=index_source(settings(after)))
    try:
        assert store.damage == ()
        for label, value in labels.items():
            if label in after.split(","):
                assert [row.id for row in store.runs.page(Query(labels={label: value})).rows] == [state.run.id]
            else:
                with pytest.raises(NotIndexed):
                    store.runs.page(Query(labels={label: value}))
    finally:
        await store.close()
