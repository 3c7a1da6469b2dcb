"""Numbers that a word beside them tells what they are: `MRN: 00482913`, `plate 7ABC123`, `S-20817 is her student ID`.

One expression looks for all the words, so that a text is gone through once. What follows (or precedes) is taken by
form: groups of letters and digits, of which rules per class say how far they belong to the value.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from intramural.guard.checks import digits, has_digit
from intramural.guard.classes import Kind
from intramural.guard.span import Span

#: What "number" may be called after a word that alone would say too little.
_N = r"(?:[ \-_]?(?:numbers?|num|no\b\.?|nbr|nr\b\.?|ids?\b|identifier|identification|code|#))"
#: Class by class, the words. A word that also means something else is only taken with a "number" behind it.
_WORDS: Mapping[Kind, str] = {
    Kind.SSN: rf"s\.?s\.?n\b\.?|ss{_N}|soc(?:ial)?\.? ?sec(?:urity)?(?:{_N})?|social(?:{_N})|itin\b|tax(?:payer)?{_N}",
    Kind.FAX: rf"fax(?:es|ed)?(?:{_N})?|facsimile(?:{_N})?|telefax",
    Kind.MRN: (
        rf"mrn\b|m\.r\.n\.|mr[ ]?#|mr{_N}|med(?:ical)?\.?[ \-_]?rec(?:ord)?s?\.?(?:{_N})?|(?:chart|hospital|unit|"
        rf"patient|"
        rf"patient record|pt|health record|ehr|emr|nhs){_N}|nhs\b|(?:chart|record)[ ]?#|patientid|empi\b|epic{_N}"
    ),
    Kind.MEMBER: (
        rf"(?:member(?:ship)?|subscriber|policy(?:holder)?|insurance|insured|health[ \-]?plan|plan|beneficiary|"
        rf"enrollee|"
        rf"group|payer|payor|coverage|medicare|medicaid|hic|health insurance(?: claim)?|insurance policy|"
        rf"insurance card|"
        rf"policy holder|benefits?){_N}|memberid|(?:medicare|medicaid|mbi|hicn)\b|beneficiary|subscriber"
    ),
    Kind.ACCOUNT: (
        rf"(?:account|acct|a/c|bank(?:ing)?(?: account)?|checking(?: account)?|savings(?: account)?|routing|aba|"
        rf"customer|"
        rf"billing(?: account)?|guarantor|invoice|sort|loan|client){_N}|iban\b|(?:account|acct)\b\.?|a/c|routing|"
        rf"(?:checking|savings|bank) account|sort code"
    ),
    Kind.LICENCE: (
        rf"(?:driver'?s?'? |driving |medical |nursing |pharmacy |professional |teaching |operator'?s? |state )?"
        rf"licen[cs]e(?:{_N})?|(?:permit|certificat(?:e|ion)|credential|registration certificate|passport){_N}|"
        rf"passport|d\.?l\.?{_N}|dln?\b|npi\b(?:{_N})?|dea\b(?:{_N})?|certificate of birth|lic\b\.?(?:{_N})?"
    ),
    Kind.VEHICLE: (
        rf"(?:licen[cs]e |number |registration |vehicle |car |tag )?plates?(?:{_N})?|(?:license )?tag{_N}|"
        rf"(?:vehicle|car|reg(?:istration)?){_N}|vehicle registration|"
        rf"tags?(?=[ :#]{{1,3}}(?:[A-Z]{{2,3}}[ \-]?\d|\d[A-Z]{{2,3}}[ \-]?\d))|vin\b(?:{_N})?|"
        rf"vehicle identification{_N}"
    ),
    Kind.DEVICE: (
        rf"serial(?:{_N})?|s/n\b|ser\.? ?no\.?|sn\b|(?:device|implant|pacemaker|pump|monitor|equipment|asset|"
        rf"unit serial|"
        rf"lot|udi|imei|hardware|sensor|machine|meter|chromebook|laptop|tablet){_N}|(?:udi|imei|udid|meid|icd serial)\b"
    ),
    Kind.STUDENT: (
        rf"(?:student|pupil|learner|school|sis|sasid|ssid|lasid|district|enrol?lment|campus|state student|"
        rf"student record|matriculation|roll|admission){_N}|studentid|upn\b|sasid|lasid|matrikelnummer"
    ),
    Kind.CODE: (
        rf"(?:case|claim|encounter|visit|accession|specimen|sample|prescription|rx|referral|reference|confirmation|"
        rf"docket|ticket|employee|staff|badge|personnel|tracking|file|locker|order|study|subject|participant|episode|"
        rf"authori[sz]ation|contract|transaction|record|report|incident|complaint|citation|warrant|form|user|"
        rf"application|"
        rf"account holder|identity|request|receipt|serial|batch|voucher|appointment|booking){_N}|"
        rf"(?:id|identification)(?:[ _]?(?:numbers?|no\b\.?|nr|code|#|card))|(?:police|incident|lab|accident) report"
        rf"(?=[ :#]{{1,3}}[A-Z]{{0,3}}-?\d)|id(?=[ ]?[:#]\s?[A-Z]{{0,4}}-?\d{{3}})|(?:rx|claim|accession|"
        r"badge|docket|csn)[ ]?#?(?=[ :#]*\d)|(?:case|encounter|visit|specimen|sample|prescription|referral|ticket|"
        r"order|"
        r"episode|booking|reservation)(?=[ :#]{1,3}(?:[A-Z]{1,3}-?\d|\d{4,}-\d|\d{6,}))"
    ),
}  # fmt: skip
#: Between a word and its number.
_JOIN = (
    r"(?:\s(?:of|for|on|in|at|from)\s(?:the|his|her|their|my|our|this|a|an)\s(?:[a-z]{2,14}\s)?[a-z]{2,14}"
    r"(?=\s(?:is|was|reads?|shows?|says)\b|:))?"
    r"[\s\"'*_`|()\[\]>]{0,6}(?:(?:(?:is|was|are|reads?|as|of|on file|now|listed as|ending(?: in| with)?|ends in|last "
    r"four(?: digits)?|last 4|being|shows?|assigned|at|to)\b|(?:numbers?|num|no\.?|id|code)\b|[:#=.,–—\-])"
    r"[\s\"'*_`|()\[\]]{0,6}){0,4}"
)
#: Groups of letters and digits. How many of them are meant is decided afterwards.
_VALUE = r"[A-Za-z0-9]{1,24}(?:[-/._·–]{1,2}[A-Za-z0-9]{1,20}|[ \u00a0][A-Za-z0-9]{1,20}){0,7}"
_PHONE_VALUE = r"[+(]{0,2}\d[\d \u00a0().\-/–]{5,22}\d"
#: Behind a number: `4471923 (MRN)`, `4471923 is her student ID`.
_BACK = (
    r"[\s\"']{0,2}(?:\(|,?\s?(?:is|was|as|being|-|–)\s)\s?(?:the|her|his|my|their|your|our|its|a|an)?\s?"
    r"(?:patient'?s?|child'?s?|student'?s?|full|new|old|correct|current)?\s?"
)
_GROUP = re.compile(r"([-/._·– \u00a0]*)([A-Za-z0-9]+)")
#: Fewer characters, or fewer digits, are no number of that kind.
_LEAST: Mapping[Kind, tuple[int, int]] = {
    Kind.SSN: (4, 4), Kind.MRN: (4, 3), Kind.MEMBER: (5, 3), Kind.ACCOUNT: (5, 4), Kind.LICENCE: (5, 3),
    Kind.VEHICLE: (4, 1), Kind.DEVICE: (5, 2), Kind.STUDENT: (4, 3), Kind.CODE: (4, 3), Kind.FAX: (7, 7),
}  # fmt: skip
_DATE_LIKE = re.compile(r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|(?:19|20)\d\d(?!\d)")


def _named(kinds: Iterable[Kind]) -> str:
    # A digit may follow a word at once, a letter may not.
    return "|".join(f"(?P<{kind.name}>{_WORDS[kind]})" for kind in kinds).replace(r"\b", "(?![a-z])")


@cache
def _forward() -> re.Pattern[str]:
    start = r"(?:(?<![A-Za-z0-9])|(?<=[A-Za-z])(?=\d))"  # `MRN00482913` too
    values = rf"(?:(?P<phone>{_PHONE_VALUE})|(?P<value>{_VALUE}))"
    return re.compile(rf"(?<![A-Za-z0-9])(?i:{_named(_WORDS)})(?i:{_JOIN}){start}{values}")


@cache
def _backward() -> re.Pattern[str]:
    words = _named([kind for kind in _WORDS if kind is not Kind.FAX])
    value = r"(?P<value>(?=[A-Z\-/ ]{0,8}\d)[A-Z0-9]{2,20}(?:[-/ ][A-Z0-9]{1,12}){0,3})"
    return re.compile(rf"(?<![A-Za-z0-9@.\-/]){value}(?i:{_BACK})(?i:{words})(?![A-Za-z])")


def keyed(text: str) -> Iterator[Span]:
    """Every number that a word beside it names."""
    if not has_digit(text):
        return
    place = 0
    while (match := _forward().search(text, place)) is not None:
        span = _after(text, match)
        if span is not None:
            yield span
            yield from _listed(text, span)
        # Words may follow each other ("insurance card: member ID …"): go on behind the word, not behind its value.
        kind = _kind(match)
        place = max(match.end(kind.name), match.start() + 1) if span is None else span.end
    for match in _backward().finditer(text):
        kind = _kind(match)
        value = match["value"]
        if "\n" not in match[0] and _enough(kind, value):
            yield Span(kind, match.start("value"), match.end("value"), 0.9, "number-word")


def _listed(text: str, span: Span) -> Iterator[Span]:
    """More of the same: `serial numbers 1123, 4471 and 9921`."""
    while (joint := _joint().match(text, span.end)) is not None:
        value = _value().match(text, joint.end())
        if value is not None and span.kind is not Kind.VEHICLE and value[0].split(maxsplit=1)[0].isalpha():
            return  # `and SSN 123-45-6789`: something else begins
        length = 0 if value is None else _length(span.kind, value[0])
        if not length or not _enough(span.kind, text[joint.end() : joint.end() + length]):
            return
        span = Span(span.kind, joint.end(), joint.end() + length, 0.9, "word-numbers")
        yield span


@cache
def _joint() -> re.Pattern[str]:
    return re.compile(r"\s?(?:,|;|/|&|\+|,?\s?\b(?:and|or|und|then)\b)\s?(?:#\s?)?(?=[A-Z]{0,4}[- ]?\d)")


def _kind(match: re.Match[str]) -> Kind:
    return next(kind for kind in _WORDS if match.groupdict().get(kind.name) is not None)


def _after(text: str, match: re.Match[str]) -> Span | None:
    kind = _kind(match)
    if kind is Kind.FAX:
        start, end = match.span("phone")
        return None if match["phone"] is None else Span(kind, start, end, 0.98, "word-number")
    name = "phone" if match["phone"] is not None else "value"
    start = match.start(name)
    while text[start] in "+(":
        start += 1
    value = _value().match(text, start)
    length = 0 if value is None else _length(kind, value[0])
    if not length or not _enough(kind, text[start : start + length]):
        return None
    return Span(kind, start, start + length, 0.98, "word-number")


@cache
def _value() -> re.Pattern[str]:
    return re.compile(_VALUE)


def _length(kind: Kind, value: str) -> int:
    """How many of its characters belong together: `7 ABC 123` of a plate, `00482913` of `00482913 and`."""
    groups = list(_GROUP.finditer(value))
    end = 0
    for at, group in enumerate(groups):
        joint, word = group[1], group[2]
        has_digit = any(each.isdigit() for each in word)
        spaced = joint.isspace()
        if not at:
            following = groups[at + 1][2] if len(groups) > 1 else ""
            short = word.isupper() and len(word) <= 6 and (kind is Kind.VEHICLE or any(map(str.isdigit, following)))
            joined = len(groups) > 1 and not groups[1][1].isspace()
            if not (has_digit or short or joined):
                return 0
        elif spaced:
            before = groups[at - 1][2]
            capitals = kind in (Kind.VEHICLE, Kind.LICENCE, Kind.ACCOUNT) and word.isupper() and len(word) <= 4
            if not (capitals or (has_digit and len(word) <= 6 and len(before) <= 6 and not _lower(word))):
                break
            if _DATE_LIKE.match(value, group.start(2)) and kind is not Kind.SSN:
                break
        elif not (has_digit or word.isupper() or len(word) <= 2):
            break
        end = group.end()
    return end


def _lower(word: str) -> bool:
    return any(each.islower() for each in word)


def _enough(kind: Kind, value: str) -> bool:
    characters = sum(each.isalnum() for each in value)
    least, numbers = _LEAST[kind]
    if characters < least or len(digits(value)) < numbers:
        return False
    return _DATE_LIKE.fullmatch(value) is None
