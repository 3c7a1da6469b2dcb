"""What the service says of itself: what it can do, which resources there are, their attributes (RFC 7643 5 to 7)."""

from collections.abc import Sequence
from typing import Any

from intramural.http.scim.names import BASE, EMAIL_PARTS, GROUP, NAME_PARTS, USER

MAX_RESULTS = 200
_CONFIG = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
_TYPE = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Schema"


def config(origin: str) -> dict[str, Any]:
    """ServiceProviderConfig."""
    return {
        "schemas": [_CONFIG],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MAX_RESULTS},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": False},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer key",
                "description": "A key with the scope `provision`, in the Authorization header.",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{origin}{BASE}/ServiceProviderConfig"},
    }


def resource_types(origin: str) -> list[dict[str, Any]]:
    """Users and groups."""
    return [
        {
            "schemas": [_TYPE],
            "id": name,
            "name": name,
            "endpoint": f"/{name}s",
            "description": description,
            "schema": schema,
            "meta": {"resourceType": "ResourceType", "location": f"{origin}{BASE}/ResourceTypes/{name}"},
        }
        for name, schema, description in (
            ("User", USER, "People who may sign in."),
            ("Group", GROUP, "Groups of people that the directory keeps."),
        )
    ]


def schemas(origin: str) -> list[dict[str, Any]]:
    """The attributes that are kept; others may be sent and are passed over."""
    return [
        {
            "schemas": [_SCHEMA],
            "id": schema,
            "name": name,
            "description": description,
            "attributes": attributes,
            "meta": {"resourceType": "Schema", "location": f"{origin}{BASE}/Schemas/{schema}"},
        }
        for schema, name, description, attributes in (
            (USER, "User", "People who may sign in.", _user()),
            (GROUP, "Group", "Groups of people that the directory keeps.", _group()),
        )
    ]


def _user() -> list[dict[str, Any]]:
    return [
        _attribute("userName", "What they are called here, and sign in as.", required=True, uniqueness="server"),
        _attribute("name", "Their name, as the directory has it.", kind="complex", parts=_texts(NAME_PARTS)),
        _attribute("displayName", "Their name, as it is shown."),
        _attribute("emails", "Addresses; nothing is sent to them.", kind="complex", many=True, parts=_email()),
        _attribute("active", "Whether they may come in; true, unless said.", kind="boolean", required=True),
        _attribute(
            "groups", "Of the directory's groups, those they are in.", kind="complex", many=True, read_only=True,
            parts=[
                _attribute("value", "The group's identifier.", read_only=True),
                _attribute("$ref", "The group.", kind="reference", read_only=True, refers=["Group"]),
                _attribute("display", "The group's name.", read_only=True),
                _attribute("type", "Always `direct`.", read_only=True, values=["direct"]),
            ],
        ),
    ]  # fmt: skip


def _group() -> list[dict[str, Any]]:
    return [
        _attribute("displayName", "What it is called.", required=True),
        _attribute(
            "members", "The people in it.", kind="complex", many=True,
            parts=[
                _attribute("value", "The person's identifier.", once=True),
                _attribute("$ref", "The person.", kind="reference", once=True, refers=["User"]),
                _attribute("type", "Always `User`.", once=True, values=["User"]),
            ],
        ),
    ]  # fmt: skip


def _email() -> list[dict[str, Any]]:
    kinds = {"primary": "boolean"}
    return [_attribute(each, "Part of an address.", kind=kinds.get(each, "string")) for each in EMAIL_PARTS]


def _texts(names: Sequence[str]) -> list[dict[str, Any]]:
    return [_attribute(each, "Part of the name.") for each in names]


def _attribute(
    name: str,
    description: str,
    *,
    kind: str = "string",
    many: bool = False,
    required: bool = False,
    read_only: bool = False,
    once: bool = False,
    uniqueness: str = "none",
    parts: Sequence[dict[str, Any]] = (),
    refers: Sequence[str] = (),
    values: Sequence[str] = (),
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name,
        "type": kind,
        "multiValued": many,
        "description": description,
        "required": required,
        "mutability": "readOnly" if read_only else "immutable" if once else "readWrite",
        "returned": "default",
    }
    if kind in ("string", "reference"):
        found |= {"caseExact": kind == "reference", "uniqueness": uniqueness}
    if parts:
        found["subAttributes"] = list(parts)
    if refers:
        found["referenceTypes"] = list(refers)
    if values:
        found["canonicalValues"] = list(values)
    return found
