"""Signatures of models: those that the product makes, and those of the reference implementation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.verifier.standing import Standing

from intramural.library.provenance import NamedDigest, SigningKey, sign

BODIES = {"model.gguf": b"GGUF weights", "config.json": b"{}"}


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, body in BODIES.items():
        (folder / name).write_bytes(body)
    return folder


def ours(model: Path, private: Path) -> bytes:
    import hashlib

    named = [
        NamedDigest(each.name, f"sha256:{hashlib.sha256(each.read_bytes()).hexdigest()}")
        for each in sorted(model.iterdir())
    ]
    return sign("m:1b", named, SigningKey(private))


def reference(model: Path, private: Path) -> bytes:
    from model_signing import signing

    out = private.with_name("reference.sig")
    signing.Config().use_elliptic_key_signer(private_key=private).sign(model, out)
    return out.read_bytes()


@pytest.mark.parametrize("made", [ours, reference])
def test_files_are_those_that_were_signed(
    standing: Standing, model: Path, keys: tuple[Path, Path], tmp_path: Path, made: Callable[[Path, Path], bytes]
) -> None:
    signature = tmp_path / "model.sig"
    signature.write_bytes(made(model, keys[0]))

    def run(*files: Path) -> int:
        return standing.run("model", signature, *files, "--model-key", keys[1]).status

    assert run(model) == 0
    assert run(*sorted(model.iterdir())) == 0
    assert run(model / "model.gguf") == 1
    (model / "more.json").write_text("{}")
    assert run(model) == 1
    (model / "more.json").unlink()
    (model / "model.gguf").write_bytes(b"GGUF Weights")
    assert run(model) == 1


def test_another_key_and_another_statement_are_refused(
    standing: Standing, model: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    other.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    signature = tmp_path / "model.sig"
    bundle: dict[str, Any] = json.loads(ours(model, keys[0]))
    signature.write_text(json.dumps(bundle))
    assert standing.run("model", signature, model, "--model-key", other).status == 1
    assert standing.run("model", signature, model, "--model-key", other, "--model-key", keys[1]).status == 0
    assert standing.run("model", signature, model).status == 2
    payload = bundle["dsseEnvelope"]["payload"]
    bundle["dsseEnvelope"]["payload"] = payload[:40] + ("A" if payload[40] != "A" else "B") + payload[41:]
    signature.write_text(json.dumps(bundle))
    assert standing.run("model", signature, model, "--model-key", keys[1]).status == 1


def test_a_certificate_is_said_not_to_be_checked(
    standing: Standing, model: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    bundle = json.loads(ours(model, keys[0]))
    bundle["verificationMaterial"] = {"x509CertificateChain": {"certificates": []}}
    signature = tmp_path / "model.sig"
    signature.write_text(json.dumps(bundle))
    found = standing.run("model", signature, model, "--model-key", keys[1])
    assert (found.status, found.outcomes()[0]) == (3, ("not checked", "signer"))
