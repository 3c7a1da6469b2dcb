"""What SCIM calls things. Names of attributes are the same in whatever case (RFC 7643 2.1)."""

from typing import Final

USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
LIST: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
PATCH: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
MEDIA_TYPE: Final = "application/scim+json"
BASE: Final = "/scim/v2"

#: Parts of a name, and of an address of e-mail, that are kept.
NAME_PARTS: Final = ("formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix")
EMAIL_PARTS: Final = ("value", "type", "primary", "display")
#: What is kept of a user and of a group; and what the service says itself, which is passed over where it is sent.
USER_KEPT: Final = ("userName", "externalId", "active", "displayName", "name", "emails")
GROUP_KEPT: Final = ("displayName", "externalId", "members")
READ_ONLY: Final = ("id", "meta", "schemas", "groups")
#: Known attributes that nothing here needs: directories send them unasked, and may; they are not kept.
PASSED_OVER: Final = (
    "nickName", "profileUrl", "title", "userType", "preferredLanguage", "locale", "timezone", "password",
    "phoneNumbers", "ims", "photos", "addresses", "entitlements", "roles", "x509Certificates", ENTERPRISE,
)  # fmt: skip

_CANONICAL: Final = {
    each.casefold(): each
    for each in (*USER_KEPT, *GROUP_KEPT, *READ_ONLY, *PASSED_OVER, *NAME_PARTS, *EMAIL_PARTS, "ref", "$ref")
}


def canonical(name: str) -> str:
    """An attribute's name as the specification writes it; what it does not know stays as it is."""
    return _CANONICAL.get(name.casefold(), name)


def without_schema(path: str) -> str:
    """A path without the schema before it: `urn:…:User:userName` is `userName`."""
    folded = path.casefold()
    for schema in (USER, GROUP):
        if folded.startswith(f"{schema.casefold()}:"):
            return path[len(schema) + 1 :]
    return path
