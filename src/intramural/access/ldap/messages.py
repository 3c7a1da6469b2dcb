"""LDAP's messages (RFC 4511 4): those that are sent, and those that are read. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intramural.access.ldap import ber
from intramural.access.ldap.ber import BadBer, Value, element, integer, octets

SUCCESS, INVALID_CREDENTIALS = 0, 49
ENTRY, DONE, REFERENCE, BOUND, EXTENDED = 0x64, 0x65, 0x73, 0x61, 0x78
_START_TLS = "1.3.6.1.4.1.1466.20037"
_WHOLE_SUBTREE, _NEVER_DEREFERENCE = 2, 0


@dataclass(frozen=True, slots=True)
class Result:
    """How an operation ended: 0 is success; `kind` is the answer's tag."""

    kind: int
    code: int


@dataclass(frozen=True, slots=True)
class Found:
    """One entry: its distinguished name, and its attributes' values by lower-case name."""

    name: str
    attributes: Mapping[str, Sequence[bytes]]

    def texts(self, attribute: str) -> tuple[str, ...]:
        """Values that are text."""
        found = []
        for value in self.attributes.get(attribute.lower(), ()):
            try:
                found.append(value.decode())
            except UnicodeDecodeError:
                continue
        return tuple(found)

    def identifier(self, attribute: str) -> str:
        """The one value of an attribute that names the entry for ever: as text, or in hexadecimal where it is not."""
        values = self.attributes.get(attribute.lower(), ())
        if len(values) != 1 or not 0 < len(values[0]) <= 128:
            return ""
        text = values[0].decode("ascii", errors="replace")
        return text if text.isascii() and text.isprintable() else values[0].hex()


def bind(number: int, name: str, password: str) -> bytes:
    """Who we are. Raises ValueError for an empty password: that would be a bind as nobody, which succeeds."""
    if not password:
        raise ValueError("a bind without a password proves nothing")
    return _message(number, element(0x60, integer(3), octets(name), octets(password, 0x80)))


def search(number: int, base: str, matches: Mapping[str, str], attributes: Sequence[str], most: int) -> bytes:
    """The entries below `base` that match each of `matches` exactly (attribute → value), at most `most` of them."""
    filters = [element(0xA3, octets(attribute), octets(value)) for attribute, value in matches.items()]
    return _message(
        number,
        element(
            0x63,
            octets(base),
            integer(_WHOLE_SUBTREE, ber.ENUMERATED),
            integer(_NEVER_DEREFERENCE, ber.ENUMERATED),
            integer(most),
            integer(5),
            element(ber.BOOLEAN, b"\0"),
            element(0xA0, *filters),
            element(ber.SEQUENCE, *(octets(each) for each in attributes)),
        ),
    )


def start_tls(number: int) -> bytes:
    """Encrypt from here on (RFC 4511 4.14)."""
    return _message(number, element(0x77, octets(_START_TLS, 0x80)))


def unbind(number: int) -> bytes:
    """Good-bye."""
    return _message(number, element(0x42))


def operation(message: bytes, number: int) -> Value:
    """What a message of the directory's says, if it answers our message `number`. Raises BadBer."""
    parts = ber.read(message).parts()
    if len(parts) < 2 or parts[0].tag != ber.INTEGER or parts[0].number() != number:
        raise BadBer("an answer to another question")
    return parts[1]


def result(said: Value) -> Result:
    """How it ended. Raises BadBer."""
    parts = said.parts()
    if not parts or parts[0].tag != ber.ENUMERATED:
        raise BadBer("no result")
    return Result(said.tag, parts[0].number())


def entry(said: Value) -> Found:
    """An entry that was found. Raises BadBer."""
    parts = said.parts()
    if len(parts) != 2:
        raise BadBer("no entry")
    attributes: dict[str, Sequence[bytes]] = {}
    for each in parts[1].parts():
        name, values = _pair(each)
        attributes[name.content.decode("ascii", errors="replace").lower()] = [v.content for v in values.parts()]
    try:
        return Found(parts[0].content.decode(), attributes)
    except UnicodeDecodeError as error:
        raise BadBer("a name that is no text") from error


def _pair(value: Value) -> tuple[Value, Value]:
    parts = value.parts()
    if len(parts) != 2:
        raise BadBer("no attribute")
    return parts[0], parts[1]


def _message(number: int, said: bytes) -> bytes:
    return element(ber.SEQUENCE, integer(number), said)
