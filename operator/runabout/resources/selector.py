"""Label selectors, as everywhere in Kubernetes."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from runabout.resources.fields import ENTRIES, LIST, LabelText, ListAtomic, ListSet
from runabout.resources.model import Found, Model, Rule

LabelKey = Annotated[str, Field(min_length=1, max_length=317)]


class LabelExpression(Model):
    """One demand on one label."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.operator == 'In' || self.operator == 'NotIn') == (has(self.values) && self.values.size() > 0)",
            "values are needed with In and NotIn, and not allowed with Exists and DoesNotExist",
            field="values",
        ),
    )

    key: LabelKey
    """Which label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How its value relates to `values`."""
    values: Annotated[tuple[LabelText, ...], LIST, Field(max_length=64), ListSet()] = ()
    """Values, for In and NotIn."""

    def broken(self) -> Iterable[Found]:
        """Return what is wrong with the object as a whole."""
        if (self.operator in {"In", "NotIn"}) != bool(self.values):
            yield ("values",), self.rules[0].message


class LabelSelector(Model):
    """What labels must be like; all demands have to hold, an empty selector matches everything."""

    match_labels: Annotated[dict[str, LabelText], Field(max_length=32), ENTRIES] | None = None
    """Labels with exactly these values."""
    match_expressions: Annotated[tuple[LabelExpression, ...], LIST, Field(max_length=32), ListAtomic()] = ()
    """Other demands."""
