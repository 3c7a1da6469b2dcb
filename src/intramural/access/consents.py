"""How old people are, as far as it matters, and what their guardians consented to."""

import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Row, delete, insert, select, update

from intramural.access.ages import Feature, check_age, check_features
from intramural.core.actor import Age
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Misasked, Missing
from intramural.core.ids import new_id
from intramural.storage import Connection, Database
from intramural.storage import schema as t
from intramural.vault import Vault
from intramural.vault.places import CONSENT_REFERENCE

MAX_REFERENCE_CHARS = 2_000
#: Names in one statement; SQLite takes 32,766 parameters.
_AT_ONCE = 1_000

#: Who consents. A school may in the parents' stead where the law says so (COPPA, for what is only educational).
Giver = Literal["guardian", "school"]
GIVERS: tuple[Giver, ...] = get_args(Giver)
#: How it was given.
Way = Literal["paper", "portal", "email", "in person"]
WAYS: tuple[Way, ...] = get_args(Way)

_REFERENCE = CONSENT_REFERENCE.place


@dataclass(frozen=True, slots=True)
class Given:
    """A consent as it is recorded. `reference`: where the evidence is, in the institution's words."""

    features: frozenset[Feature]
    given_by: Giver
    how: Way
    given_ms: int
    until_ms: int | None = None
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent, by whom it was recorded, and when it was withdrawn (None: it was not)."""

    id: str
    person_id: str
    given: Given
    recorded_by: str
    recorded_ms: int
    withdrawn_ms: int | None


class Consents:
    """Ages and consents of people. Changing methods work on the caller's open transaction and count at once."""

    def __init__(self, db: Database, vault: Vault, clock: Clock) -> None:
        self._db = db
        self._vault = vault
        self._clock = clock

    # ages

    async def set_ages(self, connection: Connection, ages: Mapping[str, Age]) -> Mapping[str, Age]:
        """Write down bands of people by identifier, in few statements: nobody else writes meanwhile. The bands before.
        Raises Misasked(`bad_age`).
        """
        table, now_ms, before = t.person_ages, self.now_ms(), dict[str, Age]()
        for some in _parts(list(ages)):
            where = table.c.person_id.in_(some)
            for row in await connection.execute(select(table.c.person_id, table.c.age).where(where)):
                before[row.person_id] = check_age(row.age)
            await connection.execute(delete(table).where(where))
            known = [(person_id, check_age(ages[person_id])) for person_id in some]
            rows = [{"person_id": each, "age": age, "set_ms": now_ms} for each, age in known if age != "unknown"]
            if rows:
                await connection.execute(insert(table), rows)
        return before

    async def age(self, person_id: str) -> Age:
        """Somebody's band."""
        async with self._db.reading() as connection:
            wanted = select(t.person_ages.c.age).where(t.person_ages.c.person_id == person_id)
            return check_age(str(await connection.scalar(wanted) or "unknown"))

    async def ages(self) -> Mapping[str, Age]:
        """The bands of all people of whom one is known, by identifier: also for what is kept for how long."""
        async with self._db.reading() as connection:
            rows = await connection.execute(select(t.person_ages.c.person_id, t.person_ages.c.age))
            return {row.person_id: row.age for row in rows}

    # consents

    async def give(
        self, connection: Connection, given: Sequence[tuple[str, Given]], recorded_by: str
    ) -> Sequence[Consent]:
        """Record what was given for people by identifier, who have data keys (`Vault.prepare`), in one statement.
        Raises Missing(`no_data_key`).
        """
        now_ms = self.now_ms()
        made = [
            Consent(new_id("consent", self._clock), person_id, each, recorded_by, now_ms, None)
            for person_id, each in given
        ]
        await connection.execute(insert(t.consents), [self._row(each) for each in made])
        return made

    async def withdraw(self, connection: Connection, consent_id: str, withdrawn_by: str) -> Consent:
        """End a consent at once. Raises Missing(`consent_not_found`), Conflicting(`consent_withdrawn`)."""
        row = (await connection.execute(select(t.consents).where(t.consents.c.id == consent_id))).one_or_none()
        if row is None:
            raise missing()
        if row.withdrawn_ms is not None:
            raise Conflicting("consent_withdrawn", "This consent was withdrawn before.", "Nothing needs to be done.")
        now_ms = self.now_ms()
        values = {"withdrawn_ms": now_ms, "withdrawn_by": withdrawn_by}
        await connection.execute(update(t.consents).where(t.consents.c.id == consent_id).values(values))
        return self._consent(row, now_ms)

    async def owner(self, consent_id: str) -> str | None:
        """Whose consent it is; None: there is none."""
        async with self._db.reading() as connection:
            found = await connection.scalar(select(t.consents.c.person_id).where(t.consents.c.id == consent_id))
            return None if found is None else str(found)

    async def of(self, person_id: str) -> Sequence[Consent]:
        """All of somebody's, the newest first, also those that have run out or were withdrawn."""
        wanted = select(t.consents).where(t.consents.c.person_id == person_id).order_by(t.consents.c.id.desc())
        async with self._db.reading() as connection:
            return [self._consent(row, row.withdrawn_ms) for row in await connection.execute(wanted)]

    async def current(self) -> Mapping[str, frozenset[str]]:
        """What is consented to now for each person, by identifier."""
        now_ms, table, found = self.now_ms(), t.consents, dict[str, frozenset[str]]()
        wanted = select(table.c.person_id, table.c.features, table.c.until_ms).where(table.c.withdrawn_ms.is_(None))
        async with self._db.reading() as connection:
            for row in await connection.execute(wanted):
                if row.until_ms is None or now_ms < row.until_ms:
                    found[row.person_id] = found.get(row.person_id, frozenset()) | set(row.features.split(","))
        return found

    # many at once

    async def named(self, folded: Collection[str]) -> Mapping[str, str]:
        """Identifiers of people by their folded names; who is not there is left out."""
        found: dict[str, str] = {}
        async with self._db.reading() as connection:
            for some in _parts(list(folded)):
                wanted = select(t.people.c.id, t.people.c.username_folded).where(t.people.c.username_folded.in_(some))
                found |= {row.username_folded: row.id for row in await connection.execute(wanted)}
        return found

    async def pupils(self, group_ids: Collection[str]) -> frozenset[str]:
        """Whoever is in one of these groups and manages none of them: a class without its teachers."""
        table = t.group_members
        wanted = (
            select(table.c.person_id, table.c.manager)
            .join(t.people, t.people.c.id == table.c.person_id)
            .where(table.c.group_id.in_(group_ids), t.people.c.kind == "person", t.people.c.role == "member")
        )
        async with self._db.reading() as connection:
            rows = (await connection.execute(wanted)).all()
        managing = {row.person_id for row in rows if row.manager}
        return frozenset(row.person_id for row in rows if row.person_id not in managing)

    def now_ms(self) -> int:
        """Now, in milliseconds since the epoch."""
        return int(self._clock.now_s() * 1000)

    def _row(self, consent: Consent) -> dict[str, Any]:
        given = consent.given
        return {
            "id": consent.id,
            "person_id": consent.person_id,
            "features": ",".join(sorted(given.features)),
            "given_by": given.given_by,
            "how": given.how,
            "given_ms": given.given_ms,
            "until_ms": given.until_ms,
            "reference": self._vault.seal(consent.person_id, _REFERENCE, consent.id, given.reference.encode()),
            "recorded_by": consent.recorded_by,
            "recorded_ms": consent.recorded_ms,
        }

    def _consent(self, row: Row[Any], withdrawn_ms: int | None) -> Consent:
        reference = self._vault.reveal(row.person_id, _REFERENCE, row.id, row.reference).decode()
        features = frozenset(Feature(each) for each in row.features.split(","))
        given = Given(features, row.given_by, row.how, row.given_ms, row.until_ms, reference)
        return Consent(row.id, row.person_id, given, row.recorded_by, row.recorded_ms, withdrawn_ms)


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE))


