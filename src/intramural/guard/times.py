"""Dates more exact than a year, and ages over 89 (45 CFR 164.514(b)(2)(i)(C)).

A year alone, a time of day and a day of the week are none. `of_year` reads the year that may stay.
"""

import re
from collections.abc import Iterator
from functools import cache

from intramural.guard.checks import has_digit
from intramural.guard.classes import Kind
from intramural.guard.span import Span

_MONTH = (
    r"(?:jan(?:uary|\.)?|feb(?:ruary|r?\.)?|mar(?:ch|\.)?|apr(?:il|\.)?|may|june?\.?|july?\.?|aug(?:ust|\.)?|"
    r"sept?(?:ember|\.)?|oct(?:ober|\.)?|nov(?:ember|\.)?|dec(?:ember|\.)?)(?![a-z])"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_NTH = rf"{_DAY}(?:st|nd|rd|th)?"
_YEAR4 = r"(?:18|19|20|21)\d\d"
_YEAR = rf"(?:{_YEAR4}|['’]?\d\d)"
_M = r"(?:0?[1-9]|1[0-2])"
_CLOCK = r"(?:[T ,]{1,2}\d{1,2}:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:\s?[ap]\.?m\.?)?(?:Z|\s?[+-]\d\d:?\d\d)?)?"
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s)?"
_ORDINAL = (
    r"(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|(?:thir|four|fif|six|seven|"
    r"eigh|nine)teenth|twentieth|twenty[- ](?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|thirtieth|"
    r"thirty[- ]first)"
)
#: Dates that only a word before them tells from a fraction, a score or a size.
_WHEN = (
    r"(?:on|since|dated?|dob|d\.o\.b\.?|born|birth|birthday|birthdate|bday|by|until|till?|from|before|after|through|"
    r"thru|"
    r"seen|visit|visited|admit|admitted|admission|discharged?|surgery|performed|due|starting|started|began|expires?|"
    r"exp|"
    r"signed|dos|service|appointment|appt|scheduled|return|f/?u|follow[- ]?up|last|as of|effective|enrolled|date of "
    r"(?:birth|death|service|admission)|deceased|died|between|and|collected|received|reported)"
)
_FORMS = (
    ("date-iso", 0.95, rf"(?<![\w.-]){_YEAR4}-{_M}-{_DAY}{_CLOCK}(?![\d-])"),
    ("date-slashed-iso", 0.93, rf"(?<![\w./-]){_YEAR4}([/.]){_M}\1{_DAY}{_CLOCK}(?![\w/])"),
    ("date-numbers", 0.93, rf"(?<![\w./-])(?:{_M}([/-]){_DAY}|{_DAY}([/-]){_M})(?:\1|\2){_YEAR}{_CLOCK}(?![\d/-])"),
    ("date-dotted", 0.92, rf"(?<![\w./-])(?:{_DAY}\.\s?{_M}|{_M}\.{_DAY})\.\s?{_YEAR4}(?![\w/-])"),
    ("date-spaced", 0.9, rf"(?<![\w./-]){_M}\s[/-]\s{_DAY}\s[/-]\s{_YEAR}(?![\d/-])"),
    (
        "date-month-first",
        0.95,
        rf"(?<![\w-]){_WEEKDAY}{_MONTH}[\s\-/]{{1,2}}(?:the\s)?{_NTH}(?!\d|[:.]\d|\s?(?:mg|ml|kg|cm|mm|percent|%|"
        rf"people|"
        rf"patients|students|years|days|times))(?:\s?(?:–|-|to|through|"
        rf"and)\s?{_NTH}(?!\d))?(?:,?[\s\-/]{{1,2}}(?:of\s)?{_YEAR4}"
        rf"(?!\d)|,\s?['’]\d\d|-\d\d(?!\d))?(?:,?\sat)?{_CLOCK}",
    ),
    (
        "date-day-first",
        0.95,
        rf"(?<![\w.-]){_WEEKDAY}(?:the\s)?(?:{_NTH}|{_ORDINAL})[\s\-/.]{{0,2}}(?:day\s)?(?:of\s)?{_MONTH}"
        rf"(?:,?[\s\-/]{{0,2}}(?:of\s)?(?:{_YEAR4}(?!\d)|['’]?\d\d(?!\d|:\d)))?{_CLOCK}",
    ),
    ("date-month-ordinal", 0.93, rf"(?<![\w-]){_MONTH}\s(?:the\s)?{_ORDINAL}(?:,?\s{_YEAR4})?"),
    ("date-month-year", 0.9, rf"(?<![\w-]){_MONTH}(?:,?\s(?:of\s)?|-|/)(?:{_YEAR4}|['’]\d\d)(?!\d)"),
    ("date-number-year", 0.85, rf"(?<![\w./$-]){_M}[/]{_YEAR4}(?![\d/-])"),
    ("date-year-number", 0.8, rf"(?<![\w./-]){_YEAR4}-(?:0[1-9]|1[0-2])(?![\d-])"),
)
_NEAR_FORMS = (
    ("date-short", 0.8, rf"(?<![\w./$-]){_M}[/-]{_DAY}(?![\d/%-]|\.\d|\s?(?:mg|ml|cup|tab|inch|of\b|mile|cm))"),
    ("date-short-year", 0.8, rf"(?<![\w./-]){_M}[/-]\d\d(?![\d/%-]|\.\d)"),
    (
        "date-compact",
        0.85,
        rf"(?<![\w./-])(?:{_YEAR4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|"
        rf"3[01]){_YEAR4})(?!\w)",
    ),
    ("date-dots-short", 0.85, rf"(?<![\w./-])(?:{_DAY}\.{_M}|{_M}\.{_DAY})\.\d\d(?![\w/-]|\.\d)"),
    (
        "date-day-month",
        0.8,
        rf"(?<![\w.-])(?:the\s){_DAY}(?:st|nd|rd|th)(?!\s(?:grade|floor|street|st\b|ave|percentile|century|edition|"
        rf"graders?|place|time|toe|digit|rib|nerve|attempt|dose|week|day|month|year))(?![\w-])",
    ),
)
_OLD = r"(?:9\d|1[0-3]\d)"
_OLD_WORDS = (
    r"(?:ninety(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?|(?:a |one )?hundred(?:[- ](?:and )?(?:one|two|"
    r"three|four|five|six|seven|eight|nine|ten|eleven|twelve))?)"
)
_ANY_OLD = rf"(?:{_OLD}|{_OLD_WORDS})"
_UNIT = r"(?:years?|yrs?|y)"
_THING = (
    r"(?:building|house|school|hospital|church|company|tradition|tree|bridge|institution|study|bottle|wine|law|firm)"
)
_AGES = (
    ("age-years-old", 0.95, rf"(?<![\w.$-]){_ANY_OLD}[\s-]?{_UNIT}[\s-]?(?:old|of age)\b(?!\s{_THING})"),
    ("age-short", 0.95, rf"(?<![\w.$-]){_OLD}[\s-]?(?:y\.?/?o\.?|yo|y\.o\.|yr/?old)(?![a-z])(?:\s?[mf]\b)?"),
    (
        "age-sex",
        0.85,
        rf"(?<![\w.$/-]){_OLD}\s?(?:m|f|year male|year female|[\s-]?{_UNIT}[\s-](?:male|female|man|woman|lady|"
        rf"gentleman|patient|gentlewoman|resident|widow|widower|veteran|grandmother|grandfather))\b",
    ),
    (
        "age-named",
        0.93,
        rf"(?<![a-z])(?:aged?|turned|turning|turns|age at (?:visit|admission|death)|(?:s?he|who|patient|mother|father|"
        rf"grandmother|grandfather|grandma|grandpa|resident)(?:\sis|'s| was| has| had)?\s(?:now |almost |nearly |"
        rf"already |just turned |turned )?)[\s:=,]{{0,3}}(?:is |of |now |was |at )?(?P<age>{_ANY_OLD}(?!\d|[.,]\d|%|"
        rf"\s?(?:%|percent|mg|kg|lbs?|pounds|beats|bpm|over|mm|degrees|minutes|points|days|weeks|months|dollars|"
        rf"students|patients|on room|/))(?:\s{_UNIT}\sof age|\s{_UNIT})?(?!\w))",
    ),
    ("age-birthday", 0.9, r"(?<![\w.$-])(?:9\d|1[0-3]\d)(?:st|nd|rd|th)\sbirthday"),
    ("age-word", 0.85, r"\b(?:non|cent)(?:a|e)(?:genarian|narian)s?\b"),
    ("age-in-nineties", 0.8, r"\bin (?:his|her|their) (?:early |mid[- ]?|late )?(?:90'?s|nineties)\b"),
)


