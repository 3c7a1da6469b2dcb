"""Reads JSON while it is still being written: sans-I/O, characters in, facts out.

`JsonText` follows one document and reports, as soon as each is certain: more of the string at a watched path, and
values that are complete. It trusts nothing: what is not JSON raises.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_DEPTH_LIMIT = 64
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


_LONE = re.compile("[\ud800-\udfff]")


def sendable(value: Any) -> str:
    """`value` as JSON text; a lone half of a surrogate pair becomes U+FFFD, for it cannot be sent."""
    return _LONE.sub("\ufffd", json.dumps(value, ensure_ascii=False))


class NotJson(ValueError):
    """The text is no JSON document."""


@dataclass(frozen=True, slots=True)
class MoreText:
    """More of the string under top-level member `member`."""

    member: str
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """A complete element of the array under top-level member `member`."""

    member: str
    value: Any


class JsonText:
    """Follows an object such as {"response": "…"} or {"tool_calls": [{…}, {…}]}, character by character."""

    def __init__(self) -> None:
        self.complete = False
        self._stack: list[str] = []
        self._member = ""
        self._string: list[str] | None = None
        self._escape = ""
        self._in_escape = False
        self._high = 0
        self._is_key = False
        self._expect_key = False
        self._item: list[str] | None = None

    def feed(self, text: str) -> Iterator[MoreText | Item]:
        """Facts in the next characters. Raises NotJson."""
        streamed: list[str] = []
        for char in text:
            if self._item is not None:
                self._item.append(char)
            if self._string is not None:
                done = self._in_string(char, streamed)
                if done and streamed:
                    yield MoreText(self._member, "".join(streamed))
                    streamed.clear()
            else:
                yield from self._outside(char)
        if streamed:
            yield MoreText(self._member, "".join(streamed))

    def _in_string(self, char: str, streamed: list[str]) -> bool:
        assert self._string is not None
        if self._in_escape:
            self._escape += char
            unescaped = self._unescaped()
            if unescaped is not None:
                self._in_escape = False
                self._take(unescaped, streamed)
            return False
        if char == "\\":
            self._in_escape, self._escape = True, ""
            return False
        if char != '"':
            self._take(char, streamed)
            return False
        if self._high:
            self._take("", streamed)
        if self._is_key:
            self._member = "".join(self._string) if len(self._stack) == 1 else self._member
        self._string = None
        return True

    def _unescaped(self) -> str | None:
        """The character the escape so far stands for; None while it is incomplete."""
        kind = self._escape[0]
        if kind == "u" and len(self._escape) < 5:
            return None
        if kind == "u":
            try:
                return chr(int(self._escape[1:], 16))
            except ValueError:
                raise NotJson("a wrong escape") from None
        if kind not in _ESCAPES:
            raise NotJson("a wrong escape")
        return _ESCAPES[kind]

    def _take(self, char: str, streamed: list[str]) -> None:
        """Add a decoded character, pairing surrogates; a lone one becomes U+FFFD, for it cannot be sent."""
        assert self._string is not None
        out = ""
        if self._high:
            if char and 0xDC00 <= ord(char) <= 0xDFFF:
                out = chr(0x10000 + ((self._high - 0xD800) << 10) + (ord(char) - 0xDC00))
                char = ""
            else:
                out = "\ufffd"
            self._high = 0
        if char and 0xD800 <= ord(char) <= 0xDBFF:
            self._high = ord(char)
        elif char and 0xDC00 <= ord(char) <= 0xDFFF:
            out += "\ufffd"
        else:
            out += char
        self._string.append(out)
        if not self._is_key and len(self._stack) == 1 and out:
            streamed.append(out)

    def _outside(self, char: str) -> Iterator[Item]:
        if char in " \t\r\n":
            return
        if self.complete:
            raise NotJson("more after the end")
        if not self._stack and char != "{":
            raise NotJson("not an object")
        if char == '"':
            self._string, self._is_key = [], self._expect_key
            self._expect_key = False
        elif char in "{[":
            self._open(char)
        elif char in "}]":
            yield from self._close(char)
        elif char == ",":
            self._expect_key = self._stack[-1] == "{"

    def _open(self, char: str) -> None:
        if self._stack == ["{", "["] and char == "{":
            self._item = [char]
        self._stack.append(char)
        self._expect_key = char == "{"
        if len(self._stack) > _DEPTH_LIMIT:
            raise NotJson("too deep")

    def _close(self, char: str) -> Iterator[Item]:
        if self._stack.pop() != {"}": "{", "]": "["}[char]:
            raise NotJson("brackets that do not match")
        self._expect_key = False
        if self._stack == ["{", "["] and self._item is not None:
            text, self._item = "".join(self._item), None
            try:
                yield Item(self._member, json.loads(text))
            except ValueError:
                raise NotJson("an element that is no JSON") from None
        self.complete = not self._stack
