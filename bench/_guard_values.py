"""Invented values of every class, in the forms that people write them. Seeded; no value is anybody's on purpose."""

from collections.abc import Callable
from random import Random

_FIRST = (
    "James Mary Wei Fatima Carlos Aisha Liam Olga Hiroshi Priya Noah Ingrid Kwame Sofia Dmitri Leila Mateo Chloe Ahmed "
    "Yuki Grace Tomasz Amara Ethan Nadia Rohan Beatriz Sven Imani Lucas Mei Omar Hannah Diego Zara Patrick Anika Jamal "
    "Elena Viktor Rosa Kenji Abigail Tariq Marta Samuel Nguyet Caleb Ines Oluwaseun Freya Arjun Camila Yosef Bridget "
    "Malik Saoirse Pavel Linh Dolores Terrence Guadalupe Winifred Ezekiel Harriet Clarence Deborah Marcus Judith"
)
_LAST = (
    "Smith Johnson Garcia Nguyen Okafor Patel Müller Rossi Kowalski Tanaka Haddad O'Brien Fernandez Andersson Kim "
    "Abdullah Dubois Novak Silva Mbeki Larsson Chen Goldberg Petrov Hernandez McAllister Yilmaz Santos Ivanova Park "
    "Bauer Moreau Singh Castillo Washington Eriksen Wozniak Delgado Thompson Nakamura Hughes Fontaine Osei Bianchi "
    "Ramirez Schneider Whitfield Lindqvist Abernathy Vasquez Holloway Pemberton Strickland Montgomery Rasmussen Ogawa "
    "Beaumont Kirkpatrick Underwood Zielinski Adeyemi Featherstone Quintero Blackwood Halvorsen Costello Drummond"
)
TOWNS = (
    ("Boston", "MA", "021"), ("Madison", "WI", "537"), ("Fresno", "CA", "937"), ("Toledo", "OH", "436"),
    ("Savannah", "GA", "314"), ("Boise", "ID", "837"), ("Tulsa", "OK", "741"), ("Albany", "NY", "122"),
    ("Spokane", "WA", "992"), ("Omaha", "NE", "681"), ("Tucson", "AZ", "857"), ("Lansing", "MI", "489"),
    ("Raleigh", "NC", "276"), ("El Paso", "TX", "799"), ("Duluth", "MN", "558"), ("Augusta", "ME", "043"),
    ("Pueblo", "CO", "810"), ("Ketchum", "ID", "833"), ("Scranton", "PA", "185"), ("Burlington", "VT", "054"),
    ("Baton Rouge", "LA", "708"), ("Chattanooga", "TN", "374"), ("Cheyenne", "WY", "820"), ("Rapid City", "SD", "577"),
)  # fmt: skip
_STREETS = (
    "Oak Maple Washington Lincoln Main Cedar Highland Jefferson Sunset Mill Park Church Elm Franklin Willow Chestnut "
    "Prospect Magnolia Lakeview Harrison Bayview Old_Mill Martin_Luther_King Fox_Run Cherry_Hill Saint_Andrews"
)
_SUFFIXES = "Street St Avenue Ave Road Rd Boulevard Blvd Drive Dr Lane Ln Court Ct Place Terrace Way Circle Parkway"
_ORGANISATIONS = (
    "Mercy Ridge Hospital|Lakeside Elementary School|Northgate Medical Center|Redwood Health Partners|Acme Dental "
    "Group|"
    "St. Brendan's Clinic|Harbor View University|Blue Finch Insurance|Granite State Credit Union|Pioneer Middle School|"
    "Westbrook Pharmacy|Orchard Physical Therapy|Silver Creek Academy|Tri-County Ambulance|Beacon Behavioral Health"
)
_MONTHS = "January February March April May June July August September October November December"
FIRST, LAST, MONTHS, SUFFIXES = _FIRST.split(), _LAST.split(), _MONTHS.split(), _SUFFIXES.split()
STREETS = [each.replace("_", " ") for each in _STREETS.split()]
ORGANISATIONS = _ORGANISATIONS.split("|")

Make = Callable[[Random], str]


def n(r: Random, count: int) -> str:
    """So many digits, the first not 0."""
    return str(r.randint(10 ** (count - 1), 10**count - 1))


def letters(r: Random, count: int) -> str:
    return "".join(r.choice("ABCDEFGHJKLMNPRSTUVWXY") for _ in range(count))


