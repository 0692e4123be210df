"""Results: what a task leaves, all that depend on it can read, and no more than there is room for."""

import pytest

from lab.gateways import GatewayLab, spec_task
from runabout.records import Status


async def test_results_are_read_by_all_that_depend_on_a_task(lab: GatewayLab) -> None:
    config = await lab.run(
        spec_task("a"), spec_task("none", after=["a"]), spec_task("beside"), spec_task("b", after=["none"])
    )
    for name in ("a", "beside"):
        await lab.set_task(config, name)
        attempt = lab.attempt(config, name)
        assert (await attempt.ask("PUT", "results", {"OLD": "of an earlier step"})).status == 204
        assert (await attempt.ask("PUT", "results", {"VERSION": f"1.0-ü-{name}", "EMPTY": ""})).status == 204
        await lab.set_task(config, name, Status.SUCCESS)
    await lab.set_task(config, "none", Status.SUCCESS)
    await lab.set_task(config, "b")
    answer = await lab.attempt(config, "b").ask("GET", "results")
    assert answer.content == {"tasks": {"a": {"VERSION": "1.0-ü-a", "EMPTY": ""}}}


async def test_the_results_of_an_attempt_that_was_tried_again_do_not_count(lab: GatewayLab) -> None:
    config = await lab.run(spec_task("a"), spec_task("b", after=["a"]))
    await lab.set_task(config, "a")
    await lab.attempt(config, "a").ask("PUT", "results", {"A": "1"})
    await lab.set_task(config, "a", Status.SUCCESS, attempt=2)
    await lab.set_task(config, "b")
    assert (await lab.attempt(config, "b").ask("GET", "results")).content == {"tasks": {}}


async def test_results_are_had_of_as_many_tasks_as_one_answer_has_room_for(streaming: GatewayLab) -> None:
    names = [f"a-{number:02}" for number in range(65)]
    config = await streaming.run(*(spec_task(name) for name in (*names, "beside")), spec_task("z", after=names))
    for name in names:
        await streaming.set_task(config, name)
        if name in names[::30]:
            await streaming.attempt(config, name).ask("PUT", "results", {"NAME": name})
        await streaming.set_task(config, name, Status.SUCCESS)
    await streaming.set_task(config, "z")
    attempt = streaming.attempt(config, "z")
    some = await attempt.ask("GET", "results?" + "&".join(f"task={name}" for name in names[1:]))
    assert some.content == {"tasks": {name: {"NAME": name} for name in names[30::30]}}
    refused = await attempt.ask("GET", "results")
    assert (refused.status, refused.code) == (400, "BadRequest")
    stranger = await attempt.ask("GET", "results?task=beside")
    assert (stranger.status, stranger.code) == (403, "Forbidden")


BOUNDS = [
    pytest.param({"A": "x" * 4096}, 204, id="the largest value"),
    pytest.param({"A": "x" * 4097}, 413, id="a value too large"),
    pytest.param({"A": "ü" * 2049}, 413, id="bytes count, not characters"),
    pytest.param({f"K{number}": "x" * 4000 for number in range(8)}, 204, id="many"),
    pytest.param({f"K{number}": "x" * 4096 for number in range(8)}, 413, id="too many"),
    pytest.param({"A": 1}, 400, id="a number"),
    pytest.param({"A-B": "x"}, 400, id="no name of a variable"),
    pytest.param(["A"], 400, id="no mapping"),
    pytest.param({"A": "x\0"}, 400, id="a NUL"),
    pytest.param({"A": "\ud800"}, 400, id="no Unicode"),
    pytest.param({"A" * 4000: "x"}, 204, id="a long name"),
    pytest.param({"A" * 32768: ""}, 204, id="a name that takes all"),
    pytest.param({"A" * 32768: "x"}, 413, id="names count"),
]


@pytest.mark.parametrize(("values", "status"), BOUNDS)
async def test_results_have_bounds(streaming: GatewayLab, values: object, status: int) -> None:
    config = await streaming.run(spec_task("a"))
    await streaming.set_task(config, "a")
    assert (await streaming.attempt(config, "a").ask("PUT", "results", values)).status == status
