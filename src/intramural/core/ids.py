"""Identifiers: a prefix that says what is named, then 26 characters that sort by time of making.

`chat_01jd3p…`: 48 bits of milliseconds, then 80 random bits, in Crockford's base 32 (lower case). The form is ULID's
(github.com/ulid/spec), with a prefix so that a wrong identifier in a log is seen at once.
"""

from intramural.core.clock import Clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BYTES = 10


def new_id(prefix: str, clock: Clock) -> str:
    """A fresh identifier such as `key_01jd3pz8v0kq6m…`; sorts by the millisecond it was made in."""
    value = (int(clock.now_s() * 1000) << 80) | int.from_bytes(clock.token_bytes(_RANDOM_BYTES), "big")
    return prefix + "_" + "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))