def name(r: Random) -> str:
    first, last = r.choice(FIRST), r.choice(LAST)
    return r.choice((f"{first} {last}",) * 6 + (f"{first} {letters(r, 1)}. {last}", f"{last}, {first}", first, last))


def place(r: Random) -> str:
    return r.choice(TOWNS)[0]


def organisation(r: Random) -> str:
    return r.choice(ORGANISATIONS)


def street(r: Random) -> str:
    base = (
        f"{r.randint(1, 19999)} {r.choice(('', '', '', 'N ', 'South ', 'NW '))}{r.choice(STREETS)} {r.choice(SUFFIXES)}"
    )
    base = r.choice(
        (
            base,
            base,
            base,
            f"{r.randint(1, 999)} {r.choice(('5th', '42nd', '103rd', '21st'))} {r.choice(('Ave', 'Street', 'St'))}",
        )
    )
    unit = r.choice(("", "", "", f" Apt {r.randint(1, 40)}", f", Unit {r.randint(1, 40)}B", f" #{r.randint(1, 400)}"))
    return r.choice((base + unit,) * 8 + (f"P.O. Box {n(r, 4)}", f"PO Box {n(r, 3)}"))


def zip_code(r: Random) -> str:
    five = r.choice(TOWNS)[2] + f"{r.randint(0, 99):02}"
    return r.choice((five, five, five, f"{five}-{n(r, 4)}"))


def date(r: Random) -> str:
    y, m, d = r.randint(1931, 2026), r.randint(1, 12), r.randint(1, 28)
    month = MONTHS[m - 1]
    nth = f"{d}{'th' if 4 <= d <= 20 or d % 10 not in (1, 2, 3) else ('st', 'nd', 'rd')[d % 10 - 1]}"
    return r.choice(
        (
            f"{m:02}/{d:02}/{y}",
            f"{m}/{d}/{y}",
            f"{m}/{d}/{y % 100:02}",
            f"{y}-{m:02}-{d:02}",
            f"{month} {d}, {y}",
            f"{d} {month} {y}",
            f"{month[:3]} {d}, {y}",
            f"{month} {nth}, {y}",
            f"{d}-{month[:3]}-{y}",
            f"{month} {nth}",
            f"{d:02}.{m:02}.{y}",
            f"{m:02}-{d:02}-{y}",
            f"{month} {y}",
            f"{y}-{m:02}-{d:02}T08:15:00Z",
            f"{d} {month[:3]} {y}",
            f"the {nth} of {month}",
            f"{y}/{m:02}/{d:02}",
            f"{month} {d}",
        )
    )


def age(r: Random) -> str:
    years = r.randint(90, 109)
    return r.choice(
        (
            f"{years}-year-old",
            f"{years} years old",
            f"{years} y/o",
            f"{years} yo",
            f"{years}-yr-old",
            f"{years} years of age",
        )
    )


def phone(r: Random) -> str:
    a, b, c = r.randint(201, 989), r.randint(200, 999), f"{r.randint(0, 9999):04}"
    return r.choice(
        (
            f"({a}) {b}-{c}",
            f"{a}-{b}-{c}",
            f"{a}.{b}.{c}",
            f"{a} {b} {c}",
            f"+1 {a} {b} {c}",
            f"+1-{a}-{b}-{c}",
            f"1-{a}-{b}-{c}",
            f"({a}) {b}-{c} ext. {r.randint(10, 9999)}",
            f"+44 20 {n(r, 4)} {n(r, 4)}",
            f"+49 30 {n(r, 7)}",
            f"({a}){b}-{c}",
        )
    )


def email(r: Random) -> str:
    first, last = r.choice(FIRST).lower(), r.choice(LAST).lower().replace("'", "").replace("ü", "u")
    host = r.choice(
        ("example.org", "mail.example.com", "lakesideschool.example", "mercyridge.example.net", "example.co.uk")
    )
    return r.choice(
        (
            f"{first}.{last}@{host}",
            f"{first[0]}{last}@{host}",
            f"{first}_{last}{r.randint(1, 99)}@{host}",
            f"{first}+{n(r, 2)}@{host}",
        )
    )


def ssn(r: Random) -> str:
    a, b, c = r.choice((r.randint(1, 665), r.randint(667, 899))), r.randint(1, 99), r.randint(1, 9999)
    return r.choice((f"{a:03}-{b:02}-{c:04}",) * 3 + (f"{a:03} {b:02} {c:04}",))


def mrn(r: Random) -> str:
    return r.choice(
        (
            n(r, 7),
            f"00{n(r, 6)}",
            f"{letters(r, 1)}{n(r, 8)}",
            f"{n(r, 3)}-{n(r, 3)}-{n(r, 3)}",
            n(r, 10),
            f"MR{n(r, 6)}",
        )
    )


