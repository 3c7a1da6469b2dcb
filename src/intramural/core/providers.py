"""Who else may say who somebody is: `sign-in.toml` in the data directory (or the file that `INTRAMURAL_SIGN_IN` names).

    [oidc.school]                                   # the name is in the addresses that the provider is told
    title = "Springfield Schools"                   # what the button says
    issuer = "https://id.school.example/realms/all" # exactly as its tokens say it
    client_id = "intramural"
    client_secret_file = "/etc/intramural/oidc.secret"
    join = "anyone"                                 # or "invited", which is the default
    [oidc.school.roles]                             # what the claim `groups` may hold, and the role that gives
    "it-staff" = "administrator"

    [ldap.hospital]
    address = "ldaps://ldap.hospital.example"       # or ldap://, which is encrypted before anything is said
    base = "ou=people,dc=hospital,dc=example"

docs/sign-in.md explains every setting. An unknown name or a wrong type is an error, never ignored.
"""

import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from intramural.core.actor import ROLES, Role
from intramural.core.errors import Misasked

FILE: Final = "sign-in.toml"
Join = Literal["anyone", "invited"]

#: Asymmetric ones only: a key that verifies must not be one that signs.
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "Ed25519", "EdDSA",
)  # fmt: skip
_DEFAULT_ALGORITHMS: Final = ("RS256", "ES256", "PS256", "EdDSA", "Ed25519")

_MAX_FILE_BYTES: Final = 256 << 10
_MAX_SECRET_BYTES: Final = 4096
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_PRINTED: Final = re.compile(r"[\x21-\x7e]{1,512}")
_HINT: Final = "See docs/sign-in.md."


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """One OpenID provider. `issuer` is compared to the letter; `hosts` may be contacted besides the issuer's own.

    `roles`: values of the claim `groups_claim` → our role; empty: roles are given here, not there. `groups`: the same
    for the names of groups here, `managers` for those that such people manage. `required`: of these values at least one
    is needed to come in. `strong` and `phishing_resistant` are values of `amr` or `acr` that count as a second factor,
    and as a passkey. Whoever the list or directory `external_id_source` knows by the value of `external_id_claim` is
    that person from their first sign-in on.
    """

    name: str
    title: str
    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    join: Join = "invited"
    hosts: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("openid", "profile")
    algorithms: tuple[str, ...] = _DEFAULT_ALGORITHMS
    username_claim: str = "preferred_username"
    groups_claim: str = "groups"
    roles: tuple[tuple[str, Role], ...] = ()
    groups: tuple[tuple[str, str], ...] = ()
    managers: tuple[tuple[str, str], ...] = ()
    required: tuple[str, ...] = ()
    external_id_claim: str = ""
    external_id_source: str = ""
    default_role: Role = "member"
    strong: tuple[str, ...] = ()
    phishing_resistant: tuple[str, ...] = ()
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class LdapDirectory:
    """One LDAP directory. `starts_tls`: the connection begins in clear and is encrypted before anything is said.

    People are entries of `object_class` below `base` whose `username_attribute` is what they type; `id_attribute` is
    what names one for ever. The rest as for a provider, with the values of `group_attribute` for its claim. With
    `group_base` groups are looked for as well: entries of `group_class` below it that hold the person in `group_member`
    (their name there, or with `memberUid` the name they type); what counts is `group_name`, and the entry's own name.
    """

    name: str
    title: str
    host: str
    port: int
    starts_tls: bool
    base: str
    bind_dn: str = ""
    bind_password: str | None = field(default=None, repr=False)
    object_class: str = "person"
    username_attribute: str = "uid"
    id_attribute: str = "entryUUID"
    group_attribute: str = "memberOf"
    roles: tuple[tuple[str, Role], ...] = ()
    group_base: str = ""
    group_class: str = "groupOfNames"
    group_member: str = "member"
    group_name: str = "cn"
    groups: tuple[tuple[str, str], ...] = ()
    managers: tuple[tuple[str, str], ...] = ()
    required: tuple[str, ...] = ()
    external_id_attribute: str = ""
    external_id_source: str = ""
    default_role: Role = "member"
    ca_file: Path | None = None

    @property
    def issuer(self) -> str:
        """Whose word it is: the directory's, wherever it runs."""
        return f"ldap:{self.base.lower()}"


