"""A software authenticator: makes real passkeys and real assertions, as a browser with one would hand them over."""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

Json = dict[str, Any]
_PRESENT, _VERIFIED, _ATTESTED = 0x01, 0x04, 0x40


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """Holds one passkey for each host. `verifies`: it checks its person. `counts`: it counts its uses."""

    origin: str
    verifies: bool = True
    present: bool = True
    counts: bool = True
    crossed: bool = False
    count: int = 0
    keys: dict[str, tuple[bytes, bytes, ec.EllipticCurvePrivateKey]] = field(default_factory=dict)

    def create(self, options: Json, **changes: Any) -> Json:
        """What `navigator.credentials.create` gives for these options. `changes`: `fmt`, `statement`, `rp_id`."""
        assert options["authenticatorSelection"]["residentKey"] == "required"
        assert options["authenticatorSelection"]["userVerification"] == "required"
        key, credential_id = ec.generate_private_key(ec.SECP256R1()), secrets.token_bytes(32)
        self.keys[options["rp"]["id"]] = (credential_id, unb64(options["user"]["id"]), key)
        point = key.public_key().public_numbers()
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32), -3: point.y.to_bytes(32)})
        attested = bytes(16) + len(credential_id).to_bytes(2) + credential_id + cose
        auth = self._data(changes.get("rp_id", options["rp"]["id"]), _ATTESTED) + attested
        made = {"fmt": changes.get("fmt", "none"), "attStmt": changes.get("statement", {}), "authData": auth}
        said = self._said("webauthn.create", options["challenge"])
        return self._answer(credential_id, {"clientDataJSON": b64(said), "attestationObject": b64(cbor2.dumps(made))})

    def get(self, options: Json, **changes: Any) -> Json:
        """What `navigator.credentials.get` gives. `changes`: `handle`, `key`."""
        assert options["userVerification"] == "required" and not options.get("allowCredentials")
        credential_id, handle, key = self.keys[options["rpId"]]
        auth, said = self._data(options["rpId"], 0), self._said("webauthn.get", options["challenge"])
        signature = changes.get("key", key).sign(auth + hashlib.sha256(said).digest(), ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": b64(said),
            "authenticatorData": b64(auth),
            "signature": b64(signature),
            "userHandle": b64(changes.get("handle", handle)),
        }
        return self._answer(credential_id, response)

    def _data(self, rp_id: str, flags: int) -> bytes:
        self.count += self.counts
        flags |= (_PRESENT if self.present else 0) | (_VERIFIED if self.verifies else 0)
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)

    def _said(self, kind: str, challenge: str) -> bytes:
        return json.dumps(
            {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": self.crossed}
        ).encode()

    @staticmethod
    def _answer(credential_id: bytes, response: Json) -> Json:
        name = b64(credential_id)
        return {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}
