"""Columns beside `people` that say who somebody is to the rules: read in the one query that finds a key or a session,
so that nothing is remembered, and a consent withdrawn a moment ago counts now.
"""

from types import SimpleNamespace
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, String, exists, func, literal_column, select
from sqlalchemy import cast as sql_cast

from intramural.core.actor import Age, Standing, Unread
from intramural.storage import schema as t

_TEXT = t.people.c.username.type
_FIELDS, _ROWS = "\t", "\n"  # neither is in a title, a role or an identifier: all of them are printable


def _constant(text: str) -> ColumnElement[str]:
    """Written into the statement: `Database.look_up` counts its parameters."""
    return literal_column(f"'{text}'", _TEXT)


def _joined(text: ColumnElement[Any], between: str) -> Any:
    # the annotation knows no separator but text, which would become a parameter
    return func.aggregate_strings(text, _constant(between))  # type: ignore[arg-type]


_AGE = select(t.person_ages.c.age).where(t.person_ages.c.person_id == t.people.c.id)
_CONSENTS = select(
    _joined(
        t.consents.c.features + _constant("@") + func.coalesce(sql_cast(t.consents.c.until_ms, String), _constant("")),
        " ",
    )
).where(t.consents.c.person_id == t.people.c.id, t.consents.c.withdrawn_ms.is_(None))
_READ = (
    exists()
    .where(
        t.acknowledgements.c.person_id == t.people.c.id,
        t.acknowledgements.c.notice_id == t.notices.c.id,
        t.acknowledgements.c.digest == t.notices.c.digest,
    )
    .correlate(t.people, t.notices)
)
#: A program reads nothing: what a service account asks is answered for by whoever runs it.
_UNREAD = select(
    _joined(t.notices.c.id + _constant(_FIELDS) + t.notices.c.audience + _constant(_FIELDS) + t.notices.c.title, _ROWS)
).where(t.notices.c.blocking, t.notices.c.ended_ms.is_(None), t.people.c.kind == _constant("person"), ~_READ)

#: For a query of `people` that `standing_from` reads.
STANDING_OF: Final[tuple[Any, ...]] = tuple(
    query.correlate(t.people).scalar_subquery().label(name)
    for name, query in (("age", _AGE), ("consents", _CONSENTS), ("unread", _UNREAD))
)
_PLAIN = Standing()


def standing_from(row: SimpleNamespace, now_ms: int) -> Standing:
    """What `STANDING_OF` found, as it counts at this moment."""
    if row.age is None and row.consents is None and row.unread is None:
        return _PLAIN
    unread = (each.split(_FIELDS) for each in (row.unread or "").split(_ROWS) if each)
    return Standing(
        age=cast(Age, row.age or "unknown"),
        consents=consents_from(row.consents, now_ms),
        unread=tuple(Unread(*each) for each in sorted(unread)),
    )


def consents_from(text: str | None, now_ms: int) -> frozenset[str]:
    """What is consented to now, of `features@until` parted by blanks."""
    found: set[str] = set()
    for each in (text or "").split():
        features, _, until = each.partition("@")
        if not until or now_ms < int(until):
            found.update(features.split(","))
    return frozenset(found)
