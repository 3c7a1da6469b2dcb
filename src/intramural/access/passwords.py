"""Passwords: the rules for a new one, and argon2id in a thread of its own.

The cost is twice the floor of OWASP ASVS 5.0 (46 MiB, one pass, one lane): 47,104 KiB, two passes, one lane. Measured
on a 2-core machine: 82 ms, against 55 ms for the floor and 120 ms for the library's default. One lane, because a
sign-in must not take every core from the people who are being answered.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from intramural.access.common import is_common
from intramural.core.errors import Misasked, Throttled

MIN_CHARS = 8
ADVISED_CHARS = 15
MAX_CHARS = 1024
#: Sign-ins that may wait for the hashing thread: 256 × 82 ms, the longest wait is 21 s. The next one is told so. That
#: is a whole school at eight o'clock; to be sent away and come back would take each of them longer.
WAITING_LIMIT = 256
_BUSY_RETRY_S = 3.0
_HASH_BYTES = 32
_SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Cost:
    """What one hash costs: passes over memory, memory in KiB, lanes computed in parallel."""

    passes: int = 2
    memory_kib: int = 47_104
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class HashedPassword:
    """A password that met the rules, hashed. Made only by `Passwords.hash`; never printed."""

    text: str = field(repr=False)


def check_rules(password: str, username: str) -> None:
    """Refuse a new password that is too short, too long, the username, or one that everybody tries. Nothing else is
    demanded of it: no classes of characters, no changing by the calendar. Raises Misasked with `param` `password`.
    """
    if len(password) < MIN_CHARS:
        raise _weak("password_too_short", f"The password has fewer than {MIN_CHARS} characters.")
    if len(password) > MAX_CHARS:
        raise _weak("password_too_long", f"The password has more than {MAX_CHARS} characters.")
    if _encoded(password) is None:
        raise _weak("password_not_text", "The password holds characters that are not valid text.")
    if password.casefold() == username.casefold():
        raise _weak("password_is_username", "The password is the username.")
    if is_common(password):
        raise _weak("password_too_common", "This password is one of the first that an attacker tries.")


def _weak(code: str, message: str) -> Misasked:
    hint = f"Choose a sentence of {ADVISED_CHARS} characters or more; any characters will do."
    return Misasked(code, message, hint, param="password")


def _encoded(password: str) -> bytes | None:
    """The bytes that are hashed, exactly as given; None for what cannot be a password (too long, lone surrogates)."""
    try:
        return password.encode() if len(password) <= MAX_CHARS else None
    except UnicodeEncodeError:
        return None


class Passwords:
    """Hashes and compares, `concurrency` at a time, on threads of its own, with a bounded line before them."""

    def __init__(self, concurrency: int = 1, *, waiting_limit: int = WAITING_LIMIT, cost: Cost | None = None) -> None:
        cost = cost or Cost()
        self._hasher = PasswordHasher(
            time_cost=cost.passes,
            memory_cost=cost.memory_kib,
            parallelism=cost.lanes,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
        )
        # For names that nobody has: the same form and cost as a real hash, of no known password.
        self._nobody = f"$argon2id$v=19$m={cost.memory_kib},t={cost.passes},p={cost.lanes}$" + "A" * 22 + "$" + "A" * 43
        self._threads = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="password")
        self._limit = concurrency + waiting_limit
        self._present = 0

    async def hash(self, password: str, username: str) -> HashedPassword:
        """Check the rules, then hash. Raises Misasked (a rule), Throttled(`sign_in_busy`) when the line is full."""
        check_rules(password, username)
        async with _Place(self):
            text = await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)
        return HashedPassword(text)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one `stored` was made from. With None (an unknown name) it takes as long and is
        False. Raises Throttled(`sign_in_busy`) when the line is full.
        """
        data = _encoded(password)
        if data is None:
            return False
        async with _Place(self):
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._matches, stored, data)

    def outdated(self, stored: str) -> bool:
        """Whether `stored` was made with another cost than today's."""
        return self._hasher.check_needs_rehash(stored)

    async def rehash(self, password: str) -> str:
        """Hash a password that has just been verified, with today's cost, whatever the rules say now."""
        async with _Place(self):
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    def close(self) -> None:
        """Take no more work. What is being hashed is finished by its thread."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, stored: str | None, password: bytes) -> bool:
        try:
            return self._hasher.verify(stored or self._nobody, password) and stored is not None
        except (VerificationError, InvalidHashError):
            return False

    def enter(self) -> None:
        """Take a place in the line, or raise Throttled."""
        if self._present >= self._limit:
            raise Throttled(
                "sign_in_busy",
                "Too many people are signing in at this moment.",
                "Try again in a few seconds.",
                retry_after_s=_BUSY_RETRY_S,
            )
        self._present += 1

    def leave(self) -> None:
        """Give the place back."""
        self._present -= 1


class _Place:
    """A place in the line of `Passwords`, given back however the block ends."""

    def __init__(self, line: Passwords) -> None:
        self._line = line

    async def __aenter__(self) -> None:
        self._line.enter()

    async def __aexit__(self, *_: object) -> None:
        self._line.leave()
