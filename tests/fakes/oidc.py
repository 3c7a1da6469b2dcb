"""An OpenID provider: discovery, keys, the code flow with PKCE, signed tokens. It does as the specifications say until
a knob makes it lie; what it answers goes through `tests.fakes.web.serving`, over TLS."""

import base64
import functools
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from tests.fakes.web import Reply, Request

Json = dict[str, Any]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@functools.cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Always the same one for a name: making them is slow."""
    return rsa.generate_private_key(65537, bits)


@functools.cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def jwk(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str | None, **more: Any) -> Json:
    """The public part as RFC 7517 has it."""
    named = {} if kid is None else {"kid": kid}
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        size = (numbers.n.bit_length() + 7) // 8
        return {"kty": "RSA", "n": b64(numbers.n.to_bytes(size)), "e": b64(numbers.e.to_bytes(3)), **named, **more}
    point = key.public_key().public_numbers()
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": b64(point.x.to_bytes(32)),
        "y": b64(point.y.to_bytes(32)),
        **named,
        **more,
    }


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign(header: Json, claims: Json | bytes, key: Any) -> str:
    """A compact JWS, made by hand so that nothing keeps it from being wrong. `key`: a private key, bytes for HMAC, or
    None for no signature."""
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    signed = f"{b64(json.dumps(header).encode())}.{b64(body)}"
    return f"{signed}.{b64(_signature(signed.encode(), key))}"


def _signature(data: bytes, key: Any) -> bytes:
    if key is None:
        return b""
    if isinstance(key, bytes):
        mac = hmac.HMAC(key, hashes.SHA256())
        mac.update(data)
        return mac.finalize()
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


@dataclass
class Idp:
    """`respond` for `tests.fakes.web.serving`; say `issuer` as soon as its address is known.

    `person`: claims of whoever signs in. `make`: makes the ID token out of honest claims. `metadata` and `keys` replace
    parts of what is published. `down`: it answers nothing but 503. `says`: what the token endpoint answers instead.
    """

    issuer: str = ""
    client_id: str = "intramural"
    client_secret: str | None = "a secret of the client's"
    person: Json = field(default_factory=lambda: {"sub": "s-1", "preferred_username": "ada"})
    make: Callable[[Json], str] | None = None
    metadata: Json = field(default_factory=dict)
    keys: list[Json] = field(default_factory=lambda: [jwk(rsa_key("one"), "one")])
    down: bool = False
    says: Reply | None = None
    codes: dict[str, Json] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        self.asked.append(request.path)
        if self.down:
            return Reply(503)
        path = request.path.removeprefix(urlsplit(self.issuer).path)
        if path == "/.well-known/openid-configuration":
            return self.json({
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "authorization_response_iss_parameter_supported": True,
                **self.metadata,
            })  # fmt: skip
        if path == "/keys":
            return self.json({"keys": self.keys})
        if path == "/token" and request.method == "POST":
            return self.says or self.token(request)
        if path == "/authorize":
            back = self.authorize(dict(parse_qsl(request.query)))
            return Reply(302, {"Location": back})
        return Reply(404)

    def authorize(self, query: dict[str, str]) -> str:
        """Whoever comes signs in: the address they are sent back to."""
        assert query["response_type"] == "code" and query["client_id"] == self.client_id
        assert query["code_challenge_method"] == "S256" and "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        back = {"code": code, "state": query["state"], "iss": self.issuer}
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def token(self, request: Request) -> Reply:
        form = dict(parse_qsl(request.body.decode()))
        expected = b64encode(f"{self.client_id}:{self.client_secret}".replace(" ", "%20").replace("'", "%27"))
        if self.client_secret is not None and request.headers.get("authorization") != f"Basic {expected}":
            return self.json({"error": "invalid_client"}, 401)
        begun = self.codes.pop(form.get("code", ""), None)  # a code works once
        if begun is None or begun["redirect_uri"] != form.get("redirect_uri"):
            return self.json({"error": "invalid_grant"}, 400)
        challenge = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if challenge != begun["code_challenge"] or form.get("grant_type") != "authorization_code":
            return self.json({"error": "invalid_grant"}, 400)
        claims = self.claims(nonce=begun["nonce"])
        token = self.make(claims) if self.make else sign({"alg": "RS256", "kid": "one"}, claims, rsa_key("one"))
        return self.json({"access_token": "x", "token_type": "Bearer", "id_token": token})

    def claims(self, **more: Any) -> Json:
        now_s = int(time.time())
        return {"iss": self.issuer, "aud": self.client_id, "iat": now_s, "exp": now_s + 300, **self.person, **more}

    def logout_token(self, *, header: Json | None = None, **more: Any) -> str:
        """That somebody signed out; None takes a claim away."""
        event = {"http://schemas.openid.net/event/backchannel-logout": {}}
        claims = {**self.claims(), "events": event, "jti": secrets.token_hex(8), **more}
        kept = {name: value for name, value in claims.items() if value is not None}
        return sign({"alg": "RS256", "kid": "one", "typ": "logout+jwt", **(header or {})}, kept, rsa_key("one"))

    @staticmethod
    def json(value: Any, status: int = 200) -> Reply:
        return Reply(status, {"Content-Type": "application/json"}, json.dumps(value).encode())


def b64encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
