"""What stands in a text in place of what was found: `[DATE-2024-7K3Q9M]`.

The characters are made with a key from the project, the class and the value, so one value has one mark in a project,
in other projects others, and nobody without the key can try values. What may stay by 45 CFR 164.514(b)(2)(i) does: the
year of a date, three digits of a ZIP code.
"""

import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from intramural.guard.classes import Kind
from intramural.guard.places import area_of
from intramural.guard.times import of_year

_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHORT, _LONG = 6, 12
_KINDS = "|".join(kind.name for kind in Kind)
_MARK = re.compile(rf"\[(?:{_KINDS})(?:-\d{{3,4}})?-[{_ALPHABET}]{{{_SHORT},{_LONG}}}\]")
#: The longest there is.
MAX_CHARS = max(len(kind.name) for kind in Kind) + len("[-2024-]") + _LONG


def marks(text: str) -> Sequence[tuple[int, int]]:
    """Where marks stand."""
    return [match.span() for match in _MARK.finditer(text)] if "[" in text else ()


@dataclass(slots=True)
class Pseudonyms:
    """Marks for values of one project, and back, as long as one request lasts. `key`: the project's, 32 bytes."""

    key: bytes = field(repr=False)
    this_year: int
    #: What was replaced, by its mark. Nothing of it is kept anywhere else.
    values: dict[str, str] = field(default_factory=dict, repr=False)

    def mark(self, kind: Kind, value: str) -> str:
        """What stands for `value`. Two ways to write a value have one mark (and the first comes back)."""
        plain = "".join(each for each in value.casefold() if each.isalnum()) or value
        kept = _kept(kind, value, self.this_year)
        letters = _letters(hmac.digest(self.key, f"{kind}\0{plain}".encode(errors="replace"), "sha256"))
        for length in (_SHORT, _LONG):
            mark = f"[{kind.name}{kept}-{letters[:length]}]"
            before = self.values.setdefault(mark, value)
            if "".join(each for each in before.casefold() if each.isalnum()) in (plain, ""):
                return mark
        return mark

    def restored(self, text: str, *, as_json: bool = False) -> str:
        """`text` with the values of this request in place of their marks; `as_json`: `text` is JSON, or part of it."""
        if "[" not in text or not self.values:
            return text

        def value(match: re.Match[str]) -> str:
            found = self.values.get(match[0], match[0])
            return json.dumps(found, ensure_ascii=False)[1:-1] if as_json else found

        return _MARK.sub(value, text)


def _kept(kind: Kind, value: str, this_year: int) -> str:
    if kind is Kind.DATE:
        year = of_year(value, this_year)
        return "" if year is None else f"-{year}"
    if kind is Kind.ZIP:
        area = area_of(value)
        return "" if area is None else f"-{area}"
    return ""


def _letters(digest: bytes) -> str:
    number, found = int.from_bytes(digest, "big"), []
    for _ in range(_LONG):
        number, place = divmod(number, len(_ALPHABET))
        found.append(_ALPHABET[place])
    return "".join(found)
