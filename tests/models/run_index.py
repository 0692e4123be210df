"""The index of runs as simply as it can be said: a dictionary, and every question answered by looking at all of it."""

from collections.abc import Mapping

from runabout.engine.groups import covers, root_group
from runabout.records import RunId
from runabout.runindex import IndexRow, Query


class NaiveIndex:
    """What the real index must answer."""

    def __init__(self) -> None:
        self.rows: dict[RunId, IndexRow] = {}

    def matching(self, query: Query) -> list[IndexRow]:
        """Return a query's runs, the newest first."""
        rows = sorted(self.rows.values(), key=lambda row: row.id, reverse=True)
        if query.last_of_group:
            seen: dict[str, IndexRow] = {}
            for row in rows:
                seen.setdefault(row.group, row)
            rows = list(seen.values())
        return [row for row in rows if holds(query, row)]

    def numbered(self, root: str, number: int) -> IndexRow | None:
        """Return the newest run with a number in a root group."""
        rows = self.matching(Query())
        return next((row for row in rows if root_group(row.group) == root and row.counter == number), None)


def holds(query: Query, row: IndexRow) -> bool:
    """Whether all conditions but being the last hold."""
    labels: Mapping[str, str] = query.labels
    return (
        query.group in {None, row.group}
        and (query.prefix is None or covers(query.prefix, row.group))
        and query.namespace in {None, row.namespace}
        and (not query.phases or row.phase in query.phases)
        and (not query.results or row.result in query.results)
        and all(row.labels.get(name) == value for name, value in labels.items())
    )