def checked(
    features: Sequence[str], given_by: str, how: str, given_ms: int, until_ms: int | None, reference: str, now_ms: int
) -> Given:
    """A consent as it may be recorded.

    Raises Misasked(`bad_features`, `bad_giver`, `bad_way`, `bad_time`, `bad_reference`).
    """
    if given_by not in GIVERS:
        raise Misasked("bad_giver", f"{given_by!r:.40} consents to nothing.", f"Givers: {', '.join(GIVERS)}.")
    if how not in WAYS:
        raise Misasked("bad_way", f"{how!r:.40} is no way to consent.", f"Ways: {', '.join(WAYS)}.", param="how")
    if given_ms > now_ms or (until_ms is not None and until_ms <= now_ms):
        hint = "It was given by now, and runs out later, or never."
        raise Misasked("bad_time", "A consent cannot be given in the future, nor be over already.", hint)
    reference = unicodedata.normalize("NFKC", reference.strip())
    if len(reference) > MAX_REFERENCE_CHARS or not reference.isprintable():
        message = f"A reference has at most {MAX_REFERENCE_CHARS} printable characters on one line."
        raise Misasked("bad_reference", message, "Say where the form is: `folder 12, sheet 7`.", param="reference")
    checked_giver = next(each for each in GIVERS if each == given_by)
    checked_way = next(each for each in WAYS if each == how)
    return Given(check_features(features), checked_giver, checked_way, given_ms, until_ms, reference)


def missing() -> Missing:
    """The error for a consent that is not there."""
    return Missing("consent_not_found", "There is no such consent.", "List the person's consents to see them.")
