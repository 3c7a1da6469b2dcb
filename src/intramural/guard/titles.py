"""Names that a word before them announces: a title, a field of a form, a greeting. All others need a model of the
language, so by themselves these rules find only a part, and the guard says so.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

from intramural.guard.classes import Kind
from intramural.guard.letters import LOWER, UPPER
from intramural.guard.span import Span

_PART = (
    rf"(?:(?:O['’]|Mc|Mac|D['’]|[Aa]l-|[{UPPER}][{LOWER}]{{1,3}}-)?[{UPPER}][{LOWER}'’]{{1,20}}"
    rf"(?:-[{UPPER}][{LOWER}]{{1,20}})?|[{UPPER}]\.)"
)
_LOUD = rf"[{UPPER}][{UPPER}'’-]{{1,20}}"
#: What stands between the parts of a name, in small letters or, as in the Netherlands without a given name, not.
PARTICLES = (
    r"(?:van der|van den|van de|von der|von dem|de la|de las|de los|van|von|de|del|della|da|das|dos|do|di|du|des|la|le|"
    r"el|al|bin|bint|binti|ibn|ben|abu|ter|ten|den|af|av|zu|y|e|i|san)"
)
_JOINT = rf"(?:\s(?:{PARTICLES}))?"
_FULL = rf"{_PART}(?:{_JOINT}\s{_PART}){{0,3}}"
_TITLE = (
    r"(?:Mr|Mrs|Ms|Mx|Miss|Mister|Dr|Doctor|Prof|Professor|Rev|Reverend|Fr|Father|Sister|Sr|Nurse|Officer|Judge|"
    r"Justice|"
    r"Capt|Captain|Lt|Sgt|Sergeant|Coach|Principal|Dean|Senator|Rabbi|Imam|Pastor|Sir|Madam|Dame|Lord|Lady|Herr|Frau|"
    r"Señora?|Sra?|Madame|Monsieur|Mme|Mlle|Signora?)"
)
_FIELD = (
    r"(?:(?:patient|student|full|first|last|middle|maiden|given|family|legal|preferred|child'?s?|pupil|client|resident|"
    r"member|subscriber|insured|parent|guardian|mother'?s?|father'?s?|emergency contact|contact|provider|physician|"
    r"attending|referring|teacher|employee|applicant|user|account holder|cardholder|spouse|next of kin|beneficiary|"
    r"customer|participant|signer|policy ?holder)?[ _-]?names?|patient|pt|student|pupil|mother|father|parent|guardian|"
    r"provider|physician|attending|surgeon|teacher|counsell?or|author|signed(?: by)?|dictated by|reviewed by|seen by|"
    r"attn|attention|emergency contact|next of kin|subscriber|insured|cc|from|to|pcp|nurse|witness|caregiver|recipient|"
    r"sender|respondent|interviewer|reporter|spouse|nok|guarantor|responsible party|cardholder|surname)"
)
#: Capitals that begin no name.
_NOT = (
    r"(?!(?:The|This|That|A|An|He|She|It|They|We|You|I|Is|Was|Has|Had|Have|Not|No|None|Unknown|Sir|Madam|All|Team|Whom|"
    r"Parents?|Students?|Patients?|Colleagues?|Customers?|Friends?|Department|Hospital|School|Dr|Mr|Mrs|Ms|Please|"
    r"Presents?|Denies|Reports?|States?|Admitted|Seen|Will|And|In|On|At|For|With|Date|Name|Number|Hiring|Everyone|From|To|By|Via|Room|Grade|Class|"
    r"Age|Sex|Gender|Phone|Email|Address|Status|Notes|Type)\b)"
)
_FORMS = (
    ("name-title", 0.9, rf"\b{_TITLE}\.?\s(?P<name>{_NOT}(?:(?:{PARTICLES}\s)?{_FULL}|{_LOUD}(?:\s{_LOUD})?))"),
    (
        "name-title-small",
        0.85,
        rf"(?<![\w.])(?:(?:mrs|mr|mx)\.?|(?:ms|dr|prof)\.)\s(?P<name>(?!(?:and|or|is|was|has|who|in|the|for|to|with|"
        rf"please)\b)(?:[{LOWER}]['’])?[{LOWER}]{{2,20}}(?:['’-][{LOWER}]+)?)",
    ),
    (
        "name-field",
        0.88,
        rf"(?i:(?<![A-Za-z])(?:{_FIELD}))[\"'*]{{0,2}}[ \t]{{0,16}}[:=|]\s?[ \t]{{0,24}}[\"'*|]{{0,3}}[ \t]{{0,16}}"
        rf"(?P<name>{_NOT}(?:{_LOUD},\s?{_LOUD}(?:\s{_LOUD})?|{_LOUD}\s{_LOUD}(?:\s{_LOUD})?|"
        rf"{_PART}(?:\s{_PART})?,\s{_FULL}|{_FULL}))",
    ),
    (
        "name-field-small",
        0.85,
        rf"(?i:(?<![A-Za-z])(?:patient|student|full|first|last|middle|given|family|pupil|client|parent|guardian|teacher|"
        rf"mother|father|provider|child)'?s?[ _-]?names?)[\"']?[ \t]{{0,8}}[:=][ \t]{{0,8}}[\"']?"
        rf"(?P<name>(?!(?:unknown|none|null|true|false|not|no|the|a|an)\b)"
        rf"[{LOWER}]{{2,20}}(?:[ '’-][{LOWER}]{{2,20}}){{0,3}})"
        r"(?=\s*(?:[\"',;|\n]|$))",
    ),
    (
        "name-mail",
        0.88,
        rf"(?<![\w-])(?P<name>{_NOT}(?:{_PART}(?:{_JOINT}\s{_PART}){{1,3}}|{_PART},\s{_PART}|{_LOUD},?\s(?:{_LOUD}|{_PART})))"
        r"[\"']?\s?[<(\[](?:mailto:)?[\w.+-]{1,64}@",
    ),
    (
        "name-greeting",
        0.85,
        rf"(?<!\w)(?:Dear|Hi|Hello|Hey|Sincerely,|[Rr]egards,|Best,|[Ww]ishes,|Thanks,|Yours,|[Tt]ruly,|Cheers,|Respectfully,|"
        rf"c/o|/s/)\s{{1,4}}(?P<name>{_NOT}{_FULL})",
    ),
    (
        "name-said",
        0.85,
        rf"\b(?i:my name is|name is|named|known as|i am|i'm|this is|signed by|spoke (?:with|to)|nicknamed|"
        rf"née)\s(?P<name>{_NOT}{_PART}(?:{_JOINT}\s{_PART}){{1,3}})",
    ),
    (
        "name-given",
        0.85,
        r"\b(?i:my (?:first |last |full |middle |family )?name is|(?:first |last |full |family |middle )?name\?|"
        r"(?:calls?|called|named) (?:me|him|her|them|it)|goes by|name was|name's|named|called)"
        rf"\s(?:only |just )?(?P<name>{_NOT}{_PART}(?:{_JOINT}\s{_PART}){{0,3}})",
    ),
    (
        "name-kin",
        0.85,
        rf"\b(?i:(?:his|her|their|my|the patient's|patient's|student's|our) (?:wife|husband|son|daughter|mother|"
        rf"father|brother|sister|mom|dad|partner|spouse|neighbou?r|aunt|uncle|cousin|grandson|granddaughter|"
        rf"grandmother|grandfather|teacher|friend|caregiver|guardian|roommate|fianc[ée]e?|niece|"
        rf"nephew)),?\s(?P<name>{_NOT}{_FULL})",
    ),
    (
        "name-degree",
        0.9,
        rf"(?<![\w-])(?P<name>{_NOT}{_PART}(?:{_JOINT}\s{_PART}){{1,3}}),?\s(?:M\.?D\.?|Ph\.?D\.?|R\.?N\.?|D\.?O\.?|"
        rf"N\.?P\.?|PA-C|LCSW|DDS|DMD|Esq\.?|Jr\.?|Sr\.?|FNP|MSN|DVM|PharmD|Psy\.?D\.?|Ed\.?D\.?|BSN|LPN|CRNA|MBBS|"
        rf"FACS)(?![\w])",
    ),
)


@cache
def _compiled() -> tuple[tuple[str, float, re.Pattern[str]], ...]:
    return tuple((name, score, re.compile(pattern)) for name, score, pattern in _FORMS)


def titled(text: str) -> Iterator[Span]:
    """Names that are announced."""
    fields = any(mark in text for mark in ":=|")
    for name, score, pattern in _compiled():
        if name == "name-field" and not fields:
            continue
        for match in pattern.finditer(text):
            yield Span(Kind.NAME, *match.span("name"), score, name)


@cache
def _between() -> re.Pattern[str]:
    return re.compile(rf"[ \u00a0]?-[ \u00a0]?|[ \u00a0](?:(?:{PARTICLES}|[{UPPER}]\.?)[ \u00a0]){{0,3}}")


def joined(text: str, spans: Sequence[Span]) -> Iterator[Span]:
    """`spans` of `text`, in order, where names with nothing between them but what joins the parts of one are one:
    `Louelle` and `Brandhof` of `Louelle van den Brandhof`.
    """
    last: Span | None = None
    for span in spans:
        if (
            last is not None
            and last.kind == span.kind == Kind.NAME
            and _between().fullmatch(text, last.end, span.start)
        ):
            last = replace(max(last, span, key=lambda each: each.score), start=last.start, end=span.end)
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last
