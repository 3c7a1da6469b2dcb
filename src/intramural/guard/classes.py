"""What can be found: one word a class, and which of the identifiers of 45 CFR 164.514(b)(2)(i) it belongs to.

Two of these are not text and are not looked for: (P) biometrics and (Q) photographs. A picture is the class `image`,
which is never looked into: policy can only let it through, mention it or refuse it.
"""

from enum import StrEnum


class Kind(StrEnum):
    """The value is the word in settings, answers, the log and the numbers; `letter` is the rule's; `label` is shown."""

    letter: str
    label: str

    def __new__(cls, name: str, letter: str = "", label: str = "") -> "Kind":
        member = str.__new__(cls, name)
        member._value_ = name
        member.letter = letter
        member.label = label
        return member

    NAME = "name", "A", "person's name"
    PLACE = "place", "B", "place"
    ORGANISATION = "organisation", "B", "organisation"
    STREET = "street", "B", "street address"
    ZIP = "zip", "B", "postal code"
    DATE = "date", "C", "date"
    AGE = "age", "C", "age over 89"
    PHONE = "phone", "D", "telephone number"
    FAX = "fax", "E", "fax number"
    EMAIL = "email", "F", "e-mail address"
    SSN = "ssn", "G", "social security number"
    MRN = "mrn", "H", "medical record number"
    MEMBER = "member", "I", "health plan or member number"
    ACCOUNT = "account", "J", "account number"
    CARD = "card", "J", "card number"
    LICENCE = "licence", "K", "licence or certificate number"
    VEHICLE = "vehicle", "L", "vehicle or plate number"
    DEVICE = "device", "M", "device number"
    URL = "url", "N", "web address"
    IP = "ip", "O", "network address"
    STUDENT = "student", "R", "student number"
    CODE = "code", "R", "other identifying number"
    IMAGE = "image", "Q", "picture (not looked into)"


#: What a model of the language has to look for: names are not a matter of form.
NAMED: frozenset[Kind] = frozenset({Kind.NAME, Kind.PLACE, Kind.ORGANISATION})
#: What rules look for.
STRUCTURED: frozenset[Kind] = frozenset(Kind) - NAMED - {Kind.IMAGE}
