"""Codes of six digits that change every 30 seconds (RFC 6238 over RFC 4226, HMAC-SHA-1: what every app makes). Pure."""

import base64
import hmac
import struct
from urllib.parse import quote, urlencode

PERIOD_S = 30
DIGITS = 6
SECRET_BYTES = 20
#: A code of the period before or after counts too: clocks differ, and people type.
_WINDOW = 1


def step_of(now_s: float) -> int:
    """The number of the period in which `now_s` (seconds since the epoch) lies."""
    return int(now_s) // PERIOD_S


def code_of(secret: bytes, step: int, digits: int = DIGITS, digest: str = "sha1") -> str:
    """The code of one period. `secret`: raw bytes."""
    mac = hmac.digest(secret, struct.pack(">Q", step), digest)
    offset = mac[-1] & 0x0F
    number = struct.unpack(">I", mac[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**digits:0{digits}}"


def matching_step(secret: bytes, code: str, now_s: float, last_step: int) -> int | None:
    """The period after `last_step` whose code this is; None if it is of none around now, or was used."""
    found = None
    for step in range(step_of(now_s) - _WINDOW, step_of(now_s) + _WINDOW + 1):
        # all are compared, whichever fits, in a time that says nothing
        if hmac.compare_digest(code_of(secret, step).encode(), code.encode(errors="replace")) and step > last_step:
            found = step
    return found


def base32(secret: bytes) -> str:
    """The secret as people type it into an app."""
    return base64.b32encode(secret).decode().rstrip("=")


def address(secret: bytes, service: str, username: str) -> str:
    """What the app reads from the picture (the `otpauth` form that all of them know)."""
    query = urlencode({"secret": base32(secret), "issuer": service, "digits": DIGITS, "period": PERIOD_S})
    return f"otpauth://totp/{quote(service)}:{quote(username)}?{query}"
