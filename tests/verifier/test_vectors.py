"""Published vectors: C2SP's, its implementations', Wycheproof's. Each file in `vectors/` says where it is from."""

import base64
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from tests.audit.test_checkpoint import EXAMPLE_KEY, EXAMPLE_NOTE

from intramural.audit.checkpoint import Checkpoint
from intramural.audit.cosignature import Cosigner, CosignerKey
from intramural.audit.merkle import verify_consistency, verify_inclusion

VECTORS = Path(__file__).parent / "vectors"
#: The example of c2sp.org/signed-note.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text("utf-8"))


def decoded(texts: list[str] | None) -> list[bytes]:
    return [base64.b64decode(each) for each in texts or ()]


@pytest.mark.parametrize("case", vectors("merkle.json")["inclusion"], ids=lambda case: case["file"])
def test_inclusion(verifier: ModuleType, case: dict[str, Any]) -> None:
    leaf, root = decoded([case["leafHash"], case["root"]])
    proof = decoded(case["proof"])
    if not leaf:  # no hash: refused where it is read
        with pytest.raises(verifier.Wrong):
            verifier.hash_of(case["leafHash"])
        return
    for check in (
        lambda: verifier.is_included(leaf, case["leafIdx"], case["treeSize"], proof, root),
        lambda: verify_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, root),
    ):
        assert check() is not case["wantErr"]


@pytest.mark.parametrize("case", vectors("merkle.json")["consistency"], ids=lambda case: case["file"])
def test_consistency(verifier: ModuleType, case: dict[str, Any]) -> None:
    first, second = decoded([case["root1"], case["root2"]])
    proof = decoded(case["proof"])
    assert verifier.is_consistent(case["size1"], first, case["size2"], second, proof) is not case["wantErr"]
    assert verify_consistency(case["size1"], first, case["size2"], second, proof) is not case["wantErr"]


@pytest.mark.parametrize(("vkey", "note"), [(SPEC_KEY, SPEC_NOTE), (EXAMPLE_KEY, EXAMPLE_NOTE)])
def test_signed_notes(verifier: ModuleType, vkey: str, note: str) -> None:
    key = verifier.Key.parse(vkey)
    read = verifier.parse_note(note)
    (found,) = verifier._by(read, key)
    assert verifier.is_signed(key, read, found) is None
    assert verifier.shown_key(key) == vkey
    with pytest.raises(verifier.Wrong):
        verifier.is_signed(key, verifier.Note(read.text + "\n", ()), found)


@pytest.mark.parametrize(
    ("public", "case"),
    [
        pytest.param(group["publicKey"], test, id=str(test["tcId"]))
        for group in vectors("ml_dsa_44.json")["groups"]
        for test in group["tests"]
    ],
)
def test_ml_dsa_44(verifier: ModuleType, public: str, case: dict[str, str]) -> None:
    try:
        verifier._verify_ml_dsa(bytes.fromhex(public), bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
        found = "valid"
    except (verifier.InvalidSignature, ValueError):
        found = "invalid"
    assert found == case["result"]


def test_a_witness_s_cosignature_as_the_specification_has_it(verifier: ModuleType) -> None:
    """Keys of the specification's own examples are not published: the messages are put together here by hand."""
    checkpoint = Checkpoint("example.com/behind-the-sofa", 20852163, bytes(range(32)))
    ed25519 = Ed25519PrivateKey.from_private_bytes(bytes(32))
    ml_dsa = MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    for cosigner in (
        Cosigner.ed25519("witness.example.com/w1", ed25519),
        Cosigner.ml_dsa("witness.example.com/w1", ml_dsa),
    ):
        note = f"{checkpoint.body()}\n{cosigner.line(checkpoint, 1679315147)}"
        vkey = str(cosigner.key)
        assert CosignerKey.parse(vkey) == cosigner.key and cosigner.key.time_of(note) == 1679315147
        key, read = verifier.Key.parse(vkey), verifier.parse_note(note)
        assert verifier.is_signed(key, read, verifier._by(read, key)[0]) == 1679315147
    text = f"cosignature/v1\ntime 1679315147\n{checkpoint.body()}".encode()
    ed25519.public_key().verify(_signature(Cosigner.ed25519("w", ed25519), checkpoint), text)
    message = b"subtree/v1\n\0" + b"\x01w" + (1679315147).to_bytes(8, "big") + b"\x1bexample.com/behind-the-sofa"
    message += bytes(8) + (20852163).to_bytes(8, "big") + bytes(range(32))
    ml_dsa.public_key().verify(_signature(Cosigner.ml_dsa("w", ml_dsa), checkpoint), message)


def _signature(cosigner: Cosigner, checkpoint: Checkpoint) -> bytes:
    return base64.b64decode(cosigner.line(checkpoint, 1679315147).split(" ")[2])[12:]
