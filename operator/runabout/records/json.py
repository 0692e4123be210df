"""JSON as a Python type: what passes through untouched from a Run to a pod or a store."""

from collections.abc import Mapping
from typing import TypeAlias

JsonObject: TypeAlias = Mapping[str, object]
