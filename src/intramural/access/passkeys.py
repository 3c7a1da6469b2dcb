"""Passkeys (WebAuthn): made here for one person and one name of this service, found by themselves at sign-in.

The authenticator checks its person (a finger, a PIN) each time, so a passkey is two factors by itself. What an
authenticator is made by is neither asked nor believed. `webauthn` parses and verifies; what it must hold against, the
challenge above all, comes from here.
"""

import asyncio
import base64
import binascii
import importlib
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from intramural.access.once import Once
from intramural.access.people import Person
from intramural.access.seal import Seal
from intramural.core.clock import Clock
from intramural.core.errors import Conflicting, Misasked, Missing, Unauthenticated
from intramural.core.ids import new_id
from intramural.storage import Connection, Database
from intramural.storage import schema as t

#: How long a person may take to touch their authenticator.
CHALLENGE_S = 300.0
MAX_PASSKEYS = 20
MAX_NAME_CHARS = 60
_MAX_CREDENTIAL_CHARS = 64 << 10
_PURPOSE = "passkey:challenge"
_SERVICE = "intramural"
#: What a browser sends to who asks for no attestation; `packed` where the authenticator vouches for itself.
_FORMATS = ("none", "packed")


class PasskeyRefused(Unauthenticated):
    """An authenticator's answer failed a check; `why` names the check."""

    def __init__(self, why: str) -> None:
        hint = "Try again; if it persists, sign in otherwise and make a new passkey."
        super().__init__("passkey_refused", "That passkey does not open anything here.", hint)
        self.why = why


@dataclass(frozen=True, slots=True)
class Passkey:
    """One passkey. `host`: the name of this service under which it works."""

    id: str
    person_id: str
    host: str
    name: str
    created_ms: int
    last_used_ms: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the browser's `navigator.credentials` is asked (JSON of WebAuthn 3), and a ticket to bring back with it."""

    options: Mapping[str, Any]
    ticket: str