@dataclass(frozen=True, slots=True)
class Providers:
    """Everybody that `sign-in.toml` names."""

    oidc: tuple[OidcProvider, ...] = ()
    ldap: tuple[LdapDirectory, ...] = ()


def read(file: Path, *, required: bool, allow_network: bool) -> Providers:
    """What `file` says; nobody if there is no such file and it is not `required`. Secrets are read now.

    Raises Misasked(`bad_provider`) with the setting at fault.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise Misasked("bad_provider", f"{file} is too long.", "Mend the file.")
        given = tomllib.loads(data.decode())
    except FileNotFoundError:
        if required:
            raise Misasked("bad_provider", f"{file} does not exist.", "Check INTRAMURAL_SIGN_IN.") from None
        return Providers()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misasked("bad_provider", f"{file} cannot be read: {error}.", "Mend the file.") from error
    return parse(given, str(file), allow_network=allow_network)


def parse(given: Mapping[str, Any], file: str, *, allow_network: bool) -> Providers:
    """The providers in a decoded file. Raises as `read`."""
    unknown = set(given) - {"oidc", "ldap"}
    if unknown:
        raise _wrong(f"{file}: {sorted(unknown)[0]}", "there is no such kind of provider")
    oidc = _tables(given.get("oidc", {}), f"{file}: [oidc]")
    found = tuple(_oidc(f"{file}: [oidc.{name}]", name, table, allow_network) for name, table in oidc.items())
    issuers = [each.issuer for each in found]
    if len(set(issuers)) < len(issuers):  # two clients of one issuer would be two names for one person
        raise _wrong(f"{file}: [oidc]", "two providers have the same issuer")
    ldap = _tables(given.get("ldap", {}), f"{file}: [ldap]")
    directories = tuple(_ldap(f"{file}: [ldap.{name}]", name, table, allow_network) for name, table in ldap.items())
    names = [each.name for each in found] + [each.name for each in directories]
    if len(set(names)) < len(names) or len({each.issuer for each in directories}) < len(directories):
        raise _wrong(f"{file}", "two of them have the same name or base")
    return Providers(found, directories)


_OIDC_FIELDS: Final[Mapping[str, Any]] = {
    "title": str, "issuer": str, "client_id": str, "client_secret_file": str, "join": str, "hosts": list,
    "scopes": list, "algorithms": list, "username_claim": str, "groups_claim": str, "roles": dict, "groups": dict,
    "managers": dict, "required": list, "default_role": str, "strong": list, "phishing_resistant": list, "ca_file": str,
    "external_id_claim": str, "external_id_source": str,
}  # fmt: skip


def _oidc(where: str, name: str, table: Any, allow_network: bool) -> OidcProvider:
    if not _NAME.fullmatch(name):
        raise _wrong(where, "a name is a-z, 0-9 and -, at most 32")
    given = _checked(where, table, _OIDC_FIELDS)
    for needed in ("issuer", "client_id"):
        if not _PRINTED.fullmatch(given.get(needed, "")):
            raise _wrong(where, f"`{needed}` is missing, or no text that it can be")
    algorithms = _strings(where, given, "algorithms") or _DEFAULT_ALGORITHMS
    for each in algorithms:
        if each not in ALGORITHMS:
            raise _wrong(where, f"{each!r} is no algorithm that may sign here; there are {', '.join(ALGORITHMS)}")
    return OidcProvider(
        name=name,
        title=_title(where, given.get("title", name)),
        issuer=_issuer(where, given["issuer"], allow_network=allow_network),
        client_id=given["client_id"],
        client_secret=_secret(where, "client_secret_file", given),
        join=_one_of(where, "join", given.get("join", "invited"), ("anyone", "invited")),
        hosts=_strings(where, given, "hosts"),
        scopes=tuple(dict.fromkeys(("openid", *(_strings(where, given, "scopes") or ("profile",))))),
        algorithms=algorithms,
        username_claim=given.get("username_claim", "preferred_username"),
        groups_claim=given.get("groups_claim", "groups"),
        roles=roles_from(where, given),
        groups=_pairs(where, given, "groups"),
        managers=_pairs(where, given, "managers"),
        required=_strings(where, given, "required"),
        **_external(where, given, "external_id_claim"),
        default_role=_one_of(where, "default_role", given.get("default_role", "member"), ROLES),
        strong=_strings(where, given, "strong"),
        phishing_resistant=_strings(where, given, "phishing_resistant"),
        ca_file=_file(where, "ca_file", given),
    )


_LDAP_FIELDS: Final[Mapping[str, Any]] = {
    "title": str, "address": str, "base": str, "bind_dn": str, "bind_password_file": str, "object_class": str,
    "username_attribute": str, "id_attribute": str, "group_attribute": str, "roles": dict, "groups": dict,
    "managers": dict, "required": list, "default_role": str, "ca_file": str, "group_base": str, "group_class": str,
    "group_member": str, "group_name": str, "external_id_attribute": str, "external_id_source": str,
}  # fmt: skip
#: Attributes and classes by setting, as they are called where nothing else is said.
_LDAP_NAMES: Final[Mapping[str, str]] = {
    "object_class": "person",
    "username_attribute": "uid",
    "id_attribute": "entryUUID",
    "group_attribute": "memberOf",
    "group_class": "groupOfNames",
    "group_member": "member",
    "group_name": "cn",
}
_ATTRIBUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_LDAP_PORTS: Final[Mapping[str, int]] = {"ldaps": 636, "ldap": 389}


def _ldap(where: str, name: str, table: Any, allow_network: bool) -> LdapDirectory:
    if not _NAME.fullmatch(name):
        raise _wrong(where, "a name is a-z, 0-9 and -, at most 32")
    given = _checked(where, table, _LDAP_FIELDS)
    scheme, host, port = _ldap_address(where, given.get("address", ""), allow_network=allow_network)
    if not given.get("base", "").strip():
        raise _wrong(where, "`base` is missing")
    attributes = {each: given.get(each, usual) for each, usual in _LDAP_NAMES.items()}
    if "external_id_attribute" in given:
        attributes["external_id_attribute"] = given["external_id_attribute"]
    external = _external(where, given, "external_id_attribute")
    for each, value in attributes.items():
        if not _ATTRIBUTE.fullmatch(value):
            raise _wrong(where, f"`{each}` is no name of an attribute")
    password = _secret(where, "bind_password_file", given)
    if bool(given.get("bind_dn")) != (password is not None):
        raise _wrong(where, "`bind_dn` and `bind_password_file` belong together")
    return LdapDirectory(
        name=name,
        title=_title(where, given.get("title", name)),
        host=host,
        port=port,
        starts_tls=scheme == "ldap",
        base=given["base"].strip(),
        bind_dn=given.get("bind_dn", ""),
        bind_password=password,
        roles=roles_from(where, given),
        group_base=given.get("group_base", "").strip(),
        groups=_pairs(where, given, "groups"),
        managers=_pairs(where, given, "managers"),
        required=_strings(where, given, "required"),
        default_role=_one_of(where, "default_role", given.get("default_role", "member"), ROLES),
        ca_file=_file(where, "ca_file", given),
        **(external | attributes),
    )


def _pairs(where: str, given: Mapping[str, Any], name: str) -> tuple[tuple[str, str], ...]:
    """A table of the provider's values and names of groups here."""
    pairs = given.get(name, {})
    if not all(isinstance(group, str) and group for group in pairs.values()):
        raise _wrong(where, f"`{name}` is a table of texts")
    return tuple(pairs.items())


