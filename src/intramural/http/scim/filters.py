"""Filters, as far as they are understood: `userName eq "mia"`, several of them joined by `and` (RFC 7644 3.4.2.2)."""

import json
import re
from collections.abc import Collection
from typing import Any

from intramural.core.errors import Misasked
from intramural.http.scim.names import canonical, without_schema

MAX_CHARS = 1024
_CLAUSE = re.compile(
    r"\s*(?P<name>[A-Za-z$][\w$.:-]*)\s+(?P<op>[A-Za-z]{2})\s+(?P<value>\"(?:[^\"\\]|\\.)*\"|true|false|-?\d+|null)"
    r"\s*(?P<joined>and\b|$)",
    re.IGNORECASE,
)


def clauses(text: str, known: Collection[str]) -> dict[str, Any]:
    """Attribute → the value it must have. Raises Misasked(`bad_filter`) for whatever else a filter may be."""
    if len(text) > MAX_CHARS:
        raise _bad("it is too long")
    found: dict[str, Any] = {}
    at = 0
    while True:
        matched = _CLAUSE.match(text, at)
        if matched is None:
            raise _bad(f"it is not understood from {text[at : at + 40]!r} on")
        name = canonical(without_schema(matched["name"]))
        if matched["op"].casefold() != "eq":
            raise _bad(f"only `eq` is understood, not {matched['op']!r}")
        if name not in known:
            raise _bad(f"{name[:60]!r} cannot be looked for; {', '.join(sorted(known))} can")
        if name in found:
            raise _bad(f"{name!r} is in it twice")
        found[name] = _value(matched["value"])
        at = matched.end()
        if not matched["joined"]:
            return found


def _value(text: str) -> Any:
    try:
        return json.loads(text if text.startswith('"') else text.casefold())
    except ValueError:
        raise _bad("a value in it is no JSON") from None


def _bad(why: str) -> Misasked:
    return Misasked("bad_filter", f"The filter is refused: {why}.", 'As `userName eq "mia"`.', param="filter")
