"""Where somebody lives, as far as its form tells: streets, post boxes, postal codes, and a town before its state.

A country, and a state of the United States by itself, may stay (45 CFR 164.514(b)(2)(i)(B)).
"""

import re
from collections.abc import Iterator
from functools import cache

from intramural.guard.checks import has_digit
from intramural.guard.classes import Kind
from intramural.guard.letters import UPPER
from intramural.guard.span import Span

_SUFFIX = (
    r"street|str|st|avenue|ave|av|road|rd|boulevard|blvd|drive|dr|lane|ln|court|ct|circle|cir|place|pl|plaza|plz|"
    r"square|sq|terrace|ter|terr|parkway|pkwy|highway|hwy|trail|trl|way|alley|aly|crescent|cres|close|loop|path|row|"
    r"walk|crossing|xing|cove|cv|point|pt|ridge|run|creek|pike|turnpike|tpke|expressway|expy|freeway|fwy|route|rte|"
    r"grove|gardens?|green|heights|hts|hill|hollow|knoll|landing|manor|meadows?|mews|mill|mount|park|pass|quay|"
    r"springs?|station|summit|vale|valley|view|village|vista|yard|bypass|byway|causeway|commons?|corner|estates?|"
    r"extension|ext|falls|fields?|ford|forest|fork|gateway|glen|harbor|haven|island|junction|key|lake|lodge|motorway|"
    r"neck|oval|overlook|parade|prairie|ranch|rapid|rest|shore|spur|stravenue|stream|throughway|trace|track|tunnel|"
    r"union|wall|wells?|wharf|crest|bend|bluff|branch|bridge|brook|burg|camp|canyon|cape|center|centre|cliff|club"
)
_SURE = (
    r"street|avenue|road|boulevard|drive|lane|court|circle|terrace|parkway|highway|crescent|st|ave|rd|blvd|dr|ln|"
    r"ct|pkwy|hwy"
)
_COMPASS = r"(?:[NSEW]|N\.?[EW]|S\.?[EW]|North|South|East|West|North(?:east|west)|South(?:east|west))\.?"
_UNIT = (
    r"(?:[,\s]{1,2}(?i:apt|apartment|unit|suite|ste|rm|room|floor|fl|bldg|building|flat|lot|trailer|space|"
    r"#)\.?[\s#]{0,2}"
    r"[A-Za-z]?-?\d{1,5}[A-Za-z]?\b|[,\s]{1,2}(?i:apt|apartment|unit|suite|ste|flat)\.?\s[A-Z]\b|"
    r",?\s?#\s?\d{1,5}[A-Z]?)"
)
_NUMBER = r"\d{1,6}(?:-\d{1,5})?(?:\s?[A-D])?(?:\s1/2|½)?"
#: What stands before "street" without being one: `2 hour drive`, `3 way street`, `5 minute walk`.
_NO_NAME = (
    r"(?:hours?|hrs?|minutes?|mins?|miles?|mile|km|days?|weeks?|months?|years?|way|lane|lanes|point|points|steps?|"
    r"blocks?|"
    r"patients?|students?|people|of|in|the|and|or|to|for|a|an|on|at|mg|ml|percent|times|more|other|new|different|main "
    r"points|city|car|full|per|beds?|bedroom|vehicles?|runs?|feet|foot|ft|meters?|yards?|acres?|square|court days)\b"
)
_STATES = (
    r"A[LKZR]|C[AOT]|D[CE]|FL|GA|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]|O[HKR]|P[AR]|RI|S[CD]|T[NX]|UT|V[TA]|"
    r"W[AVIY]|GU|VI"
)
_STATE_NAMES = (
    r"Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|"
    r"Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|"
    r"Montana|Nebraska|Nevada|New Hampshire|New Jersey|New Mexico|New York|North Carolina|North Dakota|Ohio|Oklahoma|"
    r"Oregon|Pennsylvania|Rhode Island|South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont|Virginia|Washington|"
    r"West Virginia|Wisconsin|Wyoming"
)
_CAP = rf"[{UPPER}][\w'’.\-]{{0,24}}"
_ORDINAL = r"\d{1,3}(?:st|nd|rd|th)"
_STREETS = (
    (
        "street",
        0.93,
        rf"(?<![\w.$/-]){_NUMBER},?\s(?:{_COMPASS}\s)?(?!{_NO_NAME})(?:(?:{_CAP}|{_ORDINAL}|de|la|del|of|"
        rf"the)\s){{0,4}}?"
        rf"(?:{_CAP}|{_ORDINAL})\s(?i:{_SUFFIX})\b\.?(?:\s(?i:{_SURE}|way|place|"
        rf"pl)\b\.?)?(?:\s{_COMPASS}(?!\w))?{_UNIT}?",
    ),
    (
        "street-lower",
        0.85,
        rf"(?<![\w.$/-]){_NUMBER}\s(?:(?i:{_COMPASS})\s)?(?!(?i:{_NO_NAME}))(?:(?!(?i:{_NO_NAME}))[\w'’.\-]{{1,20}}\s){{1,3}}?"
        rf"(?<!\bhour\s)(?<!\bminute\s)(?<!\bmile\s)(?<!\bway\s)(?i:{_SURE})\b\.?(?:\s(?i:{_COMPASS})(?!\w))?{_UNIT}?",
    ),
    (
        "street-bare",
        0.9,
        rf"(?<![\w.$/-]){_NUMBER}\s(?:{_COMPASS}\s)?(?i:broadway|main|highway \d+|hwy\.? \d+|route \d+|rte\.? \d+|"
        rf"county road \d+|"
        rf"county rd\.? \d+|state road \d+|state route \d+|u\.?s\.? (?:highway|hwy|route) \d+|i-\d+|avenue [a-z])\b"
        rf"{_UNIT}?",
    ),
    (
        "post-box",
        0.95,
        r"(?i:\b(?:p\.?\s?o\.?|post(?:al)?(?: office)?)\s?box\s?#?\s?\d{1,7}\b|\brr\s?#?\d{1,3},?\sbox\s\d{1,6})",
    ),
    (
        "street-german",
        0.9,
        r"(?<!\w)(?:[A-ZÄÖÜ][\wäöüß.\-]{1,24}\s)?[A-ZÄÖÜ]?[\wäöüß\-]{1,24}(?:straße|strasse|str\.|gasse|platz|allee|"
        r"ufer|damm|straat|laan|gatan|vägen|vej|gade)\s\d{1,4}\s?[a-z]?\b",
    ),
    (
        "street-german-apart",
        0.88,
        r"(?<!\w)[A-ZÄÖÜ][\wäöüß\-]{2,24}\s(?:Straße|Strasse|Str\.|Allee|Platz|Weg|Gasse)\s\d{1,4}[a-z]?\b",
    ),
    (
        "street-romance",
        0.9,
        rf"(?<!\w)(?:\d{{1,4}}(?:\s?bis|\s?ter)?,?\s(?i:rue|boulevard|bd|avenue|av|place|chemin|allée|impasse|quai|"
        rf"cours|route)\s"
        rf"(?:(?:de la|de l['’]|du|des|de|d['’])\s?)?{_CAP}(?:[\s-]{_CAP}){{0,3}}|(?i:via|viale|piazza|corso|calle|"
        rf"avenida|"
        rf"avda\.?|paseo|plaza|rua|largo)\s(?:(?:de la|de los|de|del|della|dei|do|da|"
        rf"dos)\s)?{_CAP}(?:\s{_CAP}){{0,3}},?\s(?:n[.º°]?\s?)?\d{{1,4}}\b)",
    ),
    (
        "street-no-number",
        0.7,
        rf"(?i:(?<!\w)(?:lives?|living|resides?|residing|residence|located|address|home|house|apartment|moved|"
        rf"mail(?:ed|ing)?|delivered|sent|ship(?:ped)?)(?:\s(?:is|was))?"
        rf"\s?(?:on|at|in|to|:)\s)(?P<street>(?:{_COMPASS}\s)?{_CAP}(?:\s{_CAP}){{0,2}}\s(?:{_SURE.title()})\b)",
    ),
    ("unit", 0.8, r"(?i:(?<!\w)(?:apt|apartment|suite|ste)\.?\s?#?\s?(?:[A-Z]-?)?\d{1,5}[A-Z]?\b)"),
)
_ZIPS = (
    (
        "zip-state",
        0.95,
        rf"(?:\b(?:{_STATES})|(?:{_STATE_NAMES})|United States(?: of America)?|"
        rf"U\.?S\.?A\.?)[.,]?\s{{1,12}}(?P<zip>\d{{5}}(?:-\d{{4}})?)(?![\w-]|\.\d)",
    ),
    (
        "zip-named",
        0.95,
        r"(?i:(?<![a-z])(?:zip|postal|post|plz|postleitzahl|cap)(?![a-z])[\s_-]{0,2}(?:codes?|number|area)?(?:\s(?:is|"
        r"of|was|are|at|changed to))?[\s:=#(\"'*|]{0,6})"
        r"(?P<zip>\d{5}(?:-\d{4})?|[A-Za-z]{1,2}\d[A-Za-z\d]?\s?\d[A-Za-z]{2}|[A-Za-z]\d[A-Za-z]\s?\d[A-Za-z]\d|"
        r"\d{4} [A-Z]{2}|\d{3} \d{2}|\d{2}-\d{3}|\d{5}-\d{3}|\d{4,6})(?![\w-]|\.\d)",
    ),
    (
        "zip-field",
        0.9,
        r"(?i:(?<![a-z])(?:zip|post(?:al)?)[\s_-]?(?:codes?)?)\"?\s?[:=]\s{0,4}\"?"
        r"(?P<zip>\d{3,7}|\d{3} \d{2})(?![\w-]|\.\d)",
    ),
    # Tables of numbers drop the nought that these states' codes begin with.
    ("zip-cut", 0.85, r"\b(?:CT|MA|ME|NH|NJ|RI|VT|PR)\.?,?\s(?P<zip>[1-9]\d{3})(?![\w-]|\.\d|[,/]\d)"),
    ("zip-plus-four", 0.85, r"(?<![\w.$-])(?P<zip>\d{5}-\d{4})(?![\w-])"),
    ("zip-british", 0.9, r"\b(?P<zip>(?:[A-Z]{1,2}\d[A-Z\d]?|GIR)\s\d[ABD-HJLNP-UW-Z]{2})\b"),
    ("zip-canadian", 0.92, r"\b(?P<zip>[ABCEGHJ-NPRSTVXY]\d[A-Z][ -]?\d[A-Z]\d)\b"),
    (
        "zip-after-street",
        0.85,
        rf"(?i:\b(?:{_SURE}|apt|suite|"
        rf"box)\b\.?)[^\n\d]{{0,12}}(?:\d{{1,4}}[A-Za-z]?[^\n\d]{{0,4}})?,\s?"
        rf"(?:[A-Z][\w.'-]+\s?){{1,3}},?\s(?P<zip>\d{{5}}(?:-\d{{4}})?)(?![\w-])",
    ),
    ("zip-european", 0.8, r"(?<![\w.-])(?P<zip>(?:[A-Z]{1,2}-)?\d{4,5})\s[A-ZÄÖÜ][a-zäöüß]{2,}(?=[,.\n]|$| [A-Z(])"),
)
_AREA = (
    rf"(?<![\w-])(?P<place>[A-Z][\w'’.-]{{1,20}}(?:\s[A-Z][\w'’.-]{{1,20}}){{0,2}}),\s(?:(?:{_STATES})\b|"
    rf"(?:{_STATE_NAMES}))"
)