def _external(where: str, given: Mapping[str, Any], claim: str) -> dict[str, str]:
    """Which value is what a list or a directory (SCIM) calls people, and which one that is."""
    found = {each: given.get(each, "") for each in (claim, "external_id_source")}
    if bool(found[claim]) != bool(found["external_id_source"]):
        raise _wrong(where, f"`{claim}` and `external_id_source` belong together")
    return found


def _ldap_address(where: str, address: str, *, allow_network: bool) -> tuple[str, str, int]:
    try:
        url = urlsplit(address)
        host, port = url.hostname or "", url.port
    except ValueError:
        host, port, url = "", None, urlsplit("")
    if not host or url.scheme not in _LDAP_PORTS or url.path not in ("", "/") or url.query or "@" in url.netloc:
        raise _wrong(where, f"{address!r} is no address", "Write ldaps://HOST or ldap://HOST (encrypted by StartTLS).")
    if not allow_network and host != "localhost" and not is_loopback(host):
        raise _wrong(where, "library.allow_network forbids to ask another machine", "Allow it, or take this out.")
    return url.scheme, host, port or _LDAP_PORTS[url.scheme]


def roles_from(where: str, given: Mapping[str, Any]) -> tuple[tuple[str, Role], ...]:
    """The table `roles`, those that may most first: who has two of the values gets the first."""
    roles: list[tuple[str, Role]] = [
        (value, _one_of(where, "roles", role, ROLES)) for value, role in given.get("roles", {}).items()
    ]
    return tuple(sorted(roles, key=lambda pair: ROLES.index(pair[1])))


