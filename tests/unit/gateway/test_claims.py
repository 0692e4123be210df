"""What a token says of itself: only what the API server would refuse in any case may be refused by it."""

import pytest

from lab.gateways import web_token
from runabout.gateway.claims import SKEW_SECONDS, Claims, claims

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"aud": ["a", "b"], "exp": NOW}, Claims(("a", "b"), NOW)),
        ({"aud": "a", "exp": 5}, Claims(("a",), 5.0)),
        ({"sub": "ann"}, Claims((), None)),
        ({"aud": [1, "a", None], "exp": "soon"}, Claims(("a",), None)),
        ({"aud": {"a": 1}, "exp": True}, Claims((), None)),
    ],
)
def test_audiences_and_end_are_read_as_they_stand_there(said: dict[str, object], meant: Claims) -> None:
    assert claims(web_token(**said)) == meant


@pytest.mark.parametrize(
    "token",
    [
        "opaque",
        "a.b",
        "a.b.c.d",
        "..",
        web_token(sub="x").rsplit(".", 1)[0] + ".",
        web_token(sub="x").rsplit(".", 1)[0] + ".!!!!",
        web_token(sub="x").replace(".", ".x", 1),
        "W10.W10.c2ln",  # JSON, and no objects
        f"e30.{'W1tb' * 3000}.c2ln",  # brackets without end
    ],
)
def test_what_is_no_signed_web_token_says_nothing(token: str) -> None:
    assert claims(token) is None


def test_a_token_has_expired_only_by_every_clock_that_is_a_little_wrong() -> None:
    token = Claims((), NOW)
    assert not token.expired(NOW + SKEW_SECONDS - 1)
    assert token.expired(NOW + SKEW_SECONDS)
    assert not Claims((), None).expired(NOW)
