"""Outcomes: what a person says happens around a simulated run."""

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from runabout.engine.simulation import Outcome, Outcomes
from runabout.records import Status
from runabout.resources.errors import problems
from runabout.resources.problems import path_text

Tick = Annotated[int, Field(ge=0)]


class OutcomesError(Exception):
    """Outcomes that cannot be used; `problems` are all of them, each with its place."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel, frozen=True)


class _TaskOutcome(_Model):
    result: Literal["success", "failed"] = "success"
    ticks: Annotated[int, Field(ge=1)] = 1


class _Outcomes(_Model):
    slots: Annotated[int, Field(ge=1)] | None = None
    tasks: dict[str, _TaskOutcome] = Field(default_factory=dict)
    stop_at: Tick = 0
    approve: dict[str, Tick] = Field(default_factory=dict)


def parse_outcomes(document: object, *, tasks: Collection[str]) -> Outcomes:
    """Return the outcomes in a document, for a run with these `tasks`.

    Raises:
        OutcomesError: a value that cannot be, an unknown key, or a task that the run does not have.
    """
    try:
        found = _Outcomes.model_validate(document)
    except ValidationError as error:
        raise OutcomesError(tuple(map(str, problems(error, _Outcomes, start="")))) from error
    unknown = tuple(
        f'{path_text((key, name))}: unknown task "{name}"{_variants(name, tasks)}'
        for key, names in (("tasks", found.tasks), ("approve", found.approve))
        for name in names
        if name not in tasks
    )
    if unknown:
        raise OutcomesError(unknown)
    return Outcomes(
        slots=found.slots,
        tasks={name: Outcome(Status(item.result), item.ticks) for name, item in found.tasks.items()},
        stop_at=found.stop_at if "stop_at" in found.model_fields_set else None,
        approve=found.approve,
    )


def _variants(name: str, tasks: Collection[str]) -> str:
    """Return a hint where a task with a matrix may be meant, whose variants have names of their own."""
    found = sorted(task for task in tasks if task.startswith(f"{name}-"))
    return f"; name a variant of it, such as {found[0]}" if found else ""