def _issuer(where: str, issuer: str, *, allow_network: bool) -> str:
    try:
        url = urlsplit(issuer)
        host, _ = url.hostname or "", url.port
    except ValueError:
        host, url = "", urlsplit("")
    if not host or url.query or url.fragment or "@" in url.netloc or url.scheme not in ("https", "http"):
        raise _wrong(where, f"{issuer!r} is no issuer", "Write it as the provider's tokens have it: https://…")
    here = host == "localhost" or is_loopback(host)
    if url.scheme == "http" and not here:
        raise _wrong(where, "an issuer on another machine is asked by https only")
    if not allow_network and not here:
        raise _wrong(where, "library.allow_network forbids to ask another machine", "Allow it, or take this out.")
    return issuer


def is_loopback(host: str) -> bool:
    """Whether `host` is an address of this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _title(where: str, title: str) -> str:
    if not title.isprintable() or not 0 < len(title.strip()) <= 80:
        raise _wrong(where, "`title` is a line of at most 80 characters")
    return title.strip()


def _secret(where: str, name: str, given: Mapping[str, Any]) -> str | None:
    file = _file(where, name, given)
    if file is None:
        return None
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o077:
                hint = f"chmod 600 {file}, and let this service's user own it."
                raise _wrong(where, f"others could read or replace {file}", hint)
            text = opened.read(_MAX_SECRET_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(where, f"{file} cannot be read") from error
    if not text or not text.isprintable():  # never its text
        raise _wrong(where, f"what is in {file} is no secret")
    return text


def _tables(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "this is no table")
    return value


def _checked(where: str, table: Any, known: Mapping[str, Any]) -> Mapping[str, Any]:
    for key, value in _tables(table, where).items():
        if key not in known:
            raise _wrong(where, f"there is no setting {key!r}", "Known: " + ", ".join(sorted(known)) + ".")
        if type(value) is not known[key]:
            raise _wrong(where, f"`{key}` must be {known[key].__name__}")
    return table  # type: ignore[no-any-return]  # `_tables` has just said what it is


def _strings(where: str, given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = given.get(name, [])
    if not all(isinstance(each, str) and each for each in values):
        raise _wrong(where, f"`{name}` is a list of texts")
    return tuple(values)


def _one_of(where: str, name: str, value: Any, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise _wrong(where, f"`{name}` is {value!r}, not one of {', '.join(known)}")
    return value


def _file(where: str, name: str, given: Mapping[str, Any]) -> Path | None:
    if name not in given:
        return None
    path = Path(given[name])
    if not path.is_absolute() or not path.is_file():
        raise _wrong(where, f"`{name}` is not the full path of a file")
    return path


def _wrong(where: str, what: str, hint: str = _HINT) -> Misasked:
    return Misasked("bad_provider", f"{where}: {what}.", hint)
