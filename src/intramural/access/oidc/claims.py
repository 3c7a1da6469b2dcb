"""From a token's claims to somebody who wants to come in. Pure."""

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from intramural.core.actor import Role
from intramural.core.errors import Refused
from intramural.core.providers import OidcProvider

MAX_GROUPS = 1000
_MAX_GROUP_CHARS = 256


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody whom a provider or directory vouches for. `issuer` and `subject` together are who they are.

    `username`: what they may be called here, "" where the provider says nothing that could be a name. `role`: None
    where roles are not given there. `groups`: names of groups here, by the provider's mapping; `manages`: of those that
    they manage. `known_as`: a list or directory here, and what it calls them. `session`: what the provider calls its
    session, "" where it does not.
    """

    provider: str
    issuer: str
    subject: str
    username: str = ""
    role: Role | None = None
    first_role: Role = "member"
    groups: tuple[str, ...] = ()
    manages: tuple[str, ...] = ()
    known_as: tuple[str, str] | None = None
    strong: bool = False
    phishing_resistant: bool = False
    session: str = ""

    @property
    def spare_name(self) -> str:
        """A name for who has none, or one that is taken: says nothing and is always the same."""
        return "person-" + hashlib.sha256(f"{self.issuer}\n{self.subject}".encode()).hexdigest()[:10]


def arrival(provider: OidcProvider, claims: Mapping[str, Any]) -> Arrival:
    """Who comes, as `provider`'s settings read its claims. Raises Refused(`groups_not_told`, `not_admitted`)."""
    values = _values(claims, provider.groups_claim)
    uses = provider.roles or provider.required or provider.groups or provider.managers
    if values is None and uses and _told_elsewhere(claims, provider.groups_claim):
        raise groups_not_told(provider.title)
    held = frozenset(values or ())
    role = role_of(held, provider.roles, provider.default_role)
    admit(held, provider.required, provider.title)
    methods = _texts(claims.get("amr")) | _texts(claims.get("acr"))
    username = claims.get(provider.username_claim)
    session = claims.get("sid")
    phishing_resistant = not methods.isdisjoint(provider.phishing_resistant)
    return Arrival(
        provider=provider.name,
        issuer=provider.issuer,
        subject=claims["sub"],
        username=unicodedata.normalize("NFKC", username) if isinstance(username, str) else "",
        role=role,
        first_role=provider.default_role,
        groups=groups_of(held, provider.groups + provider.managers),
        manages=groups_of(held, provider.managers),
        known_as=known_as(claims.get(provider.external_id_claim), provider.external_id_source),
        strong=phishing_resistant or not methods.isdisjoint(provider.strong),
        phishing_resistant=phishing_resistant,
        session=session if isinstance(session, str) and len(session) <= _MAX_GROUP_CHARS else "",
    )


def role_of(held: frozenset[str], roles: tuple[tuple[str, Role], ...], default: Role) -> Role | None:
    """The first role that any of `held` gives; None where nothing there gives roles."""
    if not roles:
        return None
    return next((role for value, role in roles if value in held), default)


def groups_of(held: frozenset[str], groups: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Names of groups here, each once, sorted."""
    return tuple(sorted({group for value, group in groups if value in held}))


def known_as(value: object, source: str) -> tuple[str, str] | None:
    """What `source` calls somebody, where settings say that this value is that; None where it is no text."""
    if not source or not isinstance(value, str) or not 0 < len(value) <= _MAX_GROUP_CHARS:
        return None
    return source, value


def groups_not_told(title: str) -> Refused:
    """The error where somebody's groups are known there and not told here: nothing is guessed of them."""
    return Refused(
        "groups_not_told",
        f"{title} has more groups for you than it tells.",
        "An administrator there has to send fewer: those given to this application only.",
    )


def admit(held: frozenset[str], required: tuple[str, ...], title: str) -> None:
    """Raises Refused(`not_admitted`) where one of `required` is needed and none is held."""
    if required and held.isdisjoint(required):
        hint = "Ask an administrator which group you have to be in."
        raise Refused("not_admitted", f"{title} knows you, but not as one of those who may come in.", hint)


def _values(claims: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """The texts of a claim; `a.b` also finds b within a. None where there is no such claim."""
    found: Any = claims.get(name)
    if found is None and "." in name:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if found is None:
        return None
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list):
        return ()
    return tuple(each for each in listed[:MAX_GROUPS] if isinstance(each, str) and 0 < len(each) <= _MAX_GROUP_CHARS)


def _told_elsewhere(claims: Mapping[str, Any], name: str) -> bool:
    """Whether the provider says that the claim is to be fetched (OpenID Connect Core 5.6.2): it was too long."""
    names = claims.get("_claim_names")
    return isinstance(names, dict) and name in names


def _texts(value: Any) -> frozenset[str]:
    listed = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(each for each in listed if isinstance(each, str))
