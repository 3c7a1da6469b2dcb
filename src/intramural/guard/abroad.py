"""Addresses as most of the world writes them: the number behind the street, a town, a code before or behind it. Pure.

No list of streets or towns: the parts tell each other. `Trg revolucije 13, Borovnica, 1353` is an address because a
capitalised word with a house number, another capitalised word and a number stand in a row.
"""

import re
from collections.abc import Iterator
from functools import cache

from intramural.guard.checks import has_digit
from intramural.guard.classes import Kind
from intramural.guard.letters import UPPER
from intramural.guard.span import Span

_CAP = rf"[{UPPER}][\w'’./-]{{0,30}}"
_SMALL = (
    r"(?:de|del|della|di|do|da|dos|das|des|du|d['’]|la|las|le|les|los|l['’]|el|der|den|dem|die|am|an|auf|im|in der|"
    r"zu|zum|zur|van|von|ten|ter|op|aan|na|nad|pod|pri|sur|sous|y|e|og|i|près|s/)"
)
_TOWN = rf"{_CAP}(?:[ -](?:{_SMALL}[ -]){{0,2}}{_CAP}){{0,4}}(?:\s\d{{1,2}})?"
_CODE = (
    r"(?:\d{3} \d{2}|\d{2}-\d{3}|\d{4,5}-\d{3}|\d{4} ?[A-Z]{2}|[A-Z]{1,2}-\d{4,5}|\d{5}|\d{3,4}|\d{6})(?![\w-]|[.,]\d|"
    r"\s?(?:mg|mcg|ml|g|kg|iu|units?|tablets?|times|people|patients|pupils|students)\b)"
)
_HOUSE = r"\d{1,4}(?:\s?[A-Za-z])?(?:[/-]\d{1,4}[a-z]?)?"
_ANYTHING = re.compile(r"\d{3}|(?:19|20)\d\d")
#: Where a street cannot begin, going back from its number.
_STOP = frozenset(
    ("to", "at", "is", "in", "and", "from", "on", "of", "my", "the", "our", "are", "address", "near", "or")
)
_KINDS = frozenset(
    ("rue", "ul.", "ulica", "calle", "c/", "via", "viale", "avenida", "av.", "rua", "rúa", "carrer", "plaza", "piazza")
)
_MOST_WORDS, _MOST_CHARS, _ABBREVIATION_CHARS = 6, 120, 5
_SCORE, _LOW_SCORE = 0.85, 0.7
_COUNTRIES = (
    r"Albania|Algeria|Argentina|Armenia|Australia|Austria|Bangladesh|Belarus|Belgium|Bolivia|"
    r"Bosnia(?: and Herzegovina)?|Brazil|Bulgaria|Canada|Chile|China|Colombia|Costa Rica|Croatia|Cuba|Cyprus|"
    r"Czechia|Czech Republic|Denmark|Ecuador|Egypt|Estonia|Ethiopia|Finland|France|Georgia|Germany|Ghana|Greece|"
    r"Greenland|Guatemala|Hungary|Iceland|India|Indonesia|Iran|Iraq|Ireland|Israel|Italy|Japan|Jordan|Kazakhstan|"
    r"Kenya|Korea|Kosovo|Latvia|Lebanon|Lithuania|Luxembourg|Macedonia|Malaysia|Malta|Mexico|Moldova|Montenegro|"
    r"Morocco|Nepal|Netherlands|New Zealand|Nigeria|Norway|Pakistan|Panama|Paraguay|Peru|Philippines|Poland|"
    r"Portugal|Romania|Russia|Saudi Arabia|Serbia|Singapore|Slovakia|Slovenia|South Africa|Spain|Sri Lanka|Sweden|"
    r"Switzerland|Taiwan|Thailand|Tunisia|Turkey|Türkiye|Ukraine|Uruguay|United Kingdom|Venezuela|Vietnam"
)
#: `is at Room 12`: a capital and a number that are no street.
_NO_STREET = (
    r"(?!(?:Room|Gate|Level|Table|Floor|Building|Section|Page|Exit|Chapter|Unit|Ward|Bay|Desk|Line|Stage|Step|Grade|Suite|"
    r"Platform|Terminal|Station|Version|Route|Apt|Box|Figure|Question|Item|Number|No|Day|Week|January|February|March|"
    r"April|May|June|July|August|September|October|November|December|Monday|Tuesday|Wednesday|Thursday|Friday)\b)"
)


