"""The list of legal holds: a file outside the database, so that an old backup of that does not undo a hold.

A line is a hold as it was then, with whom it was on; a later line of the same one counts. The database has the first
word while the service runs, and what is new there is added here; at a start each learns from the other what it lacks:

    the list \\ the database    not there          holds             lifted
    not there                   –                  add to the list   add to the list
    holds                       put it again       add who is new    add to the list
    lifted                      –                  lift it           –

So neither a hold nor its end is lost by restoring a backup that is older than it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from intramural.core.errors import Unavailable, Untrusted
from intramural.retention.holds import Hold
from intramural.vault import Lines

HOLDS_FILE = "holds.jsonl"
_FIELDS = tuple(each.name for each in fields(Hold) if each.name != "people")


@dataclass(frozen=True, slots=True)
class Held:
    """A hold, and on whom it was ever written down to be."""

    hold: Hold
    people: frozenset[str]

    @property
    def holds(self) -> bool:
        return self.hold.lifted_ms is None


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the database lacks (`put`, `lift`, and people in `add`), and what the list lacks (`note`)."""

    put: tuple[Held, ...] = ()
    lift: tuple[Held, ...] = ()
    add: tuple[Held, ...] = ()
    note: tuple[Held, ...] = ()


def learnt(listed: Mapping[str, Held], there: Mapping[str, Held]) -> Learnt:
    """What each of the two learns from the other. Pure."""
    put = tuple(each for name, each in listed.items() if name not in there and each.holds)
    both = [(each, there[name]) for name, each in listed.items() if name in there]
    lift = tuple(each for each, here in both if here.holds and not each.holds)
    add = tuple(
        Held(here.hold, each.people - here.people)
        for each, here in both
        if here.holds and each.holds and each.people - here.people
    )
    ended = {each.hold.id for each in lift}
    note = tuple(
        here
        for name, here in there.items()
        if name not in ended
        and (name not in listed or (listed[name].holds and not here.holds) or here.people - listed[name].people)
    )
    return Learnt(put, lift, add, note)


class HoldList:
    """The list in one file. Blocking."""

    def __init__(self, file: Path) -> None:
        self._lines = Lines(file)

    def note(self, held: Held) -> None:
        """Add a hold as it is now, durably. Raises Unavailable(`hold_list_unwritable`)."""
        values = {name: value for name, value in asdict(held.hold).items() if name in _FIELDS}
        try:
            self._lines.add({**values, "people": sorted(held.people)})
        except OSError as error:
            message = f"The list of legal holds cannot be written: {error.strerror}."
            raise Unavailable(
                "hold_list_unwritable", message, "Check vault.erased_file: it lies beside that."
            ) from error

    def held(self) -> dict[str, Held]:
        """Every hold on the list, as it was last. Raises Untrusted(`hold_list_damaged`)."""
        try:
            entries = list(self._lines.read())
        except OSError as error:
            message = f"The list of legal holds cannot be read: {error.strerror}."
            raise Untrusted("hold_list_damaged", message, "Restore the file from a backup.") from error
        found: dict[str, Held] = {}
        for number, entry in entries:
            try:
                hold = Hold(**{name: entry[name] for name in _FIELDS})
                people = frozenset(map(str, entry["people"]))
            except (KeyError, TypeError):
                message = f"Line {number} of {self._lines.file} is no entry of the list of legal holds."
                raise Untrusted("hold_list_damaged", message, "Restore the file from a backup.") from None
            before = found.get(hold.id)
            if before is not None and not before.holds:
                hold = before.hold  # what was lifted is lifted, however lines of two lists were put together
            found[hold.id] = Held(hold, people | (before.people if before else frozenset()))
        return found