class Passkeys:
    """Every passkey. Changing methods work on the caller's open transaction."""

    def __init__(self, db: Database, clock: Clock, seal: Seal) -> None:
        self._db = db
        self._clock = clock
        self._seal = seal
        self._challenges = Once(2 * CHALLENGE_S)

    async def ready(self) -> None:
        """Before a transaction: `webauthn` takes 400 ms to import, on a thread, while others are answered."""
        await asyncio.to_thread(importlib.import_module, "webauthn")

    async def begin_adding(self, person: Person, origin: str) -> Asked:
        """Ask the browser for a new passkey of `person`. `origin`: of the page, `https://ai.example.org`.

        Raises Misasked(`passkeys_need_a_name`) where the page has only an address, Conflicting(`too_many_passkeys`).
        """
        await self.ready()
        from webauthn import generate_registration_options, options_to_json
        from webauthn.helpers.structs import (
            AuthenticatorSelectionCriteria,
            PublicKeyCredentialDescriptor,
            ResidentKeyRequirement,
            UserVerificationRequirement,
        )

        host, known = host_of(origin), await self._credentials(person.id)
        if len(known) >= MAX_PASSKEYS:
            message = f"You have {MAX_PASSKEYS} passkeys already."
            raise Conflicting("too_many_passkeys", message, "Remove one that you use no more.")
        challenge = self._clock.token_bytes(32)
        options = generate_registration_options(
            rp_id=host,
            rp_name=_SERVICE,
            user_id=person.id.encode(),
            user_name=person.username,
            challenge=challenge,
            timeout=int(CHALLENGE_S * 1000),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in known],
        )
        return Asked(json.loads(options_to_json(options)), self._ticket(challenge, person.id))

    async def add(
        self,
        connection: Connection,
        person: Person,
        ticket: str,
        credential: Mapping[str, Any],
        name: str,
        origin: str,
    ) -> Passkey:
        """Keep the passkey that the browser made. Raises PasskeyRefused, Conflicting(`passkey_known`), Misasked."""
        from webauthn import verify_registration_response
        from webauthn.helpers import base64url_to_bytes, parse_attestation_object
        from webauthn.helpers.exceptions import WebAuthnException

        if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
            raise Misasked("bad_passkey_name", "That is no name for a passkey.", "Use a few words.", param="name")
        challenge = self._opened(ticket, person.id)
        given = _bounded(credential)
        try:
            if parse_attestation_object(base64url_to_bytes(given["response"]["attestationObject"])).fmt not in _FORMATS:
                raise PasskeyRefused("format")
            verified = verify_registration_response(
                credential=given,
                expected_challenge=challenge,
                expected_rp_id=host_of(origin),
                expected_origin=origin,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, TypeError, KeyError) as error:
            raise PasskeyRefused("verification") from error
        now_ms = int(self._clock.now_s() * 1000)
        passkey = Passkey(new_id("passkey", self._clock), person.id, host_of(origin), name, now_ms, None)
        values = {column: getattr(passkey, column) for column in Passkey.__slots__}
        try:
            await connection.execute(
                insert(t.passkeys).values(
                    **values,
                    credential_id=verified.credential_id,
                    public_key=verified.credential_public_key,
                    sign_count=verified.sign_count,
                )
            )
        except IntegrityError:
            raise Conflicting("passkey_known", "This passkey is known already.", "Use it.") from None
        return passkey

    async def begin_sign_in(self, origin: str) -> Asked:
        """Ask the browser for whichever passkey of this service its person chooses.

        Raises Misasked(`passkeys_need_a_name`).
        """
        await self.ready()
        from webauthn import generate_authentication_options, options_to_json
        from webauthn.helpers.structs import UserVerificationRequirement

        challenge = self._clock.token_bytes(32)
        options = generate_authentication_options(
            rp_id=host_of(origin),
            challenge=challenge,
            timeout=int(CHALLENGE_S * 1000),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return Asked(json.loads(options_to_json(options)), self._ticket(challenge, ""))

    async def shown(self, connection: Connection, ticket: str, credential: Mapping[str, Any], origin: str) -> str:
        """Whose passkey the browser has shown: a person's identifier. Raises PasskeyRefused."""
        from webauthn import verify_authentication_response
        from webauthn.helpers import base64url_to_bytes
        from webauthn.helpers.exceptions import WebAuthnException

        challenge = self._opened(ticket, "")
        given = _bounded(credential)
        try:
            credential_id = base64url_to_bytes(given["rawId"])
            handle = base64url_to_bytes(given["response"].get("userHandle") or "")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PasskeyRefused("form") from error
        row = (
            await connection.execute(select(t.passkeys).where(t.passkeys.c.credential_id == credential_id))
        ).one_or_none()
        if row is None or row.host != host_of(origin):
            raise PasskeyRefused("unknown")
        if handle != row.person_id.encode():
            raise PasskeyRefused("person")
        try:
            verified = verify_authentication_response(
                credential=given,
                expected_challenge=challenge,
                expected_rp_id=row.host,
                expected_origin=origin,
                credential_public_key=row.public_key,
                credential_current_sign_count=row.sign_count,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, TypeError, KeyError) as error:
            raise PasskeyRefused("verification") from error
        used = {"sign_count": verified.new_sign_count, "last_used_ms": int(self._clock.now_s() * 1000)}
        await connection.execute(update(t.passkeys).where(t.passkeys.c.id == row.id).values(**used))
        return str(row.person_id)

    async def of(self, person_id: str) -> list[Passkey]:
        """A person's passkeys, the oldest first."""
        query = select(t.passkeys).where(t.passkeys.c.person_id == person_id).order_by(t.passkeys.c.id)
        async with self._db.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [Passkey(**{column: getattr(row, column) for column in Passkey.__slots__}) for row in rows]

    async def remove(self, connection: Connection, person_id: str, passkey_id: str) -> None:
        """Take one of a person's passkeys away. Raises Missing(`passkey_not_found`), also for somebody else's."""
        where = (t.passkeys.c.id == passkey_id) & (t.passkeys.c.person_id == person_id)
        if not (await connection.execute(delete(t.passkeys).where(where))).rowcount:
            raise Missing("passkey_not_found", "There is no such passkey.", "See the list of yours.")

    async def _credentials(self, person_id: str) -> Sequence[bytes]:
        query = select(t.passkeys.c.credential_id).where(t.passkeys.c.person_id == person_id)
        async with self._db.reading() as connection:
            return [bytes(each) for each in (await connection.execute(query)).scalars()]

    def _ticket(self, challenge: bytes, person_id: str) -> str:
        kept = {"challenge": challenge.hex(), "person": person_id, "began_s": self._clock.now_s()}
        return self._seal.close(_PURPOSE, json.dumps(kept))

    def _opened(self, ticket: str, person_id: str) -> bytes:
        """The challenge of a ticket of ours that is fresh and was not used. Raises PasskeyRefused(`challenge`)."""
        try:
            kept = json.loads(self._seal.open(_PURPOSE, ticket))
        except Misasked:
            raise PasskeyRefused("challenge") from None
        now_s = self._clock.now_s()
        fresh = 0 <= now_s - kept["began_s"] < CHALLENGE_S and kept["person"] == person_id
        if not fresh or not self._challenges.use(kept["challenge"], now_s):
            raise PasskeyRefused("challenge")
        return bytes.fromhex(kept["challenge"])


def host_of(origin: str) -> str:
    """The name that passkeys are bound to; addresses get none. Raises Misasked(`passkeys_need_a_name`)."""
    host = urlsplit(origin).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    message = "Passkeys work where the service has a name, not under an address of numbers."
    raise Misasked("passkeys_need_a_name", message, "Open the page by its name (or as localhost).")


def _bounded(credential: Mapping[str, Any]) -> dict[str, Any]:
    """What the browser sent, if it can be an answer. Raises PasskeyRefused(`form`)."""
    given = dict(credential)
    try:
        if len(json.dumps(given)) > _MAX_CREDENTIAL_CHARS:
            raise PasskeyRefused("form")
        said = json.loads(base64.urlsafe_b64decode(given["response"]["clientDataJSON"] + "=="))
        crossed = said.get("crossOrigin", False)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
        raise PasskeyRefused("form") from error
    if crossed is not False:  # asked for within another site's page
        raise PasskeyRefused("cross_origin")
    return given
