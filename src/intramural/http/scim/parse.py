"""From a resource, as a directory sends it, to what is wanted of a person or a group. Lenient where directories are."""

from collections.abc import Mapping, Sequence
from typing import Any

from intramural.core.errors import Misasked
from intramural.http.scim.names import (
    EMAIL_PARTS,
    GROUP_KEPT,
    NAME_PARTS,
    USER_KEPT,
    canonical,
    without_schema,
)
from intramural.services.provisioning import Wanted

MAX_TEXT_CHARS = 256
MAX_EMAILS = 20
MAX_MEMBERS = 100_000


def kept(resource: Mapping[str, Any], attributes: Sequence[str]) -> dict[str, Any]:
    """Of a resource what is kept, under its proper names; null and an empty list are the same as nothing."""
    found = {canonical(without_schema(name)): value for name, value in resource.items()}
    return {name: found[name] for name in attributes if found.get(name) not in (None, [], {})}


def wanted(resource: Mapping[str, Any]) -> Wanted:
    """The person whom a whole resource describes. Raises Misasked(`bad_value`)."""
    given = kept(resource, USER_KEPT)
    about: dict[str, Any] = {}
    if "displayName" in given:
        about["displayName"] = text("displayName", given["displayName"])
    if "name" in given:
        about["name"] = _parts("name", given["name"], NAME_PARTS)
    if "emails" in given:
        about["emails"] = emails(given["emails"])
    return Wanted(
        username=text("userName", given.get("userName", "")),
        active=truth("active", given.get("active", True)),
        external_id=external_id(given),
        about=about,
    )


def wanted_group(resource: Mapping[str, Any]) -> tuple[str, str | None, frozenset[str]]:
    """A group's name, what the directory calls it, and its members. Raises Misasked(`bad_value`)."""
    given = kept(resource, GROUP_KEPT)
    return text("displayName", given.get("displayName", "")), external_id(given), members(given.get("members", []))


def external_id(given: Mapping[str, Any]) -> str | None:
    """What the directory calls it; None where it does not."""
    return None if "externalId" not in given else text("externalId", given["externalId"], most=200)


def members(value: Any) -> frozenset[str]:
    """The identifiers in a list of members: objects with a `value`. Raises Misasked(`bad_value`)."""
    listed = value if isinstance(value, list) else [value]
    if len(listed) > MAX_MEMBERS:
        raise _bad("members", "are too many")
    found = []
    for each in listed:
        one = {canonical(name): part for name, part in each.items()} if isinstance(each, dict) else {"value": each}
        found.append(text("members", one.get("value"), most=64))
    return frozenset(found)


def emails(value: Any) -> list[dict[str, Any]]:
    """Addresses of e-mail, as they are kept. Raises Misasked(`bad_value`)."""
    listed = value if isinstance(value, list) else [value]
    if len(listed) > MAX_EMAILS:
        raise _bad("emails", "are too many")
    return [_parts("emails", each if isinstance(each, dict) else {"value": each}, EMAIL_PARTS) for each in listed]


def truth(name: str, value: Any) -> bool:
    """True or false, also as the texts that Entra ID sends. Raises Misasked(`bad_value`)."""
    if isinstance(value, bool):
        return value
    folded = value.casefold() if isinstance(value, str) else ""
    if folded not in ("true", "false"):
        raise _bad(name, "is true or false")
    return folded == "true"


def text(name: str, value: Any, *, most: int = MAX_TEXT_CHARS) -> str:
    """A text without characters that play with whoever reads it. Raises Misasked(`bad_value`)."""
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
        raise _bad(name, f"is a text of 1 to {most} printable characters")
    return value


def _parts(name: str, value: Any, parts: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad(name, "is an object")
    given = {canonical(each): part for each, part in value.items()}
    found: dict[str, Any] = {}
    for each in parts:
        if given.get(each) in (None, ""):
            continue
        is_truth = each == "primary"
        found[each] = truth(f"{name}.{each}", given[each]) if is_truth else text(f"{name}.{each}", given[each])
    return found


def _bad(name: str, what: str) -> Misasked:
    return Misasked("bad_value", f"{name} {what}.", "Mend the value.", param=name)
