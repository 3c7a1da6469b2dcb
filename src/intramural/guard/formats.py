"""What its form alone tells: addresses on a network, telephone numbers, and numbers with check digits."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from intramural.guard import checks
from intramural.guard.classes import Kind
from intramural.guard.span import Span


@dataclass(frozen=True, slots=True)
class _Form:
    """`pattern` finds it; `valid` checks it; `after`: what must stand before it, within 48 characters of its line;
    `never`: what must not, right before it."""

    kind: Kind
    name: str
    score: float
    pattern: str
    valid: Callable[[str], bool] | None = None
    after: str = ""
    never: str = ""


_BEFORE_CHARS = 48
#: Ends of names of hosts that are written without anything before them.
_TLD = (
    r"(?:com|org|net|edu|gov|mil|int|io|co|info|biz|health|care|clinic|school|academy|app|dev|me|us|uk|ca|de|fr|nl|es|"
    r"it|eu|ch|at|be|se|no|dk|fi|pl|ie|au|nz|in|jp|br|mx|local|internal|lan|example|test|invalid)"
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_SEP = r"[ .\u00a0\-–/]"
_CALL = r"(?:phone|tel|telephone|call|cell|mobile|mob|contact|reach|text|dial|ring|pager|voice ?mail|ph|extension|home|"
_CALL += r"work|callback|hotline|whatsapp|sms|number|handy|contacted|desk|office|landline|direct|switchboard|reception|"
_CALL += r"telefon|telefone|teléfono|telefono|téléphone|tél|tlf|portable|móvil|cellulare|gsm|daytime|evening)"
_VERSION = r"(?:version|release|ver|v|section|sec|chapter|clause|§|article|firmware|build)\.?\s?$"

_FORMS: Sequence[_Form] = (
    _Form(
        Kind.EMAIL, "e-mail", 0.99, r"(?<![\w.+%-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}"
    ),
    _Form(
        Kind.EMAIL,
        "e-mail-spelled",
        0.9,
        rf"(?<![\w.])[\w.+-]{{1,64}}\s?(?:\[at\]|\(at\)|\{{at\}}|\sat\s)\s?[\w-]{{1,63}}"
        rf"(?:\s?(?:\[dot\]|\(dot\)|\sdot\s|\.)\s?[\w-]{{1,63}}){{0,3}}\s?(?:\[dot\]|\(dot\)|\sdot\s|\.)\s?{_TLD}\b",
    ),
    _Form(Kind.EMAIL, "e-mail-local", 0.8, r"(?<![\w.+%-])[\w.+-]{1,64}@[\w-]{2,63}\b(?!\.)", after=r"e-?mail|contact"),
    _Form(Kind.URL, "url", 0.99, r"(?i:\b(?:https?|ftps?|sftp|wss?|file)://[^\s<>\"'`|\\^{}]{2,2000})"),
    _Form(Kind.URL, "url-www", 0.97, r"(?i:(?<![\w@./-])www\d?\.[^\s<>\"'`|\\^{}]{3,500})"),
    _Form(
        Kind.URL,
        "url-host",
        0.85,
        rf"(?i:(?<![\w@./-])(?:[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?\.){{1,5}}{_TLD}(?![\w-]|\.\w)(?:[/?#][^\s<>\"'`|"
        rf"\\^{{}}]{{0,500}})?)",
        valid=lambda text: not text.lower().endswith((".no", ".me", ".in", ".it", ".at", ".be")) or "/" in text,
    ),
    _Form(
        Kind.IP,
        "ipv4",
        0.95,
        rf"(?<![\w.]){_OCTET}(?:\.{_OCTET}){{3}}(?:/\d{{1,2}})?(?![\w/]|\.\d)",
        checks.address,
        never=_VERSION,
    ),
    _Form(
        Kind.IP,
        "ipv6",
        0.97,
        r"(?<![\w:.])(?=[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:)[0-9A-Fa-f:]{1,38}(?:[0-9A-Fa-f]|"
        r"::)(?:\.\d{1,3}){0,3}(?:%\w{1,15})?(?:/\d{1,3})?(?!\w|:\w)",
        lambda text: checks.address(text) and any(map(str.isalnum, text)) and len(text) > 4,
    ),
    _Form(
        Kind.DEVICE, "mac", 0.97, r"(?<![\w:-])[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}(?![\w:-])"
    ),
    _Form(Kind.DEVICE, "mac-dotted", 0.95, r"(?<![\w.])[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}(?![\w.])"),
    _Form(Kind.DEVICE, "udi", 0.98, r"\(01\)\d{14}(?:\(\d{2}\)[\w/.-]{1,20}){0,4}"),
    _Form(Kind.SSN, "ssn", 0.95, r"(?<![\w-])(?!000|666)\d{3}([- \u00a0–])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])"),
    _Form(Kind.SSN, "ssn-masked", 0.95, r"(?<![\w-])[Xx*•]{3}[- ]?[Xx*•]{2}[- ]?\d{4}(?![\w-])"),
    _Form(Kind.CARD, "card", 0.97, r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)", checks.card),
    _Form(
        Kind.CARD,
        "card-named",
        0.9,
        r"(?<![\w-])(?:\d(?:[ -]?\d){12,18}|(?:[Xx*•]{4}[ -]?){3}\d{4})(?![\w-])",
        after=r"card|visa|master\s?card|amex|discover|debit|credit",
    ),
    _Form(
        Kind.CARD,
        "card-end",
        0.9,
        r"(?<![\w.-])\d{4}(?![\w-]|\.\d)",
        after=r"(?:card|visa|master\s?card|amex|discover)\W{1,3}(?:\w+\W{1,3}){0,3}end(?:ing|s)(?: in| with)?:?\s$",
    ),
    _Form(Kind.ACCOUNT, "iban", 0.98, r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?\b", checks.iban),
    _Form(
        Kind.MEMBER,
        "mbi",
        0.95,
        r"\b[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y]{2}\d{2}\b",
    ),
    _Form(Kind.VEHICLE, "vin", 0.97, r"\b(?=[A-Z]*\d)[A-HJ-NPR-Z0-9]{17}\b", checks.vin),
    _Form(Kind.LICENCE, "dea", 0.9, r"\b[ABCDEFGHJKLMPRSTUX][A-Z9]\d{7}\b", checks.dea),
    _Form(
        Kind.PHONE,
        "phone-plus",
        0.95,
        rf"(?<![\w+])\+\d{{1,3}}(?:{_SEP}?\(?\d{{1,4}}\)?){{2,6}}(?:\s?(?:x|ext\.?|extension)\s?\d{{1,6}})?(?!\w)",
        lambda text: 8 <= len(checks.digits(text)) <= 18,
    ),
    _Form(
        Kind.PHONE,
        "phone-american",
        0.9,
        rf"(?<![\w.+-])(?:(?:1|001){_SEP}?)?(?:\([2-9]\d\d\)\s?|[2-9]\d\d{_SEP}\s?)[2-9]\d\d{_SEP}\d{{4}}"
        r"(?:,?\s?(?:x|ext\.?|extension|#)\s?\d{1,6})?(?!\w|-\d)",
    ),
    _Form(
        Kind.PHONE,
        "phone-any",
        0.85,
        rf"(?<![\w.+-])\(?\d{{1,5}}\)?(?:{_SEP}{{1,2}}\(?\d{{1,8}}\)?){{1,5}}(?:,?\s?(?:x|ext\.?|"
        rf"extension)\s?\d{{1,6}})?(?![\w-])",
        lambda text: 7 <= len(checks.digits(text)) <= 16 and _no_date(text),
        after=_CALL,
    ),
    # Outside North America a number begins with a nought and its area, in groups as each country likes.
    _Form(
        Kind.PHONE,
        "phone-national",
        0.8,
        r"(?<![\w.+/-])(?:\(0\d{1,4}\)[ -]?|0\d{1,4}[ /-])\d{2,8}(?:[ -]\d{2,4}){0,3}(?!\w|-\d|\.\d|/\d)",
        lambda text: 9 <= len(checks.digits(text)) <= 11 and _no_date(text),
    ),
    _Form(Kind.PHONE, "phone-pairs", 0.85, r"(?<![\w.+-])0[1-9](?:\.\d\d){4}(?![\w-]|\.\d)"),
    _Form(
        Kind.PHONE,
        "phone-behind",
        0.85,
        r"(?<![\w.+-])\(?\d[\d .()-]{5,15}\d(?=\s?[-(]\s?(?i:office|fax|home|mobile|work|cell|desk|direct)\b)",
        lambda text: 7 <= len(checks.digits(text)) <= 12 and _no_date(text),
    ),
    _Form(
        Kind.PHONE, "phone-plain", 0.85, r"(?<![\w.+-])(?:1?[2-9]\d{9}|0\d{8,11}|[2-9]\d{6})(?![\w-]|\.\d)", after=_CALL
    ),
    _Form(
        Kind.PHONE,
        "phone-toll-free",
        0.9,
        r"(?<![\w.+-])1?[- .]?8(?:00|33|44|55|66|77|88)[- .][2-9A-Z]\d?[A-Z0-9]{1,7}(?:[- .][A-Z0-9]{3,5})?(?![\w-])",
    ),
    _Form(
        Kind.CODE,
        "long-number",
        0.5,
        r"(?<![\w$€£.,+#@%/=-])(?:\d{7,12}|[A-Z]{1,4}-?\d{5,10}[A-Z]?|\d{4}-\d{4}|[A-Z]\d{2}-\d{5}|\d{5,9}[A-Z])"
        r"(?![\w%-]|[.,]\d|\s(?:people|dollars|euros|bytes|users|ms|units|times))",
    ),
    _Form(
        Kind.PHONE,
        "phone-extension",
        0.85,
        r"(?<!\w)\d{3,6}(?![\w-]|\.\d)",
        after=r"\b(?:ext|extension|pager|x)[.:#]?\s?$",
    ),
)

_DATE = re.compile(r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}")
_TRAILING = ".,;:!?)]}'\"*_"


def _no_date(text: str) -> bool:
    return _DATE.fullmatch(text) is None


@cache
def _compiled() -> tuple[tuple[_Form, re.Pattern[str], re.Pattern[str] | None, re.Pattern[str] | None], ...]:
    def context(words: str) -> re.Pattern[str] | None:
        start = "" if words.startswith(("\\b", "(?<")) else r"(?<![A-Za-z])"
        end = "" if words.endswith("$") else r"(?![A-Za-z])"
        return re.compile(f"{start}(?:{words}){end}", re.IGNORECASE) if words else None

    return tuple((form, re.compile(form.pattern), context(form.after), context(form.never)) for form in _FORMS)


#: What must occur in a text for a form to be worth a look.
_NEEDS: Mapping[str, str] = {
    "e-mail": "@",
    "e-mail-local": "@",
    "url": "://",
    "ipv6": ":",
    "udi": "(01)",
    "phone-plus": "+",
}


def formed(text: str) -> Iterator[Span]:
    """Everything whose form is enough, or whose form and a word before it are."""
    has_digits = checks.has_digit(text)
    for form, pattern, after, never in _compiled():
        if (need := _NEEDS.get(form.name)) is not None and need not in text:
            continue
        if not has_digits and form.kind not in (Kind.EMAIL, Kind.URL, Kind.IP):
            continue
        for match in pattern.finditer(text):
            start, end = match.span()
            if form.kind in (Kind.URL, Kind.EMAIL):
                end = start + len(match[0].rstrip(_TRAILING))
            if form.valid is not None and not form.valid(text[start:end]):
                continue
            if (after or never) and not _stands(text, start, after, never):
                continue
            yield Span(form.kind, start, end, form.score, form.name)


def _stands(text: str, start: int, after: re.Pattern[str] | None, never: re.Pattern[str] | None) -> bool:
    before = text[max(0, start - _BEFORE_CHARS) : start]
    line = before[before.rfind("\n") + 1 :]
    # A field may have its value in the next line.
    before = line if line.strip() or not before.rstrip().endswith(":") else before.rstrip()
    if never is not None and never.search(before):
        return False
    return after is None or after.search(before) is not None