def member(r: Random) -> str:
    return r.choice(
        (
            f"{letters(r, 3)}{n(r, 9)}",
            f"W{n(r, 9)}",
            n(r, 10),
            f"{letters(r, 2)}-{n(r, 6)}-{r.randint(10, 99)}",
            f"{n(r, 9)}{letters(r, 1)}",
        )
    )


def account(r: Random) -> str:
    return r.choice((n(r, 10), f"{n(r, 4)}-{n(r, 6)}", n(r, 12), f"{n(r, 4)} {n(r, 4)} {n(r, 4)}", f"ACC-{n(r, 7)}"))


def card(r: Random) -> str:
    first = r.choice(("4", "51", "54", "6011")) + "".join(str(r.randint(0, 9)) for _ in range(14))
    body = first[:15]
    total = sum(sum(divmod(int(each) * (2 - place % 2), 10)) for place, each in enumerate(body))
    whole = body + str(-total % 10)
    return r.choice(
        (
            whole,
            " ".join(whole[at : at + 4] for at in range(0, 16, 4)),
            "-".join(whole[at : at + 4] for at in range(0, 16, 4)),
        )
    )


def licence(r: Random) -> str:
    return r.choice(
        (
            f"{letters(r, 1)}{n(r, 7)}",
            f"{letters(r, 1)}{n(r, 3)}-{n(r, 4)}-{n(r, 4)}",
            n(r, 9),
            f"{letters(r, 2)}{n(r, 6)}",
            f"{letters(r, 1)}-{n(r, 6)}",
        )
    )


def vehicle(r: Random) -> str:
    return r.choice(
        (
            f"{r.randint(1, 9)}{letters(r, 3)}{n(r, 3)}",
            f"{letters(r, 3)} {n(r, 4)}",
            f"{letters(r, 3)}-{n(r, 3)}",
            f"{letters(r, 2)} {n(r, 5)}",
            f"{letters(r, 2)}{n(r, 2)} {letters(r, 3)}",
        )
    )


def device(r: Random) -> str:
    return r.choice(
        (
            f"SN{n(r, 8)}",
            f"{letters(r, 2)}-{n(r, 4)}-{letters(r, 1)}{n(r, 2)}",
            f"{letters(r, 3)}{n(r, 6)}{letters(r, 1)}",
            n(r, 9),
            f"{n(r, 4)}/{n(r, 5)}",
        )
    )


def url(r: Random) -> str:
    who = r.choice(LAST).lower().replace("'", "").replace("ü", "u")
    return r.choice(
        (
            f"https://portal.example.org/patients/{n(r, 6)}",
            f"http://www.{who}family.example.com/photos",
            f"www.{who}-clinic.com",
            f"https://lms.example.edu/u/{who}?view=grades&term=2",
            f"{who}.example.org/about",
            f"https://example.com/~{who}",
        )
    )


def ip(r: Random) -> str:
    four = ".".join(str(r.randint(1, 254)) for _ in range(4))
    six = ":".join(f"{r.randint(1, 65535):x}" for _ in range(8))
    return r.choice(
        (
            four,
            four,
            four,
            six,
            f"2001:db8::{r.randint(1, 65535):x}",
            f"fe80::{r.randint(1, 65535):x}:{r.randint(1, 65535):x}",
        )
    )


def student(r: Random) -> str:
    return r.choice(
        (
            n(r, 6),
            f"S{n(r, 7)}",
            f"S-{n(r, 5)}",
            f"{r.randint(2019, 2026)}{n(r, 4)}",
            n(r, 9),
            f"{letters(r, 2)}{n(r, 6)}",
        )
    )


def code(r: Random) -> str:
    return r.choice(
        (f"{letters(r, 2)}-{n(r, 6)}", n(r, 8), f"{letters(r, 1)}{r.randint(18, 26)}-{n(r, 5)}", f"{n(r, 4)}-{n(r, 4)}")
    )


VALUES: dict[str, Make] = {
    "name": name, "place": place, "organisation": organisation, "street": street, "zip": zip_code, "date": date,
    "age": age, "phone": phone, "fax": phone, "email": email, "ssn": ssn, "mrn": mrn, "member": member,
    "account": account, "card": card, "licence": licence, "vehicle": vehicle, "device": device, "url": url, "ip": ip,
    "student": student, "code": code,
}  # fmt: skip
