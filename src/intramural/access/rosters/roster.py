"""What a list says, whatever form it came in; and what is wrong with it, line by line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from intramural.core.actor import Age
from intramural.core.errors import Flawed

#: Mistakes that are told at once: more do not help.
MOST_PROBLEMS = 100
MAX_ID_CHARS = 160


@dataclass(frozen=True, slots=True)
class Listed:
    """Somebody on the list. `identity`: the name of a provider in sign-in.toml, and who they are there; `age`: their
    band, None where the list says nothing of it."""

    external_id: str
    username: str
    role: str
    active: bool
    line: int
    identity: tuple[str, str] | None = None
    age: Age | None = None


@dataclass(frozen=True, slots=True)
class ListedGroup:
    """A school, a class, a ward. `within`: the external identifier of the group around it."""

    external_id: str
    name: str
    within: str | None
    line: int


@dataclass(slots=True)
class Roster:
    """A whole list. `members`: person and group, by external identifiers → whether they manage it. `left_out`: how many
    lines were about people who are not taken in, by their role there."""

    people: dict[str, Listed] = field(default_factory=dict)
    groups: dict[str, ListedGroup] = field(default_factory=dict)
    members: dict[tuple[str, str], bool] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)  # who those are


@dataclass(frozen=True, slots=True)
class Reading:
    """How a list is read. `roles`: what a role there is here, besides what is so by itself. `today`: `2026-08-31`."""

    roles: Mapping[str, str] = field(default_factory=dict)
    today: str = ""


class Problems:
    """Collects what is wrong, so that somebody mends a file once and not a hundred times."""

    def __init__(self) -> None:
        self.found: list[dict[str, str | int]] = []
        self.count = 0

    def add(self, file: str, line: int, code: str, message: str) -> None:
        self.count += 1
        if len(self.found) < MOST_PROBLEMS:
            self.found.append({"file": file, "line": line, "code": code, "message": message})

    def refuse(self) -> None:
        """Raises Flawed(`roster_refused`) if there was anything."""
        if self.count:
            raise refused(self.found, self.count)


def refused(found: Sequence[Mapping[str, str | int]], count: int) -> Flawed:
    """The error for a list with mistakes."""
    first = found[0]
    many = f"{count} mistakes" if count > 1 else "a mistake"
    return Flawed(
        "roster_refused",
        f"The list has {many}; nothing of it was taken. {first['file']}, line {first['line']}: {first['message']}",
        "Mend the lines that are named and send it again.",
        problems=tuple(found),
    )
