"""The plain list: one CSV file with a line for each person.

    id,username,role,active,groups,manages,provider,subject,birth_date
    4711,mia,member,true,Springfield|Springfield/7b,,,,2013-03-09
    0815,t.jones,manager,true,Springfield,Springfield/7b|Springfield/8a,,,

`id` and `username` are needed. Groups are paths of names from the outermost one; several are parted by `|`. `age` is a
band; of a `birth_date` only the band is taken in. What else is known of a person is for columns of their own here:
`COLUMNS`, `_listed`, `Listed`.
"""

from intramural.access.groups import MAX_DEPTH
from intramural.access.naming import MAX_NAME_CHARS
from intramural.access.people import fold
from intramural.access.rosters.born import banded, born
from intramural.access.rosters.roster import MAX_ID_CHARS, Listed, ListedGroup, Problems, Reading, Roster
from intramural.access.rosters.table import Line, Table, unfit
from intramural.core.actor import Age

NEEDED = ("id", "username")
COLUMNS = (*NEEDED, "role", "active", "groups", "manages", "provider", "subject", "age", "birth_date")
_TRUE, _FALSE = ("", "true", "yes", "1"), ("false", "no", "0")
_MAX_GROUPS = 200


def read(name: str, data: bytes, reading: Reading, problems: Problems) -> Roster:
    """The list in a file's bytes; what is wrong with it goes into `problems`."""
    roster, table = Roster(), Table(name, data, problems)
    for line in table.lines(COLUMNS, NEEDED):
        if (person := _listed(table, line, reading, roster)) is None:
            continue
        roster.people[person.external_id] = person
        for column, manager in (("groups", False), ("manages", True)):
            for path in _paths(table, line, column):
                group_id = _group(roster, path, line.number)
                key = person.external_id, group_id
                roster.members[key] = manager or roster.members.get(key, False)
    for unknown in [each for each in table.columns if each not in COLUMNS]:
        table.wrong(1, "unknown_column", f"There is no column {unknown!r}; there are: {', '.join(COLUMNS)}.")
    return roster


def _listed(table: Table, line: Line, reading: Reading, roster: Roster) -> Listed | None:
    get = line.values.get
    external_id, username = get("id", ""), get("username", "")
    if not check_id(table, line.number, "id", external_id) or not check_name(table, line.number, username):
        return None
    if (first := roster.people.get(external_id)) is not None:
        table.wrong(line.number, "duplicate", f"{external_id!r} is in line {first.line} already.")
        return None
    active, role = get("active", "").casefold(), get("role", "") or "member"
    if active not in (*_TRUE, *_FALSE):
        table.wrong(line.number, "bad_value", "'active' is true or false.")
        return None
    if role == "administrator" and role not in reading.roles:
        message = "Nobody becomes an administrator by a list, unless `administrator=administrator` is asked for."
        table.wrong(line.number, "role_not_named", message)
        return None
    provider, subject = get("provider", ""), get("subject", "")
    if bool(provider) != bool(subject) or len(subject) > 255:
        table.wrong(line.number, "bad_value", "'provider' and 'subject' belong together, 255 characters at most.")
        return None
    identity = (provider, subject) if provider else None
    role = reading.roles.get(role, role)
    return Listed(external_id, username, role, active in _TRUE, line.number, identity, _age(table, line, reading))


def _age(table: Table, line: Line, reading: Reading) -> Age | None:
    band, day = line.values.get("age", ""), line.values.get("birth_date", "")
    if band and day:
        table.wrong(line.number, "bad_value", "'age' or 'birth_date', not both: they may say two things.")
        return None
    found = banded(table, line.number, "age", band)
    return found or born(table, line.number, "birth_date", day, reading.today)


def _paths(table: Table, line: Line, column: str) -> list[tuple[str, ...]]:
    found = []
    for text in line.values.get(column, "").split("|"):
        path = tuple(part.strip(" ") for part in text.split("/"))
        if path == ("",):
            continue
        if len(path) > MAX_DEPTH or not all(0 < len(part) <= MAX_NAME_CHARS for part in path):
            message = f"{column!r}: {text[:60]!r} is no path of groups: up to {MAX_DEPTH} names, each of 1 to 100."
            table.wrong(line.number, "bad_group", message)
        elif bad := next((each for part in path if (each := unfit(part))), None):
            table.wrong(line.number, *bad(column))
        else:
            found.append(path)
    if len(found) > _MAX_GROUPS:
        table.wrong(line.number, "bad_group", f"{column!r} has over {_MAX_GROUPS} groups.")
    return found


def _group(roster: Roster, path: tuple[str, ...], line: int) -> str:
    """The group at the end of `path`, made with all around it where the list has not named them yet."""
    within: str | None = None
    for depth in range(1, len(path) + 1):
        group_id = "path/" + "/".join(path[:depth])
        if group_id not in roster.groups:
            roster.groups[group_id] = ListedGroup(group_id, path[depth - 1], within, line)
        within = group_id
    assert within is not None
    return within


def check_id(table: Table, line: int, column: str, value: str) -> bool:
    """Whether `value` can be somebody's, or some group's, identifier there."""
    if not 0 < len(value) <= MAX_ID_CHARS:
        table.wrong(line, "bad_id", f"{column!r} needs 1 to {MAX_ID_CHARS} characters.")
        return False
    return True


def check_name(table: Table, line: int, username: str) -> bool:
    """Whether somebody can be called so here."""
    if not fold(username):
        message = f"{username[:60]!r} cannot be a username: it has 1 to 64 letters, digits and . _ - + @."
        table.wrong(line, "bad_username", message)
        return False
    return True
