"""How old somebody on a list is. Of a day of birth the band is taken in; the day itself goes no further than here."""

import re
from datetime import date

from intramural.access.ages import band_on, check_age
from intramural.access.rosters.table import Table
from intramural.core.actor import AGES, Age
from intramural.core.errors import Misasked

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def banded(table: Table, line: int, column: str, value: str) -> Age | None:
    """The band that a column names; None where it says nothing, or (which is told) no band."""
    try:
        return check_age(value) if value else None
    except Misasked:
        table.wrong(line, "bad_value", f"{column!r} is one of {', '.join(AGES)}.")
        return None


def born(table: Table, line: int, column: str, value: str, today: str) -> Age | None:
    """The band, `today`, of who was born on the day in a column; None where it says nothing, or (which is told) no day.
    What is told does not say the day."""
    if not value:
        return None
    try:
        if not _DAY.fullmatch(value):
            raise ValueError
        return band_on(date.fromisoformat(today), date.fromisoformat(value))
    except Misasked as error:
        table.wrong(line, "bad_date", f"{column!r}: {error.message}")
    except ValueError:
        table.wrong(line, "bad_date", f"{column!r} is a day as 2014-05-31.")
    return None
