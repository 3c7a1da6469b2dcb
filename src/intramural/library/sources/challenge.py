"""How a registry asks who is there: `WWW-Authenticate` (RFC 9110 11.6.1), and where its token is to be had. Pure.

The token is asked for with a scope of our own, `repository:NAME:pull`, whatever scope the registry would like: it can
then read one repository, and write none. Only a push asks for one that can write to that repository.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

from intramural.core.errors import Broken, Refused

_MAX_CHARACTERS: Final = 8192
_MAX_TOKEN: Final = 64 << 10
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
#: A scheme with its parameters, or one parameter more of it.
_SCHEME: Final = re.compile(rf"\s*,?\s*({_WORD})(?=\s+{_WORD}\s*=|\s*(?:,|$))")
_PARAMETER: Final = re.compile(rf'\s*,?\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))')
_SECRET: Final = re.compile(r"[\x21-\x7e]+")
_TELL: Final = "Tell whoever runs the registry."


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server wants: `scheme` in lower case (`bearer`, `basic`), its parameters by lower-case name."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def token_url(self, repository: str, registry_scheme: str, actions: str = "pull") -> str:
        """Where to get a token that may do `actions` with `repository`. Raises Broken(`registry_bad_challenge`).

        Raises Refused(`registry_bad_challenge`) where the token would travel without encryption.
        """
        realm = self.parameters.get("realm", "")
        parts = _split(realm)
        if parts is None:
            raise Broken("registry_bad_challenge", "The registry does not say where a token is to be had.", _TELL)
        if parts[0] == "http" and registry_scheme != "http":
            raise Refused("registry_bad_challenge", f"The registry has tokens sent unencrypted by {parts[1]}.", _TELL)
        asked = {"scope": f"repository:{repository}:{actions}"}
        if service := self.parameters.get("service"):
            asked = {"service": service, **asked}
        return f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges in a `WWW-Authenticate` (or several, joined by commas); what makes no sense is left out."""
    text, at, found = header[:_MAX_CHARACTERS], 0, list[Challenge]()
    while match := _SCHEME.match(text, at):
        scheme, at, parameters = match[1].lower(), match.end(), dict[str, str]()
        while pair := _PARAMETER.match(text, at):
            quoted = re.sub(r"\\(.)", r"\1", pair[2]) if pair[2] is not None else pair[3]
            parameters.setdefault(pair[1].lower(), quoted)
            at = pair.end()
        found.append(Challenge(scheme, parameters))
    return found


def best(challenges: list[Challenge]) -> Challenge | None:
    """The one to answer: a token rather than a password; None if none is known here."""
    return next((each for wanted in ("bearer", "basic") for each in challenges if each.scheme == wanted), None)


def token_of(answer: object) -> str:
    """The token in what a token server answered (`token`, or `access_token` as OAuth 2.0 calls it).

    Raises Broken(`registry_bad_token`).
    """
    given = answer if isinstance(answer, dict) else {}
    token = given.get("token") or given.get("access_token")
    if not isinstance(token, str) or len(token) > _MAX_TOKEN or not _SECRET.fullmatch(token):
        raise Broken("registry_bad_token", "The registry's token server sent no token.", _TELL)
    return token


def _split(url: str) -> tuple[str, str] | None:
    """(scheme, host) of an address to ask; None if it is none."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("https", "http") or not host or parts.fragment or not _SECRET.fullmatch(url):
        return None
    return parts.scheme, host
