"""How old people are, in bands, and what each band is let do. Pure.

What is kept of an age is the band. The bands part where the law does: COPPA at 13 (16 CFR 312.2), GDPR article 8 at a
year from 13 to 16 that each member state chooses (`consent_below`), full age at 18. Younger people have stricter limits
unless an institution says otherwise, for a band as a whole or in one workspace, in `[[age]]` tables of its policy file:

    [[age]]
    band = "13-15"
    workspace = "Grade 7 Maths"
    why = "Pupils hand in what they wrote; the school board agreed on 12 May."
    files = true
    keep_days = 200

A table changes what it names and leaves the rest. `why` is required: that it is relaxed, and the reason, is recorded.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Any, Final, Literal, cast, get_args

from intramural.core.actor import AGES, Age, Place
from intramural.core.errors import Misasked

#: The age from which somebody of a band may be.
YOUNGEST: Mapping[Age, int] = {"under-13": 0, "13-15": 13, "16-17": 16, "adult": 18}
MAX_DAYS = 36_500
#: Nobody is known to have become older than 122.
MAX_YEARS = 150
#: What must happen at least to what tells who somebody is: `redact` as for records of pupils; `block` besides stops
#: what leads to a person (addresses, numbers of theirs) before a model reads it.
Floor = Literal["allow", "redact", "block"]
FLOORS: tuple[Floor, ...] = get_args(Floor)

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)(?: (\w{3})-(\w{3}))?")
_DAY_MINUTES = 1440
WEEK_MINUTES = 7 * _DAY_MINUTES


class Feature(StrEnum):
    """What can be off for a band, and what a guardian can consent to; the value is the word in files and forms."""

    USE = "use"  # ask models at all
    KEEP = "keep"  # have chats, responses and conversations kept
    TEMPORARY = "temporary"  # ask without anything being kept
    FILES = "files"  # upload files, and batches of requests
    TOOLS = "tools"  # let a model call functions, which may reach a network or run something
    AUDIO = "audio"  # speak and be heard


#: What a guardian is asked about; of the others the institution decides alone.
CONSENTABLE: tuple[Feature, ...] = (Feature.USE, Feature.KEEP, Feature.FILES, Feature.AUDIO)
_SWITCHES: tuple[Feature, ...] = (Feature.KEEP, Feature.TEMPORARY, Feature.FILES, Feature.TOOLS, Feature.AUDIO)


@dataclass(frozen=True, slots=True)
class Hours:
    """When models answer: minutes of a day, on days of the week (0 is Monday)."""

    from_minute: int
    to_minute: int
    days: frozenset[int]
    text: str

    def has(self, week_minute: int) -> bool:
        """Whether a minute of the week, counted from Monday 00:00, is within."""
        day, minute = divmod(week_minute, _DAY_MINUTES)
        return day in self.days and self.from_minute <= minute < self.to_minute


@dataclass(frozen=True, slots=True)
class Limits:
    """What somebody may, because of their age. `consent`: what needs a guardian's; `keep_days`: for how long at most
    their chats are kept (None: as long as for everybody); `models`, `purposes` None: any; `hours` None: always.
    """

    off: frozenset[Feature] = frozenset()
    consent: frozenset[Feature] = frozenset()
    keep_days: int | None = None
    guard: Floor = "allow"
    models: frozenset[str] | None = None
    purposes: frozenset[str] | None = None
    hours: Hours | None = None


#: Without a word of the institution's. Whoever is under 13 has nothing kept and nothing of theirs uploaded; until 16 no
#: model calls functions for them; until full age what tells who they are is kept from models.
DEFAULTS: Mapping[Age, Limits] = {
    "under-13": Limits(
        off=frozenset({Feature.KEEP, Feature.FILES, Feature.TOOLS, Feature.AUDIO}), keep_days=30, guard="block"
    ),
    "13-15": Limits(off=frozenset({Feature.TOOLS, Feature.AUDIO}), keep_days=30, guard="redact"),
    "16-17": Limits(keep_days=90, guard="redact"),
    "adult": Limits(),
}


@dataclass(frozen=True, slots=True)
class AgeTable:
    """One `[[age]]` of a policy file: what it changes of a band's limits, everywhere or in one workspace."""

    band: Age
    workspace: str
    why: str
    changes: Mapping[str, Any]

    def apply(self, limits: Limits) -> Limits:
        """The limits with its changes."""
        off, values = set(limits.off), dict(self.changes)
        for each in _SWITCHES:
            if (allowed := values.pop(each.value, None)) is not None:
                off = off - {each} if allowed else off | {each}
        return replace(limits, off=frozenset(off), **values)

    @property
    def shown(self) -> dict[str, str]:
        """For the log."""
        names = ", ".join(sorted(self.changes))
        return {"band": self.band, "workspace": self.workspace, "changes": names, "why": self.why}


