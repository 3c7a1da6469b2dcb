"""PATCH (RFC 7644 3.5.2), as Entra ID and Okta send it too: operations in any case, values without a path, truth values
as text, paths within values (`name.givenName`), filters in paths (`emails[type eq "work"].value`).
"""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from intramural.core.errors import Misasked
from intramural.http.scim import filters, parse
from intramural.http.scim.names import (
    EMAIL_PARTS,
    GROUP_KEPT,
    NAME_PARTS,
    PASSED_OVER,
    READ_ONLY,
    USER_KEPT,
    canonical,
    without_schema,
)
from intramural.services.provisioning import Membership

MAX_OPERATIONS = 1000
_PATH = re.compile(r"(?P<name>[A-Za-z$][\w$-]*)(?:\[(?P<filter>.{1,512})\])?(?:\.(?P<part>[A-Za-z$][\w$-]*))?")


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `path`: the attribute, which of its values (None: all), and the part of it; None: `value` is an
    object of attributes."""

    op: str
    path: tuple[str, dict[str, Any] | None, str] | None
    value: Any


def operations(body: Mapping[str, Any]) -> list[Operation]:
    """What a PATCH asks for, with objects of attributes taken apart.

    Raises Misasked(`bad_value`, `bad_path`, `bad_filter`).
    """
    given = {name.casefold(): value for name, value in body.items()}
    listed = given.get("operations")
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_OPERATIONS:
        message = f"A PATCH has 1 to {MAX_OPERATIONS} Operations."
        raise Misasked("bad_value", message, "Send a PatchOp.", param="Operations")
    found: list[Operation] = []
    for each in listed:
        if not isinstance(each, dict):
            raise Misasked("bad_value", "An operation is an object.", "Mend it.", param="Operations")
        one = {name.casefold(): value for name, value in each.items()}
        op = str(one.get("op", "")).casefold()
        if op not in ("add", "replace", "remove"):
            raise Misasked("bad_value", f"There is no operation {op[:40]!r}.", "add, replace or remove.", param="op")
        found += _taken_apart(op, one.get("path"), one.get("value"))
    return found


def _taken_apart(op: str, path: Any, value: Any) -> list[Operation]:
    if path not in (None, ""):
        return [Operation(op, parsed(str(path)), value)]
    if op == "remove":
        raise Misasked("no_target", "A remove names what goes.", "Send a path.", param="path")
    if not isinstance(value, dict):
        raise Misasked("bad_value", "Without a path the value is an object of attributes.", "Mend it.", param="value")
    return [Operation(op, parsed(name), part) for name, part in value.items()]


def parsed(path: str) -> tuple[str, dict[str, Any] | None, str]:
    """A path as attribute, filter and part. Raises Misasked(`bad_path`, `bad_filter`)."""
    whole = without_schema(path)
    if canonical(whole.partition(":")[0]).casefold() == "urn" or canonical(whole) in PASSED_OVER:
        return PASSED_OVER[-1], None, ""  # an extension's attribute: nothing here needs it
    matched = _PATH.fullmatch(whole)
    if matched is None:
        raise _bad_path(path)
    name, part = canonical(matched["name"]), canonical(matched["part"] or "")
    if matched["filter"] is None:
        return name, None, part
    known = ("value", "type", "primary", "display")
    return name, filters.clauses(matched["filter"], known), part


# users ----------------------------------------------------------------------------------------------------------------


def patched_user(resource: Mapping[str, Any], changes: Sequence[Operation]) -> dict[str, Any]:
    """A user's resource after `changes`, which `parse.wanted` reads.

    Raises Misasked(`bad_path`, `no_target`, `bad_value`).
    """
    found = deepcopy(parse.kept(resource, USER_KEPT))
    for each in changes:
        assert each.path is not None
        name, where, part = each.path
        if name in READ_ONLY or name in PASSED_OVER:
            continue
        if name not in USER_KEPT:
            raise _bad_path(name)
        if name == "emails":
            _patch_list(found, each)
        elif name == "name":
            _patch_name(found, each)
        elif where is not None or part:
            raise _bad_path(f"{name}.{part}")
        elif each.op == "remove" or each.value is None:
            if name in ("userName", "active"):
                raise Misasked("bad_value", f"{name} cannot be removed.", "Replace it.", param=name)
            found.pop(name, None)
        else:
            found[name] = each.value
    return found


def _patch_name(found: dict[str, Any], change: Operation) -> None:
    assert change.path is not None
    _, where, part = change.path
    if where is not None or (part and part not in NAME_PARTS):
        raise _bad_path(f"name.{part}")
    name = dict(found.get("name", {}))
    if not part:
        given = change.value if isinstance(change.value, dict) else {}
        name = {} if change.op == "remove" else name  # parts that are not sent stay (RFC 7644 3.5.2.3)
        name |= {canonical(each): value for each, value in given.items()}
    elif change.op == "remove":
        name.pop(part, None)
    else:
        name[part] = change.value
    found["name"] = name


def _patch_list(found: dict[str, Any], change: Operation) -> None:
    """Addresses: all of them, those that a filter says, or a part of these."""
    assert change.path is not None
    _, where, part = change.path
    if part and part not in EMAIL_PARTS:
        raise _bad_path(f"emails.{part}")
    there: list[dict[str, Any]] = [dict(each) for each in found.get("emails", [])]
    if where is None and not part:
        sent = [] if change.op == "remove" or change.value is None else parse.emails(change.value)
        kept = there if change.op == "add" else []
        found["emails"] = [each for each in kept if each not in sent] + sent
        return
    meant = [each for each in there if where is None or all(each.get(key) == value for key, value in where.items())]
    if change.op == "remove" and not part:
        found["emails"] = [each for each in there if each not in meant]
        return
    if not meant and change.op != "remove":  # what Entra ID means by it: there shall be one
        meant = [dict(where or {})]
        there += meant
    for each in meant:
        if change.op == "remove":
            each.pop(part, None)
        elif part:
            each[part] = change.value
        else:
            each |= parse.emails(change.value)[0]
    found["emails"] = [each for each in there if each]


# groups ---------------------------------------------------------------------------------------------------------------


def patched_group(resource: Mapping[str, Any], changes: Sequence[Operation]) -> tuple[dict[str, Any], Membership]:
    """A group's own attributes after `changes`, and what becomes of its members.

    Raises Misasked(`bad_path`, `no_target`, `bad_value`).
    """
    found, members = parse.kept(resource, GROUP_KEPT[:2]), Membership()
    for each in changes:
        assert each.path is not None
        name, where, part = each.path
        if name == "members":
            members = _patch_members(members, each.op, where, part, each.value)
        elif name in READ_ONLY or name in PASSED_OVER:
            continue
        elif name not in GROUP_KEPT or where is not None or part:
            raise _bad_path(name)
        elif each.op == "remove" or each.value is None:
            if name == "displayName":
                raise Misasked("bad_value", "displayName cannot be removed.", "Replace it.", param=name)
            found.pop(name, None)
        else:
            found[name] = each.value
    return found, members


def _patch_members(before: Membership, op: str, where: dict[str, Any] | None, part: str, value: Any) -> Membership:
    if part and part != "value":
        raise _bad_path(f"members.{part}")
    if where is not None:
        if set(where) != {"value"} or not isinstance(where["value"], str):
            raise Misasked("bad_filter", "Of members only `value eq` is understood.", "Name each by its value.")
        named: frozenset[str] | None = frozenset({where["value"]})
    else:
        named = None if value in (None, []) else parse.members(value)
    if op == "remove":  # without a value: all of them
        return Membership(frozenset()) if named is None else _step(before, fewer=named)
    if op == "replace" and where is None:
        return Membership(named or frozenset())
    return _step(before, more=named or frozenset())


def _step(before: Membership, more: frozenset[str] = frozenset(), fewer: frozenset[str] = frozenset()) -> Membership:
    """One more change after those before: the last word counts."""
    return Membership(before.only, (before.more | more) - fewer, (before.fewer - more) | fewer)


def _bad_path(path: str) -> Misasked:
    return Misasked("bad_path", f"There is no {path[:80]!r} to change.", "See /scim/v2/Schemas.", param="path")
