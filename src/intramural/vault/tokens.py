"""The installation's key encrypted to a key pair whose private half never leaves a token (PKCS #11, an extra).

The file holds the key under RSA-OAEP: only the token can open it, with its PIN, and only while it is there. OAEP with
SHA-1, which is what tokens have in common; the hash's collisions are of no use against it. The maker's library is
loaded into this process, which is the price of PKCS #11.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from intramural.core.config import VaultConfig
from intramural.core.errors import Misasked, Unavailable, Untrusted
from intramural.vault.locks import Locked

LEAST_BITS = 2_048
_PINS = ("PinIncorrect", "PinInvalid", "PinLenRange")


class Token:
    """The token and key pair that the settings name; one that is locked already says itself which."""

    def __init__(self, config: VaultConfig) -> None:
        self._config = config

    def lock(self, key: bytes) -> Locked:
        """Raises as `unlock`, Untrusted(`token_key_weak`)."""
        of = {"token": self._config.pkcs11_token, "key": self._config.pkcs11_key}
        with self._session(of["token"]) as session:
            locked = Locked(_encrypted(_public(session, of["key"]), key), "pkcs11", of=of)
            if self._opened(session, locked) != key:  # what it does not open again is not written down
                raise _wrong(of)
        return locked

    def unlock(self, locked: Locked) -> bytes:
        """Raises Misasked(`token_not_installed`, `token_module_wrong`, `pin_needed`, `pin_wrong`, `pin_locked`,
        `token_key_missing`), Unavailable(`token_missing`, `token_failed`), Untrusted(`secret_exposed`,
        `token_key_extractable`, `token_key_wrong`).
        """
        with self._session(locked.of.get("token", "")) as session:
            return self._opened(session, locked)

    def drop(self, locked: Locked) -> None:
        """The key pair is the token's owner's."""

    def _opened(self, session: Any, locked: Locked) -> bytes:
        from pkcs11 import MGF, Attribute, Mechanism, ObjectClass, PKCS11Error

        private = _key(session, ObjectClass.PRIVATE_KEY, locked.of.get("key", ""))
        if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
            message = f"The token gives its key {locked.of.get('key')!r} out, so it protects nothing."
            raise Untrusted("token_key_extractable", message, "Make a key pair that is sensitive and not extractable.")
        way = (Mechanism.SHA_1, MGF.SHA1, None)
        try:
            return bytes(private.decrypt(locked.key, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=way))
        except PKCS11Error:
            raise _wrong(locked.of) from None

    @contextmanager
    def _session(self, token: str) -> Iterator[Any]:
        try:
            import pkcs11
        except ImportError:
            message = "The installation's key is locked by a token, and the library for that is missing."
            raise Misasked("token_not_installed", message, "Install `intramural[pkcs11]`.") from None
        pin = self._pin()
        try:
            library = pkcs11.lib(self._config.pkcs11_module)
        except (pkcs11.PKCS11Error, OSError):
            message = f"vault.pkcs11_module, {self._config.pkcs11_module or 'which is empty'}, is no PKCS #11 library."
            raise Misasked("token_module_wrong", message, "Name the library (.so) of the token's maker.") from None
        try:
            with library.get_token(token_label=token).open(user_pin=pin) as session:
                yield session
        except (pkcs11.NoSuchToken, pkcs11.MultipleTokensReturned) as error:
            several = isinstance(error, pkcs11.MultipleTokensReturned)
            message = f"There {'are several tokens' if several else 'is no token'} called {token!r}."
            raise Unavailable("token_missing", message, "Plug it in, or check vault.pkcs11_token.") from None
        except pkcs11.PKCS11Error as error:
            raise _refused(type(error).__name__) from None

    def _pin(self) -> str:
        """From a file that only this user can read; never from the command line or the settings."""
        if not self._config.pin_file:
            message = "The token wants a PIN."
            raise Misasked("pin_needed", message, "Name the file that holds it in vault.pin_file.")
        file = Path(self._config.pin_file)
        try:
            if file.stat().st_mode & 0o077:
                raise Untrusted("secret_exposed", f"{file} can be read by others.", f"Run: chmod 600 {file}")
            pin = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            message = f"The PIN file {file} cannot be read: {why}."
            raise Misasked("pin_needed", message, "Check vault.pin_file.") from None
        if not pin:
            raise Misasked("pin_needed", "The PIN is empty.", "Check vault.pin_file.")
        return pin


def _public(session: Any, label: str) -> Any:
    """The public half, for encrypting here. Raises Misasked(`token_key_missing`), Untrusted(`token_key_weak`)."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    from pkcs11 import Attribute, ObjectClass, PKCS11Error

    found = _key(session, ObjectClass.PUBLIC_KEY, label)
    try:
        modulus = int.from_bytes(found[Attribute.MODULUS], "big")
        exponent = int.from_bytes(found[Attribute.PUBLIC_EXPONENT], "big")
        if modulus.bit_length() < LEAST_BITS:
            raise ValueError("short")
        return RSAPublicNumbers(exponent, modulus).public_key()
    except (PKCS11Error, ValueError):
        message = f"The token's key {label!r} is no RSA key of {LEAST_BITS} bits or more."
        raise Untrusted("token_key_weak", message, "Make an RSA key pair of 3072 bits on the token.") from None


def _encrypted(public: Any, key: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    way = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 — see above: what tokens can
    return bytes(public.encrypt(key, way))


def _key(session: Any, kind: Any, label: str) -> Any:
    from pkcs11 import Attribute

    # all of them: a search that is not gone through to its end outlives its session
    found = list(session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: label}))
    if len(found) != 1:
        message = f"The token has {'several keys' if found else 'no key'} called {label!r}."
        raise Misasked("token_key_missing", message, "Check vault.pkcs11_key: it is a key pair's label.")
    return found[0]


def _wrong(of: dict[str, str]) -> Untrusted:
    message = f"The token's key {of.get('key')!r} does not open the installation's key."
    return Untrusted(
        "token_key_wrong", message, "Use the token with which it was locked, or restore secrets/vault.key."
    )


def _refused(kind: str) -> Misasked | Unavailable:
    """What a token's own error means; the PIN is in none of them."""
    if kind in _PINS:
        hint = "Check vault.pin_file. It is not tried again: after a few wrong ones a token locks itself."
        return Misasked("pin_wrong", "The token does not take the PIN.", hint)
    if kind == "PinLocked":
        return Misasked("pin_locked", "The token has locked itself after wrong PINs.", "Unlock it with its PUK.")
    return Unavailable("token_failed", f"The token failed: {kind}.", "Plug it in again, then start the service.")
