"""Check digits: what tells a number of a kind from a number. Pure; each takes the value as it was written."""

import ipaddress
import re

_DIGIT = re.compile(r"\d")


def has_digit(text: str) -> bool:
    """Whether there is a digit at all: where there is none, most rules need not look."""
    return _DIGIT.search(text) is not None


def digits(text: str) -> str:
    """Only its digits."""
    return "".join(each for each in text if "0" <= each <= "9")


def luhn(text: str) -> bool:
    """Payment cards, IMEI, NPI (ISO/IEC 7812-1)."""
    total = 0
    for place, each in enumerate(reversed(digits(text))):
        number = int(each) * (1 + place % 2)
        total += number - 9 * (number > 9)
    return total % 10 == 0


def iban(text: str) -> bool:
    """ISO 13616: the rearranged number leaves 1 when divided by 97."""
    plain = "".join(text.split()).upper()
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(each, 36)) for each in plain[4:] + plain[:4])) % 97 == 1


def card(text: str) -> bool:
    """A payment card: 13 to 19 digits, a first digit in use, Luhn, and not one digit over and over."""
    plain = digits(text)
    return 13 <= len(plain) <= 19 and plain[0] in "23456" and len(set(plain)) > 1 and luhn(plain)


def npi(text: str) -> bool:
    """A provider's identifier: Luhn with 80840 before it."""
    return luhn("80840" + digits(text))


def dea(text: str) -> bool:
    """A prescriber's registration: two letters, six digits and their check digit."""
    plain = [int(each) for each in digits(text)]
    odd, even = plain[0] + plain[2] + plain[4], plain[1] + plain[3] + plain[5]
    return (odd + 2 * even) % 10 == plain[6]


_VIN = dict(
    zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9), strict=True)
)
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def vin(text: str) -> bool:
    """A North American vehicle identification number (49 CFR 565.15)."""
    values = (int(each) if each.isdigit() else _VIN[each] for each in text)
    rest = sum(value * weight for value, weight in zip(values, _VIN_WEIGHTS, strict=True)) % 11
    return text[8] == ("X" if rest == 10 else str(rest))


def address(text: str) -> bool:
    """An IPv4 or IPv6 address, also with its prefix length."""
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return True