@dataclass(frozen=True, slots=True)
class AgeRules:
    """What every band may. `consent_below`: below this age a guardian consents, before a model is asked and to what is
    `CONSENTABLE`; a band counts with its youngest. `unknown`: as what those count whose age nobody said.
    """

    consent_below: int = 16
    unknown: Age = "adult"
    tables: tuple[AgeTable, ...] = ()
    _known: Mapping[tuple[Age, str], Limits] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        known: dict[tuple[Age, str], Limits] = {}
        for band, limits in DEFAULTS.items():
            asked = CONSENTABLE if YOUNGEST[band] < self.consent_below else ()
            limits = replace(limits, consent=frozenset(asked))
            for table in self._of(band, ""):
                limits = table.apply(limits)
            known[band, ""] = limits
            for workspace in {each.workspace for each in self.tables if each.workspace}:
                within = limits
                for table in self._of(band, workspace):
                    within = table.apply(within)
                known[band, workspace] = within
        object.__setattr__(self, "_known", known)

    def limits(self, age: Age, place: Place | None = None) -> Limits:
        """What somebody of this age may, in a workspace or in none."""
        band = self.unknown if age == "unknown" else age
        here = None if place is None else self._known.get((band, place.name))
        return here or self._known[band, ""]

    def keep_days(self, age: Age, workspace: str = "", days: int | None = None) -> int | None:
        """For how many days chats of somebody of this age are kept in the workspace of this name (empty: in none),
        where it has `days` of its own (None: for ever); None: for ever."""
        band = self.unknown if age == "unknown" else age
        most = (self._known.get((band, workspace)) or self._known[band, ""]).keep_days
        return days if most is None else most if days is None else min(days, most)

    @property
    def has_hours(self) -> bool:
        """Whether the time of day matters to anybody."""
        return any(limits.hours is not None for limits in self._known.values())

    def _of(self, band: Age, workspace: str) -> list[AgeTable]:
        return [each for each in self.tables if (each.band, each.workspace) == (band, workspace)]


#: Nothing of it is asked of anybody: where no settings were read.
NO_AGES: Final = AgeRules()


def band_of(birth_year: int, this_year: int) -> Age:
    """The band of who was born in a year, as if their birthday were at the end of it: never an older one than theirs.

    Raises Misasked(`bad_birth_year`).
    """
    youngest = this_year - birth_year - 1
    if not -1 <= youngest <= MAX_YEARS:
        raise Misasked("bad_birth_year", f"{birth_year} is no year of birth.", "Write a year with four digits.")
    return _band(max(youngest, 0))


def band_on(today: date, born: date) -> Age:
    """The band today of who was born on a day; on 29 February, a year older from 1 March on.

    Raises Misasked(`bad_birth_date`), which does not say the day.
    """
    years = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    if not 0 <= years <= MAX_YEARS:
        message = f"A day of birth is not to come, and not over {MAX_YEARS} years ago."
        raise Misasked("bad_birth_date", message, "Write it as 2014-05-31.")
    return _band(years)


def _band(years: int) -> Age:
    return max((band for band in YOUNGEST if YOUNGEST[band] <= years), key=YOUNGEST.__getitem__)


def check_age(text: str) -> Age:
    """Raises Misasked(`bad_age`)."""
    if text not in AGES:
        raise Misasked("bad_age", f"There is no age band {text!r:.40}.", f"Bands: {', '.join(AGES)}.", param="age")
    return text


