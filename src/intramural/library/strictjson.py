"""Reads a JSON object strictly: UTF-8, no key twice, no NaN, nothing behind it, and where each of its keys stands.

Most readers of JSON take the last of two keys with one name, some the first: two programs would see two files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import msgspec

_SPACE = " \t\n\r"
#: Values in one file: bounds time and memory, for an empty list takes three bytes there and eighty here.
MAX_VALUES = 1_000_000


class BadJson(Exception):
    """Not such an object. `offset` is the byte where it stops being one, `field` the key there, if it is in one."""

    def __init__(self, what: Literal["utf8", "json", "duplicate"], why: str, offset: int, field: str | None) -> None:
        super().__init__(why)
        self.what, self.why, self.offset, self.field = what, why, offset, field


@dataclass(frozen=True, slots=True)
class Read:
    """An object, the byte at which each of its keys begins, and the byte behind it."""

    object: Mapping[str, Any]
    places: Mapping[str, int]
    end: int


class _TwiceError(ValueError):
    """A key is there twice."""


def read_object(raw: bytes, *, padding: str = _SPACE) -> Read:
    """The object that is all of `raw`, but for `padding` behind it. Work and memory are bounded.

    Raises BadJson.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJson("utf8", "It is not UTF-8.", error.start, None) from error
    if raw.count(b",") >= MAX_VALUES:
        raise BadJson("json", f"It has more than {MAX_VALUES} values.", 0, None)
    return _Walk(text, padding).read()


def require_object(raw: bytes) -> None:
    """Check that `raw` is a JSON object in UTF-8, for a file that is passed on unread: nothing is built of it.

    Keys that are there twice pass. Raises BadJson.
    """
    try:
        raw.decode("utf-8")
        found = msgspec.json.decode(raw, type=msgspec.Raw)
    except UnicodeDecodeError as error:
        raise BadJson("utf8", "It is not UTF-8.", error.start, None) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadJson("json", f"It is no JSON object ({error}).", 0, None) from error
    if bytes(found)[:1] != b"{":
        raise BadJson("json", "It is no JSON object.", 0, None)


def whole_characters(text: str) -> str:
    """`text` with a question mark for each half of a character: JSON can spell one, and UTF-8 cannot write it."""
    return text.encode("utf-8", "replace").decode("utf-8")


class _Walk:
    """One pass over the outermost object; each value in it is read by the standard library."""

    def __init__(self, text: str, padding: str) -> None:
        self._text, self._padding = text, padding
        self._ascii = text.isascii()
        self._decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
        self._found: dict[str, Any] = {}
        self._places: dict[str, int] = {}
        self._field: str | None = None
        self._at = 0

    def read(self) -> Read:
        self._expect("{")
        if self._next() == "}":
            self._at += 1
        else:
            self._pair()
            while self._next() == ",":
                self._at += 1
                self._pair()
            self._field = None
            self._expect("}")
        end = self._at
        if self._text[end:].strip(self._padding):
            self._bad("Something follows the object.")
        return Read(self._found, self._places, self._byte(end))

    def _pair(self) -> None:
        if self._next() != '"':
            self._bad("A key was expected.")
        place = self._at
        try:
            self._field, self._at = self._decoder.raw_decode(self._text, place)
            if self._field in self._found:
                raise BadJson("duplicate", "A key is there twice.", self._byte(place), self._field)
            self._places[self._field] = self._byte(place)
            self._expect(":")
            self._next()
            self._found[self._field], self._at = self._decoder.raw_decode(self._text, self._at)
        except _TwiceError as error:
            raise BadJson("duplicate", "A key is there twice.", self._byte(place), self._field) from error
        except json.JSONDecodeError as error:
            self._at = min(error.pos, len(self._text))
            self._bad(f"{error.msg}.")
        except (ValueError, RecursionError):  # a number of thousands of digits; NaN; nested too deep
            self._bad("A value makes no sense.")

    def _next(self) -> str:
        """The next character that is no space; empty at the end."""
        while (here := self._text[self._at : self._at + 1]) and here in _SPACE:
            self._at += 1
        return here

    def _expect(self, mark: str) -> None:
        if self._next() != mark:
            self._bad(f"{mark} was expected.")
        self._at += 1

    def _byte(self, at: int) -> int:
        return at if self._ascii else len(self._text[:at].encode())

    def _bad(self, why: str) -> NoReturn:
        raise BadJson("json", why, self._byte(self._at), self._field)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TwiceError
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
