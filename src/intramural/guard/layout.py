"""Names that the layout of a text announces: a column called `name`, the line above an address. Pure.

Only a text that is there as a whole is read so; of one that still grows the next lines are not known.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache

from intramural.guard.classes import Kind
from intramural.guard.letters import LOWER, UPPER
from intramural.guard.span import Span
from intramural.guard.titles import PARTICLES

#: What a column of people is called.
_COLUMN = re.compile(
    r"(?:(?:full|first|last|middle|maiden|given|family|legal|preferred|nick|sur|fore|sir)?[ _-]?names?|"
    r"(?:patient|student|pupil|child|client|resident|member|parent|guardian|mother|father|teacher|provider|physician|"
    r"doctor|nurse|attending|counsell?or|employee|staff|contact|author|applicant|tutor|coach|subscriber|guarantor|"
    r"emergency contact|next of kin|principal|caregiver|participant|customer|user)s?(?:'?s)?"
    r"(?:[ _-]?(?:full|first|last)?[ _-]?names?)?|name \(?(?:last|first)[\w ,/]{0,16}\)?)",
    re.IGNORECASE,
)
_DELIMITERS = "\t|;,"
#: A cell that is a person: words, initials, a comma between family and given name.
_CELL = re.compile(
    rf"[{UPPER}{LOWER}][{UPPER}{LOWER}'’.\- ]{{0,60}}(?:,\s?[{UPPER}{LOWER}][{UPPER}{LOWER}'’.\- ]{{0,40}})?"
)
_NOBODY = re.compile(r"(?:n/?a|none|unknown|tbd|null|nil|total|same|yes|no|self|vacant|absent|-+)", re.IGNORECASE)
_RULE = re.compile(r"[\s|:+=-]+")
_SCORE = 0.86
#: How many lines behind a name the address may begin.
_WITHIN = 3
#: More words are a sentence, and no line of an address, head of a column or name.
_MOST_LINE_WORDS, _MOST_HEAD_WORDS, _MOST_NAME_WORDS = 5, 4, 6


@cache
def _line() -> re.Pattern[str]:
    part = rf"(?:[{UPPER}][{UPPER}{LOWER}'’-]{{1,24}}|[{UPPER}]\.?)"
    return re.compile(
        rf"[>\s]*(?:(?:Mr|Mrs|Ms|Dr|Prof|The family of|c/o|Attn:?|To:?)\.?\s)?"
        rf"(?P<name>{part}(?:\s(?:{PARTICLES}\s)?{part}){{1,3}}),?\s*"
    )


@cache
def _street() -> re.Pattern[str]:
    return re.compile(
        rf"[>?\s]*(?P<street>[{UPPER}](?:[\w'’./-]{{0,30}}\s){{1,6}}\d{{1,4}}\s?[A-Za-z]?\.?"
        r"(?P<flat>,?\s(?i:apt|apartment|unit|suite|flat)\.?\s\w{1,6})?),?\s*"
    )


@cache
def _flat() -> re.Pattern[str]:
    return re.compile(r"[>?\s]*(?i:apt|apartment|unit|suite|flat)\b")


@cache
def _coded() -> re.Pattern[str]:
    """A line that ends with a postal code behind a town, or is one."""
    return re.compile(
        rf"(?:^[>?\s]*|[{UPPER}{LOWER})],?\s)(?:\d{{4,6}}|\d{{3}} \d{{2}}|\d{{2}}-\d{{3}}|\d{{5}}-\d{{3}})\s*$"
    )


@cache
def _address() -> re.Pattern[str]:
    return re.compile(rf"[>\s]*(?:\d{{1,6}}[A-Za-z]?\s[{UPPER}\dNSEW]|(?i:p\.?\s?o\.?\s?box|apt\.?\s|suite\s))")


def laid_out(text: str) -> Iterator[Span]:
    """Names by their place on the page."""
    lines = [(match.start(), match[0]) for match in re.finditer(r"[^\n]+", text)]
    if len(lines) == 1:  # nothing stands above or below anything
        return
    yield from _columns(lines)
    yield from _above_addresses(lines)
    yield from _streets(lines)


def _above_addresses(lines: Sequence[tuple[int, str]]) -> Iterator[Span]:
    """A line of nothing but some capitalised words, with a house number in one of the next lines."""
    for at, (start, line) in enumerate(lines):
        match = _line().fullmatch(line)
        if match is None:
            continue
        for _, below in lines[at + 1 : at + 1 + _WITHIN]:
            if _address().match(below) is not None or _street().fullmatch(below) is not None:
                yield Span(Kind.NAME, start + match.start("name"), start + match.end("name"), _SCORE, "name-address")
                break
            if len(below.split()) > _MOST_LINE_WORDS:  # a sentence: the name does not head an address
                break


def _streets(lines: Sequence[tuple[int, str]]) -> Iterator[Span]:
    """A line that is a street and its number, with a flat in the same or the next line, or a code soon below."""
    for at, (start, line) in enumerate(lines):
        match = _street().fullmatch(line)
        if match is None:
            continue
        below = [text for _, text in lines[at + 1 : at + 1 + _WITHIN]]
        flat = match["flat"] or (below and _flat().match(below[0]))
        if flat or any(_coded().search(text) for text in below):
            yield Span(Kind.STREET, start + match.start("street"), start + match.end("street"), _SCORE, "street-line")


def _columns(lines: Sequence[tuple[int, str]]) -> Iterator[Span]:
    """Below a head that names its columns, the cells of those that hold people."""
    people: dict[int, str] = {}
    count, delimiter = 0, ""
    for start, line in lines:
        if count:
            cells = _cells(line, delimiter)
            if _RULE.fullmatch(line):
                continue
            if len(cells) == count or (delimiter == "\t" and len(cells) > max(people)):
                for place in people:
                    yield from _person(start, cells[place])
                continue
            count = 0
        head = _head(line)
        if head is not None:
            delimiter, count, people = head


def _head(line: str) -> tuple[str, int, dict[int, str]] | None:
    for delimiter in _DELIMITERS:
        cells = _cells(line, delimiter)
        if len(cells) == 1 or any(len(cell.split()) > _MOST_HEAD_WORDS for _, cell in cells):
            continue
        people = {at: cell for at, (_, cell) in enumerate(cells) if _COLUMN.fullmatch(cell.strip(" \"'*_:"))}
        if people:
            return delimiter, len(cells), people
    return None


def _cells(line: str, delimiter: str) -> list[tuple[int, str]]:
    """The cells of a line, each with where it begins; a delimiter in quotation marks parts nothing."""
    cells, start, quoted = [], 0, False
    for at, each in enumerate(line):
        if each == '"':
            quoted = not quoted
        elif each == delimiter and not quoted:
            cells.append((start, line[start:at]))
            start = at + 1
    cells.append((start, line[start:]))
    return cells


def _person(start: int, cell: tuple[int, str]) -> Iterator[Span]:
    shift, text = cell
    inner = text.strip(" \t\"'*_\r")
    at = text.find(inner)
    if inner and len(inner.split()) <= _MOST_NAME_WORDS and _CELL.fullmatch(inner) and not _NOBODY.fullmatch(inner):
        yield Span(Kind.NAME, start + shift + at, start + shift + at + len(inner), _SCORE, "name-column")
