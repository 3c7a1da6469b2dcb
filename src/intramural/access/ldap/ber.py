"""Basic Encoding Rules (X.690), as far as LDAP goes: definite lengths, tags of one octet. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

INTEGER, OCTETS, ENUMERATED, BOOLEAN, SEQUENCE, SET = 0x02, 0x04, 0x0A, 0x01, 0x30, 0x31
#: Octets of length after the first; 3 are 16 MB.
_MOST_LENGTH_OCTETS = 3


class BadBer(ValueError):
    """These bytes are not what they should be."""


@dataclass(frozen=True, slots=True)
class Value:
    """One element: its tag and its content."""

    tag: int
    content: bytes

    def parts(self) -> list["Value"]:
        """The elements within. Raises BadBer."""
        return list(_elements(self.content))

    def number(self) -> int:
        """An INTEGER or ENUMERATED of at most four octets. Raises BadBer."""
        if not 1 <= len(self.content) <= 4:
            raise BadBer("a number is too long")
        return int.from_bytes(self.content, "big", signed=True)


def element(tag: int, *parts: bytes) -> bytes:
    """One element of `parts`, encoded already."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(number: int, tag: int = INTEGER) -> bytes:
    """A number that is not negative."""
    return element(tag, number.to_bytes(number.bit_length() // 8 + 1))


def octets(text: str | bytes, tag: int = OCTETS) -> bytes:
    """Bytes, or a text as UTF-8."""
    return element(tag, text.encode() if isinstance(text, str) else text)


def head_size(start: bytes) -> tuple[int, int] | None:
    """How long the head of the element that begins so is, and its content; None while more bytes are needed.

    Raises BadBer for an indefinite or endless length.
    """
    if len(start) < 2:
        return None
    if start[1] < 0x80:
        return 2, start[1]
    count = start[1] & 0x7F
    if not 1 <= count <= _MOST_LENGTH_OCTETS:
        raise BadBer("a length that cannot be")
    return None if len(start) < 2 + count else (2 + count, int.from_bytes(start[2 : 2 + count]))


def read(data: bytes) -> Value:
    """The one element that `data` is. Raises BadBer."""
    found = list(_elements(data))
    if len(found) != 1:
        raise BadBer("not one element")
    return found[0]


def _elements(data: bytes) -> Iterator[Value]:
    while data:
        sizes = head_size(data)
        if sizes is None or len(data) < sum(sizes):
            raise BadBer("an element ends too early")
        end = sum(sizes)
        yield Value(data[0], data[sizes[0] : end])
        data = data[end:]
