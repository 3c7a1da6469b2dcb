"""A real PKCS #11 token made of software (SoftHSM), in a folder of its own; `scripts/test-system` unpacks it."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

UNPACKED = Path(__file__).parents[2] / ".tools/softhsm"
_MODULES = (
    UNPACKED / "usr/lib/softhsm/libsofthsm2.so",
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
)
MODULE = next((str(each) for each in _MODULES if each.exists()), "")
_UTILS = (UNPACKED / "usr/bin/softhsm2-util", Path("/usr/bin/softhsm2-util"))
TOKEN, KEY = "ward", "intramural"
#: Of the token's owner. No test file, log or process may have them anywhere else.
PIN, SO_PIN = "7274918305", "9182736450"


@dataclass(frozen=True)
class SoftHsm:
    """Where the tokens lie; `environment` is what a process needs to see them."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    def copied(self, folder: Path) -> "SoftHsm":
        """The same token once more. SoftHSM writes its files anew at every login, and not in a way that outlasts being
        killed meanwhile; no token of hardware is like that.
        """
        shutil.copytree(self.folder / "tokens", folder / "tokens")
        conf = (self.folder / "softhsm2.conf").read_text().replace(str(self.folder), str(folder))
        (folder / "softhsm2.conf").write_text(conf)
        return SoftHsm(folder)

    def pin_file(self, pin: str = PIN) -> str:
        """A file with the PIN, for this user alone."""
        file = self.folder / f"pin-{len(pin)}-{hash(pin) % 1000}"
        file.write_text(pin + "\n")
        file.chmod(0o600)
        return str(file)

    def settings(self, **more: str) -> dict[str, str]:
        """What `VaultConfig` needs to lock with this token."""
        given = {"lock": "pkcs11", "pkcs11_module": MODULE, "pkcs11_token": TOKEN, "pkcs11_key": KEY}
        return {**given, "pin_file": self.pin_file(), **more}


def made(folder: Path) -> SoftHsm:
    """A token with a PIN and nothing on it. This process sees the first one that is made, and no other."""
    folder.mkdir(parents=True)
    tokens = folder / "tokens"
    tokens.mkdir()
    conf = f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    (folder / "softhsm2.conf").write_text(conf)
    hsm = SoftHsm(folder)
    util = next(str(each) for each in _UTILS if each.exists())
    subprocess.run(
        [util, "--module", MODULE, "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", SO_PIN],
        env={**os.environ, **hsm.environment},
        check=True,
        capture_output=True,
    )
    return hsm


def make_pair(label: str = KEY, bits: int = 2048, *, given_out: bool = False) -> None:
    """A key pair on the token, whose private half does not leave it unless `given_out`."""
    import pkcs11
    from pkcs11 import Attribute, KeyType

    template = {Attribute.EXTRACTABLE: given_out, Attribute.SENSITIVE: not given_out}
    with pkcs11.lib(MODULE).get_token(token_label=TOKEN).open(rw=True, user_pin=PIN) as session:
        session.generate_keypair(KeyType.RSA, bits, store=True, label=label, private_template=template)


def drop_pair(label: str) -> None:
    """Take a key pair off the token."""
    import pkcs11
    from pkcs11 import Attribute

    with pkcs11.lib(MODULE).get_token(token_label=TOKEN).open(rw=True, user_pin=PIN) as session:
        for each in list(session.get_objects({Attribute.LABEL: label})):
            each.destroy()