def check_features(features: Sequence[str]) -> frozenset[Feature]:
    """What a guardian consented to. Raises Misasked(`bad_features`)."""
    unknown = sorted(set(features) - set(CONSENTABLE))
    if unknown or not features:
        what = f"{unknown[0]!r:.40} is nothing" if unknown else "There is nothing named"
        hint = f"Name some of: {', '.join(CONSENTABLE)}."
        raise Misasked("bad_features", f"{what} that a guardian is asked about.", hint, param="features")
    return frozenset(Feature(each) for each in features)


def parse_hours(text: str) -> Hours:
    """`07:00-20:00` or `07:00-20:00 mon-fri`. Raises Misasked(`bad_policy`)."""
    found = _HOURS.fullmatch(text.strip())
    if found is not None:
        first, last = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))
        days = [_DAYS.index(each) for each in (found[5] or "mon", found[6] or "sun") if each in _DAYS]
        if 0 <= first < last <= _DAY_MINUTES and len(days) == 2 and days[0] <= days[1]:
            return Hours(first, last, frozenset(range(days[0], days[1] + 1)), text.strip())
    raise Misasked("bad_policy", f"{text!r:.60} are no hours.", "Write `07:00-20:00` or `07:00-20:00 mon-fri`.")


def parse(text: str) -> tuple[AgeTable, ...]:
    """The `[[age]]` tables of a policy that is TOML. Raises Misasked(`bad_policy`) that names the table."""
    tables = tomllib.loads(text).get("age", [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise Misasked("bad_policy", "`age` is no list of tables.", "Begin each with [[age]]; see docs/consent.md.")
    found = tuple(_table(number, each) for number, each in enumerate(tables, 1))
    places = [(each.band, each.workspace) for each in found]
    for number, place in enumerate(places, 1):
        if place in places[: number - 1]:
            raise _bad(number, "is about the same band and workspace as one before it", "Put them together.")
    return found


def _table(number: int, given: dict[str, Any]) -> AgeTable:
    left = dict(given)
    band, workspace, why = left.pop("band", None), left.pop("workspace", ""), left.pop("why", None)
    if band not in YOUNGEST:
        raise _bad(number, f"has the band {band!r}, which there is not", f"Bands: {', '.join(YOUNGEST)}.")
    if not isinstance(workspace, str):
        raise _bad(number, "has a workspace that is no name", 'As in `workspace = "Grade 7 Maths"`.')
    if not isinstance(why, str) or not why.strip():
        raise _bad(number, "has no `why`", "Say who decided it and for what reason: it is recorded.")
    if not left:
        raise _bad(number, "changes nothing", "See docs/consent.md for what it may change.")
    changes = {name: _value(number, name, value) for name, value in left.items()}
    return AgeTable(cast(Age, band), workspace, why.strip(), changes)


def _value(number: int, name: str, value: Any) -> Any:
    """One value as `Limits` has it, or a switch."""
    match name, value:
        case ("keep_days", bool()):
            pass
        case ("keep_days", int()) if 1 <= value <= MAX_DAYS:
            return value
        case ("guard", str()) if value in FLOORS:
            return value
        case ("hours", str()):
            return parse_hours(value)
        case ("models" | "purposes", list()) if value and all(isinstance(each, str) and each for each in value):
            return frozenset(value)
        case ("consent", list()) if all(each in CONSENTABLE for each in value):
            return frozenset(Feature(each) for each in value)
        case (_, bool()) if name in _SWITCHES:
            return value
    hint = (
        f"It may have {', '.join(_SWITCHES)} (true or false), consent (a list of {', '.join(CONSENTABLE)}), keep_days "
        f"(1 to {MAX_DAYS}), guard ({', '.join(FLOORS)}), models, purposes (lists) and hours."
    )
    raise _bad(number, f"has {name} = {value!r}, which says nothing here", hint)


def _bad(number: int, what: str, hint: str) -> Misasked:
    return Misasked("bad_policy", f"The [[age]] table {number} {what}.", hint)
