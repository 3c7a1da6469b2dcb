"""Names that a word before them announces: a title, a field of a form, a greeting. All others need a model of the
language, so by themselves these rules find only a part, and the guard says so.
"""

import re
from collections.abc import Iterator
from functools import cache

from intramural.guard.classes import Kind
from intramural.guard.span import Span

_PART = (
    r"(?:(?:O['’]|Mc|Mac|D['’]|[A-ZÀ-Þ][a-zß-ÿ]{1,3}-)?[A-ZÀ-Þ][a-zß-ÿ'’]{1,20}(?:-[A-ZÀ-Þ][a-zß-ÿ]{1,20})?|[A-ZÀ-Þ]\.)"
)
_LOUD = r"[A-ZÀ-Þ][A-ZÀ-Þ'’-]{1,20}"
_JOINT = (
    r"(?:\s(?:van der|van den|von der|de la|de los|van|von|de|del|della|da|dos|di|du|la|le|el|al|bin|ibn|ter|ten))?"
)
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
    r"Presents?|Denies|Reports?|States?|Admitted|Seen|Will|And|In|On|At|For|With|Date|Name|Number|Hiring|Everyone)\b)"
)
_FORMS = (
    ("name-title", 0.9, rf"\b{_TITLE}\.?\s(?P<name>{_NOT}(?:{_FULL}|{_LOUD}(?:\s{_LOUD})?))"),
    (
        "name-field",
        0.88,
        rf"(?i:(?<![A-Za-z])(?:{_FIELD}))\s?[:=|]\s?[\"'*|"
        rf"]{{0,3}}\s?(?P<name>{_NOT}(?:{_LOUD},\s?{_LOUD}(?:\s{_LOUD})?|{_LOUD}\s{_LOUD}(?:\s{_LOUD})?|"
        rf"{_PART}(?:\s{_PART})?,\s{_FULL}|{_FULL}))",
    ),
    (
        "name-greeting",
        0.85,
        rf"\b(?:Dear|Hi|Hello|Hey|Sincerely,|Regards,|Best,|Thanks,|Yours,|Cheers,)\s{{1,3}}(?P<name>{_NOT}{_FULL})",
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
        r"calls? (?:me|him|her|them)|goes by|name was|name's|named|called)"
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
