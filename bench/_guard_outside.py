"""Documents that nobody here wrote: the templates and invented people of `presidio-evaluator` (MIT), where installed.

Only its data files are read. Fields that are no identifiers under 45 CFR 164.514 (a country, a job, a year, an age) are
filled in and not asked for.
"""

import csv
import hashlib
import re
from collections.abc import Mapping
from enum import IntEnum
from importlib.util import find_spec
from pathlib import Path
from random import Random

from bench import _guard_values as values
from bench._guard_set import SEED, Document, Instance

_KINDS: Mapping[str, str] = {
    "street_name": "street", "secondary_address": "street", "building_number": "street",
    "city": "place", "postcode": "zip", "zipcode": "zip", "date_of_birth": "date", "date_time": "date",
    "phone_number": "phone", "email": "email", "ssn": "ssn", "credit_card_number": "card", "iban": "account",
    "ip_address": "ip", "url": "url", "us_driver_license": "licence", "organization": "organisation",
    **dict.fromkeys(
        ("person", "name", "name_female", "name_male", "first_name", "first_name_female", "first_name_male",
         "first_name_nonbinary", "last_name", "last_name_female", "last_name_male"), "name",
    ),
}  # fmt: skip
_SLOT = re.compile(r"\{\{\s?(\w+)\s?\}\}")


def folder() -> Path | None:
    """Where the data lies; None where the package is not installed."""
    spec = find_spec("presidio_evaluator")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "data_generator" / "raw_data"


class Half(IntEnum):
    """Rules may be worked on with one half of the templates; the other is not looked at, only counted."""

    WORKED_ON = 0
    HELD_BACK = 1

    @classmethod
    def of(cls, template: str) -> "Half":
        return cls(hashlib.sha256(template.encode()).digest()[0] % 2)


def documents(where: Path, each: int, country: str | None = "US", half: Half | None = None) -> list[Document]:
    """`each` documents of every template, or of those in one half, with people of `country` (None: of all)."""
    with (where / "FakeNameGenerator.com_3000.csv").open(encoding="utf-8-sig") as file:
        people = [row for row in csv.DictReader(file) if country in (None, row["Country"])]
    lines = [line.replace("\\n", "\n") for line in (where / "templates.txt").read_text("utf-8").splitlines()]
    r = Random(f"outside:{SEED}:{country}")
    made = [(line, _filled(line, r.choice(people), r)) for line in lines if line.strip() for _ in range(each)]
    return [document for line, document in made if half in (None, Half.of(line))]


def _filled(line: str, person: Mapping[str, str], r: Random) -> Document:
    text, instances, place = "", [], 0
    for slot in _SLOT.finditer(line):
        text += line[place : slot.start()]
        for kind, value in _values(slot[1], person, r):
            if kind:
                instances.append(Instance(kind, len(text), len(text) + len(value)))
            text += value
        place = slot.end()
    return Document(text + line[place:], tuple(instances))


def _values(slot: str, person: Mapping[str, str], r: Random) -> list[tuple[str, str]]:
    """What fills a slot, with its class; of an address each part has its own (a state has none)."""
    if slot == "address":
        parts = [("street", person["StreetAddress"]), ("", ", "), ("place", person["City"])]
        return [*parts, ("", f", {person['State']} "), ("zip", person["ZipCode"])]
    return [(_KINDS.get(slot, ""), _value(slot, person, r))]


def _value(slot: str, person: Mapping[str, str], r: Random) -> str:
    number, _, street = person["StreetAddress"].partition(" ")
    first, last = person["GivenName"], person["Surname"]
    known = {
        "street_name": street, "building_number": number, "secondary_address": f"Apt. {r.randint(1, 400)}",
        "city": person["City"], "postcode": person["ZipCode"], "zipcode": person["ZipCode"],
        "state_abbr": person["State"], "state": person["StateFull"], "country": person["CountryFull"],
        "date_of_birth": person["Birthday"], "date_time": values.date(r), "phone_number": person["TelephoneNumber"],
        "email": person["EmailAddress"], "ssn": values.ssn(r), "credit_card_number": values.card(r),
        "iban": "DE89370400440532013000", "ip_address": values.ip(r), "url": f"https://www.{person['Domain']}/",
        "us_driver_license": values.licence(r), "organization": person["Company"], "job": person["Occupation"],
        "year": str(r.randint(1950, 2026)), "age": str(r.randint(18, 89)), "day_of_week": "Monday",
        "nationality": "Danish", "nation_plural": "Danes", "nation_woman": "Danish woman",
        "last_name": last, "last_name_female": last, "last_name_male": last,
    }  # fmt: skip
    if slot in known:
        return known[slot]
    if slot.startswith("first_name"):
        return first
    return "Dr." if slot.startswith("prefix") else f"{first} {last}"