_BEHIND = (
    rf"(?i:\b(?:{_SURE}|way|place|pl|terrace|trail|box)\b\.?)(?:\s{_COMPASS}(?!\w))?{_UNIT}?(?:\s\d{{1,6}})?(?:,\s|"
    rf"\s?\n\s{{0,8}}|,?\sin\s)"
    r"(?P<place>[A-Z][a-zà-ÿ'’.-]{2,20}(?:\s[A-Z][a-zà-ÿ'’.-]{1,20}){0,2})(?=,|\.?\s*\n|\.|$|\s\d{4,5}\b|\s(?:on|and|"
    r"since|for)\b)"
)
_FIELD = (
    r"(?<![\w-])(?i:city|town|village|municipality|(?:place of )?birth ?place|place of birth|home ?town)"
    rf"\s?[:=|]\s?[\"'*|]{{0,3}}\s?(?P<place>[{UPPER}][\w'’.-]{{1,20}}(?:[ -][{UPPER}][\w'’.-]{{1,20}}){{0,2}})"
)

#: The first three digits of areas with 20,000 people or fewer, which may not stay: Office for Civil Rights, guidance
#: on 45 CFR 164.514 of 2012, from the census of 2000.
SMALL_AREAS = frozenset(
    [
        "036",
        "059",
        "063",
        "102",
        "203",
        "556",
        "692",
        "790",
        "821",
        "823",
        "830",
        "831",
        "878",
        "879",
        "884",
        "890",
        "893",
    ]
)
_STREET_BEFORE = re.compile(
    rf"(?i:\b(?:{_SURE}|way|place|pl|box|straße|strasse|str\.)\b\.?|\d)[^\n]{{0,40}}$|(?i:address|lives|"
    rf"residen)[^\n]{{0,60}}$"
)


