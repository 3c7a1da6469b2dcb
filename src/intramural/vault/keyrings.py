"""The installation's key under a secret that the operating system's keyring keeps (Python's `keyring`, an extra).

The file alone opens nothing, nor does the keyring alone. Each key has an entry of its own, so that during a change both
are there; the one before is deleted when the change is done.
"""

import base64
import binascii
import logging
from typing import Any

from cryptography.exceptions import InvalidTag

from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Misasked, Unavailable, Untrusted
from intramural.vault.envelope import KEY_BYTES
from intramural.vault.locks import Locked, opened, sealed

SERVICE = "intramural"
_ID_BYTES = 8

_log = logging.getLogger(__name__)


class Keyring:
    """The keyring of the user that the service runs as, whichever backend `keyring` chooses there."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def lock(self, key: bytes) -> Locked:
        """Raises as `unlock`, Unavailable(`keyring_failed`) where it does not keep what it is given."""
        entry = f"vault-{self._clock.token_bytes(_ID_BYTES).hex()}"
        secret = self._clock.token_bytes(KEY_BYTES)
        text = base64.b64encode(secret).decode()
        _asked("set_password", SERVICE, entry, text)
        if _asked("get_password", SERVICE, entry) != text:
            message = f"The keyring ({_backend()}) did not keep what it was given."
            raise Unavailable("keyring_failed", message, "Use another lock, or mend the keyring.")
        return Locked(sealed(secret, key, self._clock), "keyring", of={"entry": entry})

    def unlock(self, locked: Locked) -> bytes:
        """Raises Misasked(`keyring_not_installed`, `keyring_missing`), Unavailable(`keyring_locked`),
        Untrusted(`keyring_entry_missing`, `keyring_entry_wrong`).
        """
        entry = locked.of.get("entry", "")
        text = _asked("get_password", SERVICE, entry)
        if text is None:
            message = f"The keyring ({_backend()}) has no entry {SERVICE}/{entry}, which opens the installation's key."
            hint = "Start the service as the user whose keyring has it, or restore the keyring from a backup."
            raise Untrusted("keyring_entry_missing", message, hint)
        try:
            return opened(base64.b64decode(text, validate=True), locked.key)
        except (InvalidTag, ValueError, binascii.Error):
            message = f"The keyring's entry {SERVICE}/{entry} does not open the installation's key."
            raise Untrusted("keyring_entry_wrong", message, "Restore the keyring from a backup.") from None

    def drop(self, locked: Locked) -> None:
        try:
            _asked("delete_password", SERVICE, locked.of.get("entry", ""))
        except IntramuralError as error:  # it opens nothing any more
            _log.warning("the keyring kept an entry that is not needed any more: %s", error)


def _asked(what: str, *args: str) -> Any:
    """One question to the keyring. Raises Misasked(`keyring_not_installed`, `keyring_missing`),
    Unavailable(`keyring_locked`).
    """
    try:
        import keyring
        from keyring.errors import KeyringError, NoKeyringError
    except ImportError:
        message = "The installation's key is kept by a keyring, and the library for that is missing."
        raise Misasked("keyring_not_installed", message, "Install `intramural[keyring]`.") from None
    try:
        return getattr(keyring, what)(*args)
    except NoKeyringError:
        message = "There is no keyring for the user that this service runs as."
        raise Misasked("keyring_missing", message, "Run a Secret Service there, or use another `vault.lock`.") from None
    except (KeyringError, ValueError, RuntimeError, OSError) as error:  # backends have errors of their own
        message = f"The keyring ({_backend()}) does not answer: {type(error).__name__}."
        raise Unavailable("keyring_locked", message, "Unlock it for this user, then start the service again.") from None


def _backend() -> str:
    import keyring

    return str(keyring.get_keyring().name)