@cache
def _compiled() -> tuple[tuple[str, float, re.Pattern[str]], ...]:
    return tuple((name, score, re.compile(pattern, re.IGNORECASE)) for name, score, pattern in _FORMS)


@cache
def _near() -> tuple[re.Pattern[str], tuple[tuple[str, float, re.Pattern[str]], ...]]:
    forms = tuple((name, score, re.compile(pattern, re.IGNORECASE)) for name, score, pattern in _NEAR_FORMS)
    return re.compile(rf"(?<![a-z]){_WHEN}[\s:=#(\"'*|]{{1,4}}(?:the\s)?$", re.IGNORECASE), forms


@cache
def _aged() -> tuple[tuple[str, float, re.Pattern[str]], ...]:
    return tuple((name, score, re.compile(pattern, re.IGNORECASE)) for name, score, pattern in _AGES)


def dated(text: str) -> Iterator[Span]:
    """Every date."""
    numbers = has_digit(text)
    for name, score, pattern in _compiled():
        if not numbers and name not in ("date-day-first", "date-month-ordinal"):
            continue
        for match in pattern.finditer(text):
            yield Span(Kind.DATE, *_trimmed(match), score, name)
    if not numbers:
        return
    when, forms = _near()
    for name, score, pattern in forms:
        for match in pattern.finditer(text):
            before = text[max(0, match.start() - 40) : match.start()]
            named = "the " if name == "date-day-month" else ""  # it brings its "the" with it
            if when.search(before + named) is not None:
                yield Span(Kind.DATE, *match.span(), score, name)


def aged(text: str) -> Iterator[Span]:
    """Every age over 89."""
    for name, score, pattern in _aged():
        for match in pattern.finditer(text):
            yield Span(Kind.AGE, *match.span("age" if name == "age-named" else 0), score, name)


def of_year(date: str, this_year: int) -> int | None:
    """The year that may stay of `date`: four digits, and not one that tells an age over 89."""
    found = re.search(rf"(?<!\d){_YEAR4}(?!\d)|{_YEAR4}(?=-\d|\d{{4}}$)", date)
    if found is None:
        return None
    year = int(found[0])
    return year if this_year - 89 <= year <= this_year + 100 else None


def _trimmed(match: re.Match[str]) -> tuple[int, int]:
    start, end = match.span()
    text = match[0]
    return start + len(text) - len(text.lstrip()), end - (len(text) - len(text.rstrip(" ,-/")))