@cache
def _streets() -> tuple[tuple[str, float, re.Pattern[str]], ...]:
    return tuple((name, score, re.compile(pattern)) for name, score, pattern in _STREETS)


@cache
def _zips() -> tuple[tuple[str, float, re.Pattern[str]], ...]:
    return tuple((name, score, re.compile(pattern)) for name, score, pattern in _ZIPS)


@cache
def _towns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    forms = (("town-state", _AREA), ("town-street", _BEHIND), ("town-field", _FIELD))
    return tuple((name, re.compile(pattern)) for name, pattern in forms)


def streets(text: str) -> Iterator[Span]:
    """Street addresses and post boxes."""
    numbers = has_digit(text)
    for name, score, pattern in _streets():
        if not numbers and name != "street-no-number":
            continue
        for match in pattern.finditer(text):
            group = "street" if name == "street-no-number" else 0
            yield Span(Kind.STREET, *match.span(group), score, name)


def zips(text: str) -> Iterator[Span]:
    """Postal codes."""
    if not has_digit(text):
        return
    for name, score, pattern in _zips():
        for match in pattern.finditer(text):
            if name == "zip-european" and not _STREET_BEFORE.search(
                text[max(0, match.start("zip") - 80) : match.start("zip")]
            ):
                continue
            yield Span(Kind.ZIP, *match.span("zip"), score, name)


def towns(text: str) -> Iterator[Span]:
    """Towns that stand before their state, behind their street, or in a field of a form. All others need a model of
    the language.
    """
    for name, pattern in _towns():
        for match in pattern.finditer(text):
            yield Span(Kind.PLACE, *match.span("place"), 0.75, name)


def area_of(zip_code: str) -> str | None:
    """The three digits of a ZIP code that may stay, if more than 20,000 people live there."""
    three = zip_code[:3]
    return three if re.fullmatch(r"\d{5}(?:-\d{4})?", zip_code) and three not in SMALL_AREAS else None