@cache
def _tail() -> re.Pattern[str]:
    """Behind a street: town, area and code."""
    return re.compile(
        rf",\s{{1,2}}(?P<town>{_TOWN}),(?P<gap>\s{{1,2}})(?:(?P<area>[A-Z]{{1,3}}|\d{{2}})\s)?(?P<zip>{_CODE})"
    )


@cache
def _number_first() -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.,-]){_HOUSE},?\s(?:[\w'’./-]{{1,30}}\s){{0,4}}{_CAP}$")


@cache
def _number_last() -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){_HOUSE}\.?$")


@cache
def _said() -> re.Pattern[str]:
    return re.compile(
        r"(?i:\b(?:liv(?:es?|ed|ing) (?:at|in)|locat(?:ed|ion is) (?:at|in)|(?:offices?|clinic|school|house|home|"
        r"restaurant|shop|surgery|practice) (?:is|are) (?:at|in)|return (?:it )?to|(?:addresse?s?|residence)"
        r"(?: is|:| are)|resid(?:es|ing) at|(?:ship(?:ped)?|deliver(?:ed)?|sen[dt]|mail(?:ed)?|taxi|moved) to)\s)"
        rf"(?P<street>{_NO_STREET}{_CAP}(?:\s(?:{_SMALL}\s)?{_CAP}){{0,4}}\s{_HOUSE})(?=[,.;\n]|$)"
    )


@cache
def _country() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_COUNTRIES})(?:\s\([A-Z][a-z]+\))?,?\s(?P<zip>{_CODE})(?!\s(?:people|was|and|were))")


@cache
def _town_code() -> re.Pattern[str]:
    """`in Houston 77006`: no fewer than five digits, for a year has four."""
    return re.compile(
        rf"\b(?:in|from|near|to)\s(?P<town>{_NO_STREET}{_CAP}(?:[ -]{_CAP}){{0,3}})\s"
        r"(?P<zip>\d{5}(?:-\d{3,4})?|\d{4}-\d{3}|\d{2}-\d{3})(?![\w-]|[.,]\d)"
    )


def abroad(text: str) -> Iterator[Span]:
    """Streets, towns and codes of an address in one line."""
    if not has_digit(text):
        return
    for match in _tail().finditer(text):
        # By itself a short number is anything, and a year more often a year.
        bare = match["area"] is None and len(match["gap"]) == 1
        start = None if bare and _ANYTHING.fullmatch(match["zip"]) else _street_before(text, match.start())
        if start is None:
            continue
        yield Span(Kind.STREET, start, match.start(), _SCORE, "street-abroad")
        yield Span(Kind.PLACE, *match.span("town"), _SCORE, "town-abroad")
        yield Span(Kind.ZIP, *match.span("zip"), _SCORE, "zip-abroad")
    for match in _said().finditer(text):
        yield Span(Kind.STREET, *match.span("street"), _SCORE, "street-said")
    for match in _town_code().finditer(text):
        yield Span(Kind.PLACE, *match.span("town"), _LOW_SCORE, "town-code")
        yield Span(Kind.ZIP, *match.span("zip"), _LOW_SCORE, "zip-town")
    for match in _country().finditer(text):
        if not re.fullmatch(r"(?:19|20)\d\d", match["zip"]) or _opens(text, match.start()):
            yield Span(Kind.ZIP, *match.span("zip"), _SCORE, "zip-country")


def _opens(text: str, start: int) -> bool:
    """Whether nothing but marks of quoting stands before it on its line."""
    return text[max(0, start - _MOST_CHARS) : start].rstrip(" \t>?").endswith("\n")


def _street_before(text: str, end: int) -> int | None:
    """Where the street begins that ends at `end`; None where none does."""
    begin = max(end - _MOST_CHARS, *(text.rfind(each, max(0, end - _MOST_CHARS), end) + 1 for each in "\n:;?!("), 0)
    line = text[begin:end]
    if (match := _number_first().search(line)) is not None:
        return begin + match.start()
    house = _number_last().search(line)
    if house is None:
        return None
    start = None
    for count, word in enumerate(reversed(list(re.finditer(r"\S+", line[: house.start()])))):
        plain = word[0].lower()
        ends = plain[-1] == "," or (plain[-1] == "." and len(plain) > _ABBREVIATION_CHARS)
        if count >= _MOST_WORDS or plain in _STOP or ends:
            break
        if word[0][0].isupper() or plain in _KINDS:
            start = begin + word.start()
    return start
