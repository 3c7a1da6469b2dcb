"""People and groups as SCIM's resources."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from intramural.http.scim.names import BASE, GROUP, LIST, READ_ONLY, USER, canonical, without_schema
from intramural.services.provisioning import Provided, ProvidedGroup


@dataclass(frozen=True, slots=True)
class Shown:
    """Which attributes an answer has (RFC 7644 3.9), and how the service is called by whoever asks."""

    origin: str
    only: frozenset[str] = frozenset()
    but: frozenset[str] = frozenset()

    @classmethod
    def of(cls, origin: str, only: str, but: str) -> "Shown":
        return cls(origin, _names(only), _names(but))

    def has(self, name: str) -> bool:
        """Whether an attribute is to be in the answer."""
        return name not in self.but and (not self.only or name in self.only)

    def cut(self, resource: dict[str, Any]) -> dict[str, Any]:
        """The resource with what is wanted, and with what every answer has."""
        always = READ_ONLY[:3]
        return {name: value for name, value in resource.items() if name in always or self.has(name)}


def user(given: Provided, shown: Shown) -> dict[str, Any]:
    """A person. What is not known is left out."""
    person, link = given.person, given.link
    about: Mapping[str, Any] = {} if link is None else link.about
    groups = [
        {"value": group_id, "display": name, "$ref": f"{shown.origin}{BASE}/Groups/{group_id}", "type": "direct"}
        for group_id, name in given.groups
    ]
    resource = {
        "schemas": [USER],
        "id": person.id,
        "externalId": None if link is None else link.external_id,
        "userName": person.username,
        **about,
        "active": person.disabled_ms is None,
        "groups": groups or None,
        "meta": _meta("User", f"Users/{person.id}", shown, person.created_ms, link.changed_ms if link else 0),
    }
    return shown.cut({name: value for name, value in resource.items() if value is not None})


def group(given: ProvidedGroup, shown: Shown) -> dict[str, Any]:
    """A group of the directory's."""
    members = [
        {"value": each.person_id, "$ref": f"{shown.origin}{BASE}/Users/{each.person_id}", "type": "User"}
        for each in given.members
    ]
    resource = {
        "schemas": [GROUP],
        "id": given.group.id,
        "externalId": given.external_id,
        "displayName": given.group.name,
        "members": members or None,
        "meta": _meta("Group", f"Groups/{given.group.id}", shown, given.group.created_ms, 0),
    }
    return shown.cut({name: value for name, value in resource.items() if value is not None})


def listed(total: int, start: int, resources: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A ListResponse; `start` counts from 1."""
    return {
        "schemas": [LIST],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": len(resources),
        "Resources": list(resources),
    }


def all_of(given: Iterable[Any], shown: Shown, write: Callable[[Any, Shown], dict[str, Any]]) -> list[dict[str, Any]]:
    """Several resources."""
    return [write(each, shown) for each in given]


def _meta(kind: str, path: str, shown: Shown, created_ms: int, changed_ms: int) -> dict[str, str]:
    return {
        "resourceType": kind,
        "created": _time(created_ms),
        "lastModified": _time(max(created_ms, changed_ms)),
        "location": f"{shown.origin}{BASE}/{path}",
    }


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _names(text: str) -> frozenset[str]:
    """Attributes by their proper names; of `name.givenName` the whole `name`."""
    parts = (without_schema(each.strip()).partition(".")[0] for each in text.split(","))
    return frozenset(canonical(each) for each in parts if each)
