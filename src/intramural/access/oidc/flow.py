"""One sign-in from its start to its end: what leaves with the browser, and what must come back.

What has to be remembered meanwhile travels in a cookie of the browser that began, sealed: a stranger can begin as often
as they like without costing this service memory, and an answer that another browser brings fits nothing.
"""

import asyncio
import base64
import hashlib
import importlib
import json
from dataclasses import dataclass
from urllib.parse import urlencode

from intramural.access.oidc.claims import Arrival, arrival
from intramural.access.oidc.provider import Provider
from intramural.access.oidc.tokens import check_id_token, check_logout_token
from intramural.access.once import Once
from intramural.access.seal import Seal
from intramural.access.secret import new_token, same
from intramural.core.clock import Clock
from intramural.core.errors import Misasked, Refused, Unauthenticated

#: How long a person may take to sign in there.
START_S = 600.0
_PURPOSE = "oidc:start"
_MAX_CODE_CHARS = 4096


@dataclass(frozen=True, slots=True)
class Going:
    """Where to send the browser, and what to give it to keep (at most `START_S`)."""

    url: str
    kept: str


@dataclass(frozen=True, slots=True)
class Came:
    """What the browser brought back: the query of the redirect, and what it was given to keep."""

    kept: str
    state: str
    code: str = ""
    issuer: str | None = None
    error: str = ""


class Flow:
    """Begins sign-ins and ends them. Made once: it remembers which answers were used."""

    def __init__(self, seal: Seal, clock: Clock) -> None:
        self._seal = seal
        self._clock = clock
        self._used = Once(2 * START_S)

    async def begin(self, provider: Provider, redirect_uri: str, invitation: str = "") -> Going:
        """Send somebody to `provider`, which sends them back to `redirect_uri`. Raises what asking it raises."""
        # 230 ms to import, for the way back: on a thread, while others are answered
        await asyncio.to_thread(importlib.import_module, "joserfc.jwt")
        metadata = await provider.metadata()
        state, nonce, verifier = (new_token(self._clock) for _ in range(3))
        kept = {
            "provider": provider.settings.name,
            "state": state,
            "nonce": nonce,
            "verifier": verifier,
            "redirect_uri": redirect_uri,
            "invitation": invitation,
            "began_s": self._clock.now_s(),
        }
        query = {
            "response_type": "code",
            "client_id": provider.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(provider.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in metadata.authorization else "?"
        return Going(metadata.authorization + joint + urlencode(query), self._seal.close(_PURPOSE, json.dumps(kept)))

    async def end(self, provider: Provider, came: Came) -> tuple[Arrival, str]:
        """Who signed in, and the invitation with which they began.

        Raises Unauthenticated(`sign_in_lost`, `sign_in_replayed`, `wrong_issuer`, `provider_refused`, `code_refused`,
        `id_token_refused`), Refused(`not_admitted`, `groups_not_told`) and what asking the provider raises.
        """
        settings = provider.settings
        kept = self._opened(came.kept)
        age_s = self._clock.now_s() - float(kept["began_s"])
        if kept["provider"] != settings.name or not 0 <= age_s < START_S:
            raise _lost()
        if not came.state or not same(kept["state"], came.state):
            raise _lost()
        self._use(f"state {came.state}")
        metadata = await provider.metadata()
        # RFC 9207: whose answer it is, so that one provider's code is never taken to another.
        if came.issuer != settings.issuer and (came.issuer is not None or metadata.says_issuer):
            raise Unauthenticated("wrong_issuer", "The answer is another provider's.", "Begin again.")
        if came.error or not 0 < len(came.code) <= _MAX_CODE_CHARS:
            message = f"{settings.title} did not let you in, or you left."
            raise Unauthenticated("provider_refused", message, "Begin again; ask whoever runs it if it persists.")
        token = await provider.redeem(came.code, kept["verifier"], kept["redirect_uri"])
        claims = check_id_token(
            token,
            await provider.keys_for(token),
            issuer=settings.issuer,
            client_id=settings.client_id,
            algorithms=settings.algorithms,
            nonce=kept["nonce"],
            now_s=self._clock.now_s(),
        )
        return arrival(settings, claims), kept["invitation"]

    async def left(self, provider: Provider, token: str) -> tuple[str | None, str | None]:
        """Who signed out there (subject, session; one of them may be None), as a logout token says.

        Raises Unauthenticated(`id_token_refused`, `sign_in_replayed`) and what asking the provider raises.
        """
        settings = provider.settings
        claims = check_logout_token(
            token,
            await provider.keys_for(token),
            issuer=settings.issuer,
            client_id=settings.client_id,
            algorithms=settings.algorithms,
            now_s=self._clock.now_s(),
        )
        self._use(f"logout {settings.name} {claims['jti']}")
        return claims.get("sub"), claims.get("sid")

    def _opened(self, kept: str) -> dict[str, str]:
        try:
            opened: dict[str, str] = json.loads(self._seal.open(_PURPOSE, kept))
        except Misasked:
            raise _lost() from None
        return opened

    def _use(self, name: str) -> None:
        """Raises Unauthenticated(`sign_in_replayed`) the second time."""
        if not self._used.use(name, self._clock.now_s()):
            raise Unauthenticated("sign_in_replayed", "This answer of the provider's was used before.", "Begin again.")


def _challenge(verifier: str) -> str:
    """RFC 7636 4.2, S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _lost() -> Unauthenticated:
    message = "This sign-in was not begun in this browser, or too long ago."
    return Unauthenticated("sign_in_lost", message, "Begin again, and allow this site's cookies.")


def must_be_set_up() -> Refused:
    """Nobody comes in from elsewhere before somebody here is responsible."""
    return Refused("not_set_up", "This service is not set up yet.", "Use the link printed at its start first.")
