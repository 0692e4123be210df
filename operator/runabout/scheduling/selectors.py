"""Label selectors, as Kubernetes means them: matchLabels and matchExpressions, all of which have to hold."""

from collections.abc import Mapping

from runabout.records.json import JsonObject


def selects(selector: JsonObject | None, labels: Mapping[str, str]) -> bool:
    """Whether `labels` match a selector; none and an empty one match everything, an unknown operator nothing."""
    if not selector:
        return True
    wanted = selector.get("matchLabels")
    if isinstance(wanted, Mapping) and any(labels.get(str(key)) != value for key, value in wanted.items()):
        return False
    expressions = selector.get("matchExpressions")
    if not isinstance(expressions, list | tuple):
        return True
    return all(isinstance(expression, Mapping) and _holds(expression, labels) for expression in expressions)


def _holds(expression: Mapping[str, object], labels: Mapping[str, str]) -> bool:
    found = labels.get(str(expression.get("key")))
    values = expression.get("values")
    among = isinstance(values, list | tuple) and found in values
    match expression.get("operator"):
        case "In":
            return found is not None and among
        case "NotIn":
            return not among
        case "Exists":
            return found is not None
        case "DoesNotExist":
            return found is None
    return False
