"""Keys of caches: the check before a run and the toolbox agree on what a key may say."""

import json

import pytest

from fixtures.tools import REPOSITORY
from runabout.resources.cachekeys import key_problem

TABLE = json.loads((REPOSITORY / "operator/toolbox/internal/template/testdata/keys.json").read_text())


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case["key"])
def test_what_the_toolbox_refuses_for_its_words_is_found_before(case: dict[str, str]) -> None:
    problem = key_problem(case["key"])
    if "error" in case and "late" not in case:
        assert problem is not None
        assert case["error"] in problem
    else:
        assert problem is None
