"""What a token says of itself, by which it can be refused before anybody is asked. Nothing else follows from it."""

import base64
import binascii
from dataclasses import dataclass

import orjson

SKEW_SECONDS = 300.0
"""By which clocks may differ: what is refused here, the API server must refuse, too."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Of a JSON Web Token (RFC 7519), as they stand in it; `expires` is seconds since 1970, None: it does not say."""

    audiences: tuple[str, ...]
    expires: float | None

    def expired(self, now: float) -> bool:
        """Whether it is good nowhere any more."""
        return self.expires is not None and self.expires + SKEW_SECONDS <= now


def claims(token: str) -> Claims | None:
    """Return what a token says, None if it is no signed JSON Web Token."""
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - header, payload, signature
        return None
    try:
        header, payload = (orjson.loads(_decoded(part)) for part in parts[:2])
        _decoded(parts[2])
    except (binascii.Error, ValueError):
        return None
    if not isinstance(header, dict) or not isinstance(payload, dict):
        return None
    said, expires = payload.get("aud"), payload.get("exp")
    audiences = said if isinstance(said, list) else [said]
    return Claims(
        audiences=tuple(each for each in audiences if isinstance(each, str)),
        expires=float(expires) if isinstance(expires, int | float) and not isinstance(expires, bool) else None,
    )


def _decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
