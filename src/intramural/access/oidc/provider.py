"""What a provider publishes about itself, fetched when it is needed and remembered for a while."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from intramural.access.oidc.keys import PublicKey, choose, read_keys
from intramural.access.oidc.refusal import TokenRefused
from intramural.access.oidc.tokens import header_of
from intramural.core.clock import Clock
from intramural.core.errors import Broken, IntramuralError, Unauthenticated
from intramural.core.providers import OidcProvider

#: What is published is asked for again after so long; keys also when a token names one that is not among them.
KEEP_S = 3600.0
#: But not more often than so: whoever sends tokens with names of keys must not make us ask without end.
LEAST_S = 30.0
_DISCOVERY = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Said:
    """A provider's answer: its status, and its body of bounded size."""

    status: int
    body: bytes


#: Asks the provider: (address, body to POST or None, value of Authorization or None). Raises an IntramuralError where
#: it cannot be reached, does not prove who it is, or may not be contacted.
Ask = Callable[[str, bytes | None, str | None], Awaitable[Said]]


@dataclass(frozen=True, slots=True)
class Metadata:
    """The part of the discovery document that is used (OpenID Connect Discovery 3)."""

    authorization: str
    token: str
    jwks: str
    says_issuer: bool
    methods: tuple[str, ...]


class Provider:
    """One provider: its settings, and what it says of itself."""

    def __init__(self, settings: OidcProvider, ask: Ask, clock: Clock) -> None:
        self.settings = settings
        self._ask = ask
        self._clock = clock
        self._asking = asyncio.Lock()
        self._metadata: Metadata | None = None
        self._keys: tuple[PublicKey, ...] = ()
        self._metadata_s = self._keys_s = -float("inf")
        self._failed: tuple[float, IntramuralError] | None = None

    async def metadata(self) -> Metadata:
        """What the provider says of itself. Raises Broken(`provider_bad_answer`) and what asking raises."""
        async with self._asking:
            now_s = self._clock.monotonic_s()
            if self._metadata is None or now_s - self._metadata_s >= KEEP_S:
                if self._failed is not None and now_s - self._failed[0] < LEAST_S:
                    raise self._failed[1]
                try:
                    document = await self._json(self.settings.issuer.rstrip("/") + _DISCOVERY)
                    self._metadata = read_metadata(self.settings, document)
                except IntramuralError as error:
                    self._failed = now_s, error
                    raise
                self._failed, self._metadata_s = None, now_s
            return self._metadata

    async def keys_for(self, token: str) -> Sequence[PublicKey]:
        """The keys that may verify `token`: asked for again where it names one that is not known yet."""
        algorithm, key_id = header_of(token)
        metadata = await self.metadata()
        async with self._asking:
            age_s = self._clock.monotonic_s() - self._keys_s
            known = choose(self._keys, algorithm, key_id) is not None
            if age_s >= KEEP_S or (not known and age_s >= LEAST_S):
                self._keys = read_keys(await self._json(metadata.jwks))
                self._keys_s = self._clock.monotonic_s()
            return self._keys

    async def redeem(self, code: str, verifier: str, redirect_uri: str) -> str:
        """The ID token that `code` is worth. Raises Unauthenticated(`code_refused`) where it is worth nothing (any
        more), Broken(`provider_bad_answer`)."""
        metadata, settings = await self.metadata(), self.settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": settings.client_id,
        }
        authorization = None
        if settings.client_secret is not None:
            if "client_secret_basic" in metadata.methods:
                authorization = _basic(settings.client_id, settings.client_secret)
            else:
                form["client_secret"] = settings.client_secret
        said = await self._ask(metadata.token, urlencode(form).encode(), authorization)
        answer = self._decoded(said.body)
        if said.status != 200:
            if answer.get("error") == "invalid_grant":
                message = f"{settings.title} does not accept its own code: it was used, or is too old."
                raise Unauthenticated("code_refused", message, "Begin again.")
            # A wrong secret, say: ours to mend, and the code for it (RFC 6749 5.2) is one of a few words.
            error = answer.get("error")
            shown = error if isinstance(error, str) and error.isidentifier() and len(error) < 64 else said.status
            raise self._bad(f"refuses to tell who signed in ({shown})")
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise TokenRefused("form", f"{settings.title} sent no token that says who signed in.")
        return token

    async def _json(self, url: str) -> Mapping[str, Any]:
        said = await self._ask(url, None, None)
        if said.status != 200:
            raise self._bad(f"answered with status {said.status}")
        return self._decoded(said.body)

    def _decoded(self, body: bytes) -> Mapping[str, Any]:
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._bad("did not answer with a JSON object")
        return found

    def _bad(self, what: str) -> Broken:
        return bad_answer(self.settings, what)


def bad_answer(settings: OidcProvider, what: str) -> Broken:
    """The provider does not do as it should."""
    hint = "An administrator has to compare sign-in.toml with the provider's settings."
    return Broken("provider_bad_answer", f"{settings.title} {what}.", hint)


def read_metadata(settings: OidcProvider, document: Mapping[str, Any]) -> Metadata:
    """The discovery document, if it is the issuer's own. Raises Broken(`provider_bad_answer`)."""
    if document.get("issuer") != settings.issuer:  # Discovery 4.3; else another issuer's keys would do
        raise bad_answer(settings, "says that it is another issuer")
    addresses = [document.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
    if not all(isinstance(each, str) and _is_address(settings, each) for each in addresses):
        raise bad_answer(settings, "does not say where to sign in, or where its keys are")
    challenges = document.get("code_challenge_methods_supported")
    if isinstance(challenges, list) and "S256" not in challenges:
        raise bad_answer(settings, "does not take PKCE with S256")
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    authorization, token, jwks = (str(each) for each in addresses)
    return Metadata(
        authorization,
        token,
        jwks,
        document.get("authorization_response_iss_parameter_supported") is True,
        tuple(each for each in methods if isinstance(each, str)) if isinstance(methods, list) else (),
    )


def _is_address(settings: OidcProvider, url: str) -> bool:
    secure = url.startswith("https://") or (url.startswith("http://") and settings.issuer.startswith("http://"))
    return secure and url.isascii() and url.isprintable() and " " not in url and "#" not in url and len(url) < 2048


def _basic(client_id: str, secret: str) -> str:
    """RFC 6749 2.3.1: both are form-encoded before they are joined."""
    import base64

    joined = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return "Basic " + base64.b64encode(joined.encode()).decode()
