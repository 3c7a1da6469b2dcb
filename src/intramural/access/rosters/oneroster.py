"""OneRoster 1.1 and 1.2, the CSV binding (1EdTech): organisations, users, roles, classes and enrolments.

Bulk files only: a delta says what changed since something that may never have arrived here. Names, addresses and
telephone numbers of the users are not taken in: nothing here needs them. Of the demographics only the day of birth is
looked at, and of that the age band is taken in.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from intramural.access.naming import MAX_NAME_CHARS
from intramural.access.rosters.born import born
from intramural.access.rosters.plain import check_id, check_name
from intramural.access.rosters.roster import Listed, ListedGroup, Problems, Reading, Roster
from intramural.access.rosters.table import Line, Table

FILES: Final = (
    "manifest.csv", "orgs.csv", "users.csv", "roles.csv", "classes.csv", "enrollments.csv", "demographics.csv",
)  # fmt: skip
_NEEDED_FILES: Final = ("orgs.csv", "users.csv")
#: What a role there is here, unless the administrator who imports says otherwise. Whoever is not named is a member.
_ROLES: Final[Mapping[str, str]] = {"teacher": "manager"}
#: Who is on the list for the sake of pupils, and is not let in unless their role is named.
_LEFT_OUT: Final = frozenset({"guardian", "parent", "relative"})
_MANAGES: Final = frozenset({"teacher"})
_GONE: Final = "tobedeleted"
_TRUE: Final = ("true", "1", "")


def read(files: Mapping[str, bytes], reading: Reading, problems: Problems) -> Roster:
    """The list in the files of a bundle, by name; what is wrong with them goes into `problems`."""
    missing = [each for each in _NEEDED_FILES if each not in files]
    if missing:
        problems.add(missing[0], 1, "missing_file", "The bundle has no such file.")
        return Roster()
    _manifest(files, problems)
    roster = Roster()
    _orgs(Table("orgs.csv", files["orgs.csv"], problems), roster)
    roles = _roles(Table("roles.csv", files["roles.csv"], problems)) if "roles.csv" in files else {}
    orgs = _users(Table("users.csv", files["users.csv"], problems), roles, reading, roster)
    if "classes.csv" in files:
        _classes(Table("classes.csv", files["classes.csv"], problems), roster)
    if "enrollments.csv" in files:
        _enrolments(Table("enrollments.csv", files["enrollments.csv"], problems), reading, roster)
    if "demographics.csv" in files:
        _demographics(Table("demographics.csv", files["demographics.csv"], problems), reading, roster)
    _into_orgs(roster, orgs)
    return roster


def _manifest(files: Mapping[str, bytes], problems: Problems) -> None:
    if "manifest.csv" not in files:
        return
    table = Table("manifest.csv", files["manifest.csv"], problems)
    for line in table.lines(("propertyName", "value"), ("propertyName", "value")):
        name, value = line.values["propertyName"], line.values["value"]
        if name == "oneroster.version" and value not in ("1.1", "1.2", "1.2.1"):
            table.wrong(line.number, "wrong_version", f"OneRoster {value!r} is not understood; 1.1 and 1.2 are.")
        if name.startswith("file.") and f"{name[5:]}.csv" in FILES and value == "delta":
            table.wrong(line.number, "delta", f"{name[5:]}.csv is a delta; export everything (bulk).")


def _orgs(table: Table, roster: Roster) -> None:
    rows: dict[str, tuple[Line, str]] = {}
    used = ("sourcedId", "status", "name", "parentSourcedId")
    for line in table.lines(used, ("sourcedId", "name")):
        if _is_gone(line) or not check_id(table, line.number, "sourcedId", line.values["sourcedId"]):
            continue
        if line.values["sourcedId"] in rows:
            table.wrong(line.number, "duplicate", f"{line.values['sourcedId']!r} is there already.")
            continue
        rows[line.values["sourcedId"]] = line, line.values.get("parentSourcedId", "")
    for org_id, (line, parent) in rows.items():
        if parent and parent not in rows:
            table.wrong(line.number, "unknown_org", f"There is no org {parent!r} for it to be within.")
        _add_group(table, line, roster, f"org/{org_id}", line.values["name"], f"org/{parent}" if parent else None)
    for org_id, (line, _) in rows.items():
        if _in_itself(rows, org_id):
            table.wrong(line.number, "org_in_itself", f"The org {org_id!r} is within itself.")
            return


def _in_itself(rows: Mapping[str, tuple[Line, str]], org_id: str) -> bool:
    seen = {org_id}
    while (parent := rows[org_id][1]) in rows:
        if parent in seen:
            return True
        seen.add(parent)
        org_id = parent
    return False


def _roles(table: Table) -> dict[str, tuple[str, list[str]]]:
    """1.2: for each user the role (a primary one before others), and the orgs they have roles in."""
    found: dict[str, tuple[str, list[str]]] = {}
    primary: set[str] = set()
    used = ("status", "userSourcedId", "roleType", "role", "orgSourcedId")
    for line in table.lines(used, ("userSourcedId", "role", "orgSourcedId")):
        if _is_gone(line):
            continue
        user, org = line.values["userSourcedId"], line.values["orgSourcedId"]
        role, orgs = found.get(user, (line.values["role"], []))
        if line.values.get("roleType") == "primary" and user not in primary:
            role = line.values["role"]
            primary.add(user)
        found[user] = role, [*orgs, org]
    return found


def _users(
    table: Table, roles: Mapping[str, tuple[str, list[str]]], reading: Reading, roster: Roster
) -> dict[str, list[str]]:
    """The people; the orgs that each is said to be in."""
    orgs: dict[str, list[str]] = {}
    used = ("sourcedId", "status", "enabledUser", "username", "role", "orgSourcedIds", "primaryOrgSourcedId")
    for line in table.lines(used, ("sourcedId", "username")):
        values = line.values
        user = values["sourcedId"]
        if not check_id(table, line.number, "sourcedId", user):
            continue
        role, listed = roles.get(user, (values.get("role", ""), []))
        ours = reading.roles.get(role, _ROLES.get(role, "member"))
        if role in _LEFT_OUT and role not in reading.roles:
            roster.left_out[role] = roster.left_out.get(role, 0) + 1
            roster.passed.add(user)
            continue
        if not check_name(table, line.number, values["username"]):
            continue
        if (first := roster.people.get(user)) is not None:
            table.wrong(line.number, "duplicate", f"{user!r} is in line {first.line} already.")
            continue
        active = values.get("enabledUser", "").casefold() in _TRUE and not _is_gone(line)
        roster.people[user] = Listed(user, values["username"], ours, active, line.number)
        named = [*values.get("orgSourcedIds", "").split(","), values.get("primaryOrgSourcedId", ""), *listed]
        orgs[user] = [each.strip() for each in named if each.strip()]
        for org in orgs[user]:
            if f"org/{org}" not in roster.groups:
                table.wrong(line.number, "unknown_org", f"There is no org {org[:60]!r}.")
    return orgs


def _classes(table: Table, roster: Roster) -> None:
    used = ("sourcedId", "status", "title", "schoolSourcedId")
    for line in table.lines(used, ("sourcedId", "title", "schoolSourcedId")):
        class_id, school = line.values["sourcedId"], f"org/{line.values['schoolSourcedId']}"
        if _is_gone(line) or not check_id(table, line.number, "sourcedId", class_id):
            continue
        if f"class/{class_id}" in roster.groups:
            table.wrong(line.number, "duplicate", f"{class_id!r} is there already.")
        elif school not in roster.groups:
            table.wrong(line.number, "unknown_org", f"There is no org {line.values['schoolSourcedId'][:60]!r}.")
        else:
            _add_group(table, line, roster, f"class/{class_id}", line.values["title"], school)


def _enrolments(table: Table, reading: Reading, roster: Roster) -> None:
    used = ("status", "classSourcedId", "userSourcedId", "role", "beginDate", "endDate")
    for line in table.lines(used, ("classSourcedId", "userSourcedId", "role")):
        user, group = line.values["userSourcedId"], f"class/{line.values['classSourcedId']}"
        if _is_gone(line) or not _is_now(table, line, reading.today):
            continue
        if group not in roster.groups:
            table.wrong(line.number, "unknown_class", f"There is no class {line.values['classSourcedId'][:60]!r}.")
        elif user not in roster.people:
            if user not in roster.passed:
                table.wrong(line.number, "unknown_user", f"There is no user {user[:60]!r}.")
        else:
            manager = line.values["role"] in _MANAGES
            roster.members[user, group] = manager or roster.members.get((user, group), False)


def _demographics(table: Table, reading: Reading, roster: Roster) -> None:
    """Lines of people who are not taken in are passed over, whatever stands in them."""
    for line in table.lines(("sourcedId", "status", "birthDate"), ("sourcedId", "birthDate")):
        listed = roster.people.get(line.values["sourcedId"])
        if listed is None or _is_gone(line):
            continue
        age = born(table, line.number, "birthDate", line.values["birthDate"], reading.today)
        if age is not None and listed.age is not None:
            table.wrong(line.number, "duplicate", f"{listed.external_id!r} is there already.")
        roster.people[listed.external_id] = replace(listed, age=age or listed.age)


def _is_now(table: Table, line: Line, today: str) -> bool:
    """Whether an enrolment holds today; one without dates always does."""
    begin, end = line.values.get("beginDate", ""), line.values.get("endDate", "")
    for column, value in (("beginDate", begin), ("endDate", end)):
        if value and not (len(value) >= 10 and value[4] == value[7] == "-" and value[:10].replace("-", "").isdecimal()):
            table.wrong(line.number, "bad_date", f"{column!r} is a day as 2026-08-31.")
            return False
    return (not begin or begin[:10] <= today) and (not end or end[:10] >= today)


def _into_orgs(roster: Roster, orgs: Mapping[str, list[str]]) -> None:
    """Whoever is in no class of an org is in the org itself."""
    covered = {(person, _school(roster, group)) for person, group in roster.members}
    for user, listed in orgs.items():
        for org in listed:
            if (user, f"org/{org}") not in covered and f"org/{org}" in roster.groups:
                roster.members[user, f"org/{org}"] = False


def _school(roster: Roster, group: str) -> str:
    return roster.groups[group].within or group


def _add_group(table: Table, line: Line, roster: Roster, group_id: str, name: str, within: str | None) -> None:
    if not 0 < len(name) <= MAX_NAME_CHARS:
        table.wrong(line.number, "bad_group", f"The name of a group has 1 to {MAX_NAME_CHARS} characters.")
        return
    roster.groups[group_id] = ListedGroup(group_id, name, within, line.number)


def _is_gone(line: Line) -> bool:
    return line.values.get("status", "").casefold() == _GONE
