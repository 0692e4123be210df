"""What log lines are about."""

import asyncio

from runabout.control.context import about, merge_names


def line(**said: object) -> dict[str, object]:
    return dict(merge_names(None, "info", dict(said)))


def test_lines_inside_have_the_names_and_those_outside_do_not() -> None:
    assert line(event="a") == {"event": "a"}
    with about({"run": "r1"}):
        assert line(event="a") == {"event": "a", "run": "r1"}
        assert line(event="a", run="r2") == {"event": "a", "run": "r2"}
    assert line(event="a") == {"event": "a"}


async def test_a_task_has_the_names_of_where_it_was_started_and_no_others() -> None:
    async def say() -> dict[str, object]:
        await asyncio.sleep(0)
        return line()

    with about({"run": "r1"}):
        one = asyncio.create_task(say())
    with about({"run": "r2"}):
        other = asyncio.create_task(say())
    assert [await one, await other] == [{"run": "r1"}, {"run": "r2"}]
