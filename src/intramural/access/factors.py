"""What somebody has to show besides who they are: which rules ask for it (pure), the codes of an app, and the codes on
paper for who has lost it."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import delete, func, insert, select, update

from intramural.access import totp
from intramural.access.people import Proven
from intramural.access.seal import Seal
from intramural.access.secret import Pepper
from intramural.access.throttle import SlidingWindow
from intramural.core.clock import Clock
from intramural.core.config import AccessConfig
from intramural.core.errors import Conflicting, Misasked, Missing, Throttled, Unauthenticated
from intramural.storage import Connection, Database
from intramural.storage import schema as t

#: What a session still awaits before it opens anything: a second factor that its person has; one of their passkeys and
#: nothing else; that they set up a second factor; that they set up a passkey.
Awaits = Literal["second", "passkey", "enrol", "enrol_passkey"]
Whom = Literal["nobody", "administrators", "everyone"]
Shown = Literal["code", "recovery"]

RECOVERY_CODES = 10
#: 50 bits each: with the throttle below, beyond guessing.
_RECOVERY_CHARS = 10
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PURPOSE = "recovery"
#: Wrong codes of one person in a quarter of an hour: a thief of passwords guesses one of 333,333 in a try.
_WRONG_CODES = 5
_WRONG_WINDOW_S = 900.0


@dataclass(frozen=True, slots=True)
class Held:
    """What somebody has: an app that makes codes (since when), how many codes on paper, how many passkeys."""

    codes_ms: int | None
    recovery: int
    passkeys: int


@dataclass(frozen=True, slots=True)
class Rules:
    """Whose sign-in needs a second factor, and whose a passkey."""

    second_factor_for: Whom = "nobody"
    passkey_for: Whom = "nobody"

    @classmethod
    def of(cls, config: AccessConfig) -> "Rules":
        """As the settings say. Raises Misasked(`bad_setting`)."""
        for name in ("second_factor_for", "passkey_for"):
            if getattr(config, name) not in get_args(Whom):
                known = ", ".join(get_args(Whom))
                raise Misasked("bad_setting", f"access.{name} is {getattr(config, name)!r}.", f"Known: {known}.")
        return cls(config.second_factor_for, config.passkey_for)  # type: ignore[arg-type]  # just checked


def due(role: str, held: Held, proven: Proven, rules: Rules) -> Awaits | None:
    """What is still asked of somebody who has shown `proven`. Pure.

    Whoever has a factor is asked for it, also where no rule does. Codes, also those on paper, never stand for a passkey
    that a rule asks for; but whoever has codes shows one before they may set up a passkey.
    """
    if proven.passkey:
        return None
    wants_passkey = applies(rules.passkey_for, role)
    if wants_passkey and held.passkeys:
        return "passkey"
    if not proven.strong and (held.codes_ms is not None or held.passkeys):
        return "second"
    if wants_passkey:
        return "enrol_passkey"
    return "enrol" if not proven.strong and applies(rules.second_factor_for, role) else None


def applies(whom: Whom, role: str) -> bool:
    """Whether a rule is about somebody of this role."""
    return whom == "everyone" or (whom == "administrators" and role == "administrator")


class Factors:
    """Apps that make codes, and codes on paper. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, clock: Clock, pepper: Pepper, seal: Seal, rules: Rules) -> None:
        self._db = db
        self._clock = clock
        self._pepper = pepper
        self._seal = seal
        self.rules = rules
        self._wrong = SlidingWindow(_WRONG_CODES, _WRONG_WINDOW_S)

    async def held(self, connection: Connection, person_id: str) -> Held:
        """What this person has."""
        codes = select(t.code_makers.c.confirmed_ms).where(t.code_makers.c.person_id == person_id)
        paper = select(func.count()).where(t.recovery_codes.c.person_id == person_id)
        keys = select(func.count()).where(t.passkeys.c.person_id == person_id)
        return Held(
            await connection.scalar(codes),
            int(await connection.scalar(paper) or 0),
            int(await connection.scalar(keys) or 0),
        )

    async def held_now(self, person_id: str) -> Held:
        """As `held`, outside a transaction."""
        async with self._db.reading() as connection:
            return await self.held(connection, person_id)

    async def due(self, connection: Connection, proven: Proven) -> Awaits | None:
        """What is still asked of somebody who has shown `proven`."""
        return due(proven.person.role, await self.held(connection, proven.person.id), proven, self.rules)

    async def begin_codes(self, connection: Connection, person_id: str) -> bytes:
        """A fresh secret for an app; it counts once a code of it was given. Raises Conflicting(`codes_exist`)."""
        secret = self._clock.token_bytes(totp.SECRET_BYTES)
        held = await self.held(connection, person_id)
        if held.codes_ms is not None:
            raise Conflicting("codes_exist", "You have an app that makes codes already.", "Remove it first.")
        await connection.execute(delete(t.code_makers).where(t.code_makers.c.person_id == person_id))
        text = self._seal.close(_owner(person_id), base64.b64encode(secret).decode())
        now_ms = int(self._clock.now_s() * 1000)
        await connection.execute(
            insert(t.code_makers).values(person_id=person_id, secret=text, created_ms=now_ms, last_step=-1)
        )
        return secret

    async def confirm_codes(self, connection: Connection, person_id: str, code: str) -> Sequence[str]:
        """The app has made `code`: it counts from now on. Returns codes for paper, shown this once.

        Raises Missing(`no_codes_begun`), Unauthenticated(`code_wrong`), Throttled(`too_many_codes`).
        """
        row = await self._row(connection, person_id)
        if row is None or row[1] is not None:
            raise Missing("no_codes_begun", "No app is being set up.", "Begin again.")
        await self._use_code(connection, person_id, row[0], code)
        now_ms = int(self._clock.now_s() * 1000)
        where = t.code_makers.c.person_id == person_id
        await connection.execute(update(t.code_makers).where(where).values(confirmed_ms=now_ms))
        return await self.new_recovery_codes(connection, person_id)

    async def new_recovery_codes(self, connection: Connection, person_id: str) -> Sequence[str]:
        """Fresh codes for paper in the place of those before, shown this once.

        Raises Conflicting(`nothing_to_recover`).
        """
        held = await self.held(connection, person_id)
        if held.codes_ms is None and not held.passkeys:
            raise Conflicting("nothing_to_recover", "You have no second factor.", "Set up an app or a passkey first.")
        await connection.execute(delete(t.recovery_codes).where(t.recovery_codes.c.person_id == person_id))
        codes = [self._recovery_code() for _ in range(RECOVERY_CODES)]
        now_ms = int(self._clock.now_s() * 1000)
        rows = [
            {"code_hash": self._digest(person_id, code), "person_id": person_id, "created_ms": now_ms} for code in codes
        ]
        await connection.execute(insert(t.recovery_codes), rows)
        return [f"{code[:5]}-{code[5:]}" for code in codes]

    async def show(self, connection: Connection, person_id: str, code: str) -> Shown:
        """Use a code up, of the app or from paper. Each works once, also where two come at the same time.

        Raises Unauthenticated(`code_wrong`), Throttled(`too_many_codes`).
        """
        typed = "".join(code.split()).replace("-", "").lower()[:64]
        if len(typed) == totp.DIGITS and typed.isdecimal():
            row = await self._row(connection, person_id)
            await self._use_code(connection, person_id, row[0] if row and row[1] is not None else None, typed)
            return "code"
        at_s = self._admit(person_id)
        where = t.recovery_codes.c.code_hash == self._digest(person_id, _unmistaken(typed))
        if not (await connection.execute(delete(t.recovery_codes).where(where))).rowcount:
            raise _wrong()
        self._wrong.take_back(person_id, at_s)
        return "recovery"

    async def remove_codes(self, connection: Connection, person_id: str) -> None:
        """Take the app away. Raises Missing(`no_codes`)."""
        where = t.code_makers.c.person_id == person_id
        if not (await connection.execute(delete(t.code_makers).where(where))).rowcount:
            raise Missing("no_codes", "There is no app that makes codes.", "See your second factors.")

    async def remove_all(self, connection: Connection, person_id: str) -> Held:
        """Take everything away, passkeys too; what there was."""
        held = await self.held(connection, person_id)
        for table in (t.code_makers, t.recovery_codes, t.passkeys):
            await connection.execute(delete(table).where(table.c.person_id == person_id))
        return held

    async def drop_idle_paper(self, connection: Connection, person_id: str) -> None:
        """Codes on paper for factors that are no more stand for nothing."""
        held = await self.held(connection, person_id)
        if held.codes_ms is None and not held.passkeys:
            await connection.execute(delete(t.recovery_codes).where(t.recovery_codes.c.person_id == person_id))

    async def _row(self, connection: Connection, person_id: str) -> tuple[tuple[bytes, int], int | None] | None:
        """(the secret and the last period used), and since when it counts."""
        row = (await connection.execute(select(t.code_makers).where(t.code_makers.c.person_id == person_id))).first()
        if row is None:
            return None
        try:
            secret = base64.b64decode(self._seal.open(_owner(person_id), row.secret))
        except (Misasked, binascii.Error):  # sealed under another pepper: as good as none
            return None
        return (secret, row.last_step), row.confirmed_ms

    async def _use_code(
        self, connection: Connection, person_id: str, maker: tuple[bytes, int] | None, code: str
    ) -> None:
        at_s = self._admit(person_id)
        step = None if maker is None else totp.matching_step(maker[0], code, self._clock.now_s(), maker[1])
        if step is None:
            raise _wrong()
        where = (t.code_makers.c.person_id == person_id) & (t.code_makers.c.last_step < step)
        if not (await connection.execute(update(t.code_makers).where(where).values(last_step=step))).rowcount:
            raise _wrong()
        self._wrong.take_back(person_id, at_s)

    def _admit(self, person_id: str) -> float:
        """Count an attempt. Raises Throttled(`too_many_codes`)."""
        now_s = self._clock.monotonic_s()
        wait_s = self._wrong.wait_s(person_id, now_s)
        if wait_s > 0:
            message = "There were too many wrong codes."
            raise Throttled("too_many_codes", message, f"Try again in {wait_s:.0f} s.", retry_after_s=wait_s)
        self._wrong.count(person_id, now_s)
        return now_s

    def _recovery_code(self) -> str:
        return "".join(_ALPHABET[each & 31] for each in self._clock.token_bytes(_RECOVERY_CHARS))

    def _digest(self, person_id: str, code: str) -> bytes:
        return self._pepper.digest(_PURPOSE, f"{person_id}:{code}")


def _owner(person_id: str) -> str:
    return f"codes:{person_id}"


def _unmistaken(typed: str) -> str:
    """Letters that are not in our alphabet for the digits that they look like."""
    return typed.translate(str.maketrans("oil", "011"))


def _wrong() -> Unauthenticated:
    message = "That code is wrong, too old, or was used before."
    return Unauthenticated("code_wrong", message, "Wait for the app's next code; check its clock if it persists.")
