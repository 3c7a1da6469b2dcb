"""Signed notes and checkpoints: the published example, and strictness."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from intramural.audit import keys
from intramural.audit.checkpoint import Checkpoint, Signer, VerifierKey, parse_body
from intramural.audit.merkle import EMPTY_ROOT
from intramural.core.clock import SystemClock
from intramural.core.errors import IntramuralError, Misasked, Untrusted

# The example of Go's golang.org/x/mod/sumdb/note, from which C2SP's signed-note grew.
EXAMPLE_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
EXAMPLE_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
EXAMPLE_NOTE = (
    EXAMPLE_TEXT + "\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
GO_SUM_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

SIGNER = Signer("example.org/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
NOTE = SIGNER.sign(3, EMPTY_ROOT)


def test_the_published_example_verifies() -> None:
    assert VerifierKey.parse(EXAMPLE_KEY).text_of(EXAMPLE_NOTE) == EXAMPLE_TEXT


@pytest.mark.parametrize("text", [EXAMPLE_KEY, GO_SUM_KEY])
def test_published_keys_are_read_and_written(text: str) -> None:
    assert str(VerifierKey.parse(text)) == text


def test_a_checkpoint_comes_back() -> None:
    assert SIGNER.verifier.checkpoint_of(NOTE) == Checkpoint("example.org/log", 3, EMPTY_ROOT)
    assert VerifierKey.parse(str(SIGNER.verifier)) == SIGNER.verifier
    origin, size, root, blank, signature, end = NOTE.split("\n")
    assert (origin, size, blank, end) == ("example.org/log", "3", "", "")
    assert base64.b64decode(root) == EMPTY_ROOT
    assert signature.startswith("— example.org/log ")


def test_a_witness_may_sign_beside() -> None:
    witness = Signer("witness.example", Ed25519PrivateKey.generate()).sign(3, EMPTY_ROOT).rpartition("\n\n")[2]
    assert SIGNER.verifier.checkpoint_of(NOTE + witness).size == 3


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        NOTE[:-1],
        NOTE + "\n",
        " " + NOTE,
        NOTE.replace("\n\n", "\n"),
        NOTE.replace("\n", "\r\n"),
        NOTE.replace("— ", "- "),
        NOTE.replace("— ", "—  "),
        NOTE.replace("\n3\n", "\n03\n"),
        NOTE.replace("\n3\n", "\n4\n"),
        NOTE.replace("\n3\n", "\n3 \n"),
        NOTE.replace("\n3\n", "\n٣\n"),
        NOTE.replace("org/log\n", "org/lag\n"),
        NOTE.replace("=\n\n", "\n\n"),
        NOTE[:-3] + "B=\n",
        NOTE + "— example.org/log AAAA\n",
        NOTE + "— example.org/log !!!!\n",
        NOTE + "junk\n",
        NOTE + NOTE.rpartition("\n\n")[2] * 16,
        NOTE + "x" * 70_000,
        EXAMPLE_NOTE,
        Signer("example.org/log", Ed25519PrivateKey.generate()).sign(3, EMPTY_ROOT),
    ],
)
def test_what_is_not_exactly_a_note_of_ours_is_refused(note: str) -> None:
    with pytest.raises(Untrusted):
        SIGNER.verifier.checkpoint_of(note)


def test_a_bad_signature_beside_a_good_one_is_refused() -> None:
    line = NOTE.rpartition("\n\n")[2]
    name, data = line[2:].split()
    forged = bytearray(base64.b64decode(data))
    forged[-1] ^= 1
    with pytest.raises(Untrusted):
        SIGNER.verifier.text_of(NOTE + f"— {name} {base64.b64encode(forged).decode()}\n")


def test_a_checkpoint_of_another_origin_under_our_key_is_refused() -> None:
    body = Checkpoint("example.org/other", 3, EMPTY_ROOT).body()
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    signature = base64.b64encode(SIGNER.verifier.hash + key.sign(body.encode())).decode()
    note = f"{body}\n— example.org/log {signature}\n"
    assert SIGNER.verifier.text_of(note) == body
    with pytest.raises(Untrusted):
        SIGNER.verifier.checkpoint_of(note)


@pytest.mark.parametrize("more", ["extension\n", "\n", "4\n"])
def test_more_lines_are_refused(more: str) -> None:
    with pytest.raises(Untrusted):
        parse_body(Checkpoint("a", 1, EMPTY_ROOT).body() + more)


@given(st.integers(0, len(NOTE) - 1), st.characters(codec="utf-8"))
def test_no_single_change_passes(at: int, character: str) -> None:
    changed = NOTE[:at] + character + NOTE[at + 1 :]
    if changed == NOTE:
        return
    with pytest.raises(Untrusted):
        SIGNER.verifier.checkpoint_of(changed)


@given(st.text())
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    for read in (SIGNER.verifier.text_of, parse_body, VerifierKey.parse):
        with pytest.raises(IntramuralError):
            read(text)


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "a\nb", "a\u2003b", "a\x1bb"])
def test_origins_that_cannot_be_signed_for(origin: str) -> None:
    with pytest.raises(Misasked):
        Signer(origin, Ed25519PrivateKey.generate())


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    key = keys.signing_key(secrets, make=True)
    text = keys.text_key(secrets, SystemClock())
    assert keys.signing_key(secrets, make=False).private_bytes_raw() == key.private_bytes_raw()
    assert keys.text_key(secrets, SystemClock()) == text
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in secrets.iterdir()} == {
        "audit-ed25519.pem": "0o600",
        "audit-text.key": "0o600",
    }
    assert oct(secrets.stat().st_mode & 0o777) == "0o700"
    assert keys.public_key(secrets, "a.example") == str(Signer("a.example", key).verifier)


def test_keys_that_are_exposed_damaged_or_missing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Untrusted, match="audit_key_missing"):
        keys.signing_key(tmp_path, make=False)
    keys.signing_key(tmp_path, make=True)
    file = tmp_path / keys.SIGNING_KEY_FILE
    file.chmod(0o640)
    with pytest.raises(Untrusted, match="secret_exposed"):
        keys.signing_key(tmp_path, make=True)
    file.chmod(0o600)
    file.write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(Untrusted, match="secret_damaged"):
        keys.signing_key(tmp_path, make=True)
    (tmp_path / keys.TEXT_KEY_FILE).touch(mode=0o600)
    with pytest.raises(Untrusted, match="secret_damaged"):
        keys.text_key(tmp_path, SystemClock())
