"""Whether a token is what it says: signature, issuer, audience, times. Pure, given keys and the time.

OpenID Connect Core 3.1.3.7 in its order; Back-Channel Logout 2.6. `joserfc` decodes and verifies with the one key that
was chosen here; it is never handed a set of keys, nor the choice of the algorithm.
"""

import base64
import binascii
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from intramural.access.oidc.keys import PublicKey, choose
from intramural.access.oidc.refusal import TokenRefused

Claims = Mapping[str, Any]

MAX_TOKEN_CHARS = 64 << 10
#: How far a provider's clock may be from ours.
LEEWAY_S = 60
#: A token that was made for the code of a moment ago is not older.
MAX_AGE_S = 600
_MAX_SUBJECT_CHARS = 255
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_ID_TYPES = (None, "jwt")
_LOGOUT_TYPES = (None, "jwt", "logout+jwt")


def check_id_token(
    token: str,
    keys: Sequence[PublicKey],
    *,
    issuer: str,
    client_id: str,
    algorithms: Collection[str],
    nonce: str,
    now_s: float,
) -> Claims:
    """The claims of an ID token in which everything is as it should be. Raises TokenRefused with the check's name."""
    claims = _verified(token, keys, algorithms, _ID_TYPES)
    _check_common(claims, issuer, client_id, now_s)
    _check_subject(claims)
    if claims.get("nonce") != nonce:
        raise TokenRefused("nonce", "The provider's token is not the answer to this sign-in.")
    return claims


def check_logout_token(
    token: str, keys: Sequence[PublicKey], *, issuer: str, client_id: str, algorithms: Collection[str], now_s: float
) -> Claims:
    """The claims of a logout token: `sub` or `sid` or both, and `jti`. Raises TokenRefused."""
    claims = _verified(token, keys, algorithms, _LOGOUT_TYPES)
    _check_common(claims, issuer, client_id, now_s)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(_LOGOUT_EVENT), dict):
        raise TokenRefused("events", "The token does not say that somebody signed out.")
    if "nonce" in claims:
        raise TokenRefused("nonce", "A token about signing in says nothing about signing out.")
    if "sub" in claims:
        _check_subject(claims)
    texts = [claims.get(name) for name in ("sub", "sid") if name in claims]
    if not texts or not all(isinstance(each, str) and 0 < len(each) <= _MAX_SUBJECT_CHARS for each in texts):
        raise TokenRefused("subject", "The token does not say who signed out.")
    if not isinstance(claims.get("jti"), str) or not 0 < len(claims["jti"]) <= _MAX_SUBJECT_CHARS:
        raise TokenRefused("jti", "The token has no name of its own.")
    return claims


def header_of(token: str, types: Collection[str | None] = _LOGOUT_TYPES) -> tuple[str, str | None]:
    """The algorithm and the key's name that a token's header states, unverified. Raises TokenRefused."""
    head, dot, rest = token.partition(".")
    if not dot or rest.count(".") != 1 or len(token) > MAX_TOKEN_CHARS or not token.isascii():
        raise TokenRefused("form", "What the provider sent is no signed token.")
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise TokenRefused("form", "What the provider sent is no signed token.") from None
    algorithm, key_id = (header.get("alg"), header.get("kid")) if isinstance(header, dict) else (None, None)
    if not isinstance(algorithm, str) or not isinstance(key_id, str | None):
        raise TokenRefused("form", "The header of the provider's token is not as it should be.")
    if "crit" in header:  # RFC 7515 4.1.11: what must be understood and is not; nothing is, here
        raise TokenRefused("crit", "The provider's token demands something that is not understood here.")
    if "jwk" in header or "jku" in header or "x5u" in header:
        raise TokenRefused("header_key", "The provider's token brings a key of its own.")
    kind = header.get("typ")
    if (kind.lower() if isinstance(kind, str) else kind) not in types:
        raise TokenRefused("type", "The provider's token is of another kind.")
    return algorithm, key_id


def _verified(token: str, keys: Sequence[PublicKey], algorithms: Collection[str], types: Collection[Any]) -> Claims:
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jws import JWSRegistry

    algorithm, key_id = header_of(token, types)
    if algorithm not in algorithms:
        raise TokenRefused("algorithm", "The provider's token is signed in a way that is not allowed.")
    key = choose(keys, algorithm, key_id)
    if key is None:
        raise TokenRefused("key", "No key that the provider publishes is the one that this token names.")
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = 8192  # some put their certificates there, which nobody reads
    try:
        return jwt.decode(token, key.key, algorithms=[algorithm], registry=registry).claims
    except (JoseError, ValueError, RecursionError):
        raise TokenRefused("signature", "The signature of the provider's token is not right.") from None


def _check_common(claims: Claims, issuer: str, client_id: str, now_s: float) -> None:
    from joserfc.errors import ExpiredTokenError, JoseError
    from joserfc.jwt import JWTClaimsRegistry

    if claims.get("iss") != issuer:
        raise TokenRefused("issuer", "The token is another provider's.")
    _check_audience(claims, client_id)
    times = JWTClaimsRegistry(now=int(now_s), leeway=LEEWAY_S, exp={"essential": True}, iat={"essential": True})
    try:
        times.validate({name: claims[name] for name in ("exp", "iat", "nbf") if name in claims})
    except ExpiredTokenError:
        raise TokenRefused("expired", "The provider's token is not valid any more. Are both clocks right?") from None
    except JoseError as error:
        why = getattr(error, "claim", "times")
        raise TokenRefused(why, "The provider's token is not valid at this time. Are both clocks right?") from None
    if claims["iat"] < now_s - MAX_AGE_S - LEEWAY_S:
        raise TokenRefused("iat", "The provider's token is an old one.")


def _check_audience(claims: Claims, client_id: str) -> None:
    given = claims.get("aud")
    audience = [given] if isinstance(given, str) else given
    if not isinstance(audience, list) or client_id not in audience:
        raise TokenRefused("audience", "The provider's token is meant for somebody else.")
    party = claims.get("azp")
    if party != client_id and (party is not None or len(audience) > 1):
        raise TokenRefused("azp", "The provider's token was made for another party.")


def _check_subject(claims: Claims) -> None:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT_CHARS or not subject.isprintable():
        raise TokenRefused("subject", "The provider's token does not say whom it is about.")
