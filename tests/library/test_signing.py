"""Signatures: what holds, and every way in which one does not."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import model_signing.hashing
import model_signing.signing
import model_signing.verifying
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chance import tries
from tests.fakes.pki import NOW_S, Authority, Pair, key_pair, other_key

from intramural.core.errors import IntramuralError, Misasked, Untrusted
from intramural.library.provenance import Anchors, NamedDigest, SigningKey, anchors_from, read_anchors, sign, verify

BODIES = {"tiny-00001-of-00002.gguf": b"first", "tiny-00002-of-00002.gguf": b"second", "mmproj.gguf": b"eyes"}


def named(bodies: dict[str, bytes]) -> list[NamedDigest]:
    return [NamedDigest(name, f"sha256:{hashlib.sha256(body).hexdigest()}") for name, body in bodies.items()]


FILES = named(BODIES)


@dataclass
class Desk:
    """A signer's key, and whom this machine believes."""

    folder: Path
    pair: Pair

    @property
    def anchors(self) -> Anchors:
        return anchors_from([self.pair.public])

    def sign(self, files: list[NamedDigest] = FILES) -> bytes:
        return sign("tiny", files, SigningKey(self.pair.private))

    def resign(self, change: Callable[[dict[str, Any]], None]) -> bytes:
        """A bundle whose statement was changed before it was signed, by somebody who has the right key."""
        bundle = json.loads(self.sign())
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        change(statement)
        payload = json.dumps(statement).encode()
        kind = bundle["dsseEnvelope"]["payloadType"]
        key = serialization.load_pem_private_key(self.pair.private.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        signed = key.sign(f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload, ec.ECDSA(hashes.SHA256()))
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signed).decode()
        return json.dumps(bundle).encode()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, key_pair(tmp_path, "publisher"))


def refusal(bundle: bytes, files: list[NamedDigest], anchors: Anchors, **more: Any) -> str:
    with pytest.raises(Untrusted) as refused:
        verify(bundle, files, anchors, now_s=NOW_S, **more)
    assert refused.value.hint
    return refused.value.code


# what holds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name)
def test_a_key(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    pair = key_pair(tmp_path, "publisher", curve)
    bundle = sign("tiny", FILES, SigningKey(pair.private))
    signer = verify(bundle, FILES[::-1], anchors_from([pair.public]), now_s=NOW_S)
    assert signer.kind == "key"
    assert signer.identity == f"sha256:{hashlib.sha256(pair.public.read_bytes()).hexdigest()}"


def test_a_certificate(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path, "House")
    key, certificate = authority.certify("Model desk")
    bundle = sign("tiny", FILES, SigningKey(key, certificate))
    signer = verify(bundle, FILES, anchors_from([authority.root]), now_s=NOW_S)
    assert str(signer).startswith("certificate CN=Model desk sha256:")


def folder_of(root: Path, bodies: dict[str, bytes]) -> Path:
    folder = root / "tiny"
    folder.mkdir()
    for name, body in bodies.items():
        (folder / name).write_bytes(body)
    return folder


def test_the_reference_implementation_accepts_ours(tmp_path: Path, desk: Desk) -> None:
    signature = tmp_path / "tiny.sig"
    signature.write_bytes(desk.sign())
    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=desk.pair.public)
    config.verify(folder_of(tmp_path, BODIES), signature)


def test_we_accept_the_reference_implementations(tmp_path: Path, desk: Desk) -> None:
    signature = tmp_path / "tiny.sig"
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=desk.pair.private)
    config.sign(folder_of(tmp_path, BODIES), signature)
    assert verify(signature.read_bytes(), FILES, desk.anchors, now_s=NOW_S).kind == "key"


def test_a_file_that_was_signed_by_itself(tmp_path: Path, desk: Desk) -> None:
    """The format gives it no name; then the digest alone says which file it is."""
    body, signature = tmp_path / "tiny.gguf", tmp_path / "tiny.gguf.sig"
    body.write_bytes(b"alone")
    model_signing.signing.Config().use_elliptic_key_signer(private_key=desk.pair.private).sign(body, signature)
    raw = signature.read_bytes()
    assert verify(raw, named({"any.gguf": b"alone"}), desk.anchors, now_s=NOW_S).kind == "key"
    assert refusal(raw, named({"tiny.gguf": b"other"}), desk.anchors) == "signature_mismatch"
    assert refusal(raw, named({"tiny.gguf": b"alone", "more.gguf": b"more"}), desk.anchors) == "signature_extra_file"
    assert refusal(raw, [], desk.anchors) == "signature_missing_file"


def test_fewer_files_than_were_signed_only_where_policy_says_so(desk: Desk) -> None:
    bundle = desk.sign()
    assert refusal(bundle, FILES[:1], desk.anchors) == "signature_missing_file"
    assert verify(bundle, FILES[:1], desk.anchors, now_s=NOW_S, whole=False).kind == "key"
    assert refusal(bundle, [], desk.anchors, whole=False) == "signature_missing_file"


# what does not --------------------------------------------------------------------------------------------------------


def test_wrong_key(tmp_path: Path, desk: Desk) -> None:
    other = key_pair(tmp_path, "other")
    assert refusal(desk.sign(), FILES, anchors_from([other.public])) == "signature_wrong_key"
    assert refusal(desk.sign(), FILES, Anchors()) == "signature_wrong_key"


def test_the_right_keys_hint_on_anothers_signature(tmp_path: Path, desk: Desk) -> None:
    forged = json.loads(sign("tiny", FILES, SigningKey(key_pair(tmp_path, "other").private)))
    forged["verificationMaterial"] = json.loads(desk.sign())["verificationMaterial"]
    assert refusal(json.dumps(forged).encode(), FILES, desk.anchors) == "signature_invalid"


def test_foreign_root(tmp_path: Path) -> None:
    key, certificate = Authority.make(tmp_path, "Stranger").certify("Model desk")
    bundle = sign("tiny", FILES, SigningKey(key, certificate))
    house = Authority.make(tmp_path, "House")
    assert refusal(bundle, FILES, anchors_from([house.root])) == "signature_foreign_root"
    assert refusal(bundle, FILES, Anchors()) == "signature_foreign_root"


def test_a_root_that_only_has_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "strange").mkdir()
    key, certificate = Authority.make(tmp_path / "strange", "House").certify("Model desk")
    bundle = sign("tiny", FILES, SigningKey(key, certificate))
    house = Authority.make(tmp_path, "House")
    assert refusal(bundle, FILES, anchors_from([house.root])) == "signature_foreign_root"


@pytest.mark.parametrize("days", [(-30, -1), (1, 30)], ids=["expired", "not yet"])
def test_expired_certificate(tmp_path: Path, days: tuple[float, float]) -> None:
    authority = Authority.make(tmp_path, "House")
    key, certificate = authority.certify("Model desk", days=days)
    bundle = sign("tiny", FILES, SigningKey(key, certificate))
    assert refusal(bundle, FILES, anchors_from([authority.root])) == "signature_expired"


def test_expired_root(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path, "House", days=(-365, -1))
    key, certificate = authority.certify("Model desk")
    bundle = sign("tiny", FILES, SigningKey(key, certificate))
    assert refusal(bundle, FILES, anchors_from([authority.root])) == "signature_foreign_root"


def test_the_houses_web_server_may_not_sign_models(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path, "House")
    key, certificate = authority.certify("www", use=ExtendedKeyUsageOID.SERVER_AUTH)
    bundle = sign("tiny", FILES, SigningKey(key, certificate))
    assert refusal(bundle, FILES, anchors_from([authority.root])) == "signature_wrong_use"


def test_extra_missing_renamed_and_changed_files(desk: Desk) -> None:
    bundle = desk.sign()
    assert refusal(bundle, FILES + named({"more.gguf": b"more"}), desk.anchors) == "signature_extra_file"
    assert refusal(bundle, FILES[1:], desk.anchors) == "signature_missing_file"
    renamed = [NamedDigest("other.gguf", FILES[0].digest), *FILES[1:]]
    assert refusal(bundle, renamed, desk.anchors) == "signature_renamed_file"
    changed = named({**BODIES, "mmproj.gguf": b"Eyes"})
    assert refusal(bundle, changed, desk.anchors) == "signature_mismatch"
    swapped = [NamedDigest(FILES[0].name, FILES[1].digest), NamedDigest(FILES[1].name, FILES[0].digest), FILES[2]]
    assert refusal(bundle, swapped, desk.anchors) == "signature_mismatch"


def test_truncated_anywhere(desk: Desk) -> None:
    bundle = desk.sign()
    for length in range(0, len(bundle), 37):
        assert refusal(bundle[:length], FILES, desk.anchors) == "signature_unreadable"


def test_unknown_predicate(desk: Desk) -> None:
    bundle = desk.resign(lambda statement: statement.update(predicateType="https://slsa.dev/provenance/v1"))
    assert refusal(bundle, FILES, desk.anchors) == "signature_predicate"
    bundle = desk.resign(lambda statement: statement.update(predicateType="https://model_signing/Digests/v0.1"))
    assert refusal(bundle, FILES, desk.anchors) == "signature_predicate"
    bundle = desk.resign(lambda statement: statement.update(_type="https://in-toto.io/Statement/v0.1"))
    assert refusal(bundle, FILES, desk.anchors) == "signature_predicate"


def test_reordered_resources(desk: Desk) -> None:
    bundle = desk.resign(lambda statement: statement["predicate"]["resources"].reverse())
    assert refusal(bundle, FILES, desk.anchors) == "signature_order"

    def consistently(statement: dict[str, Any]) -> None:
        resources = statement["predicate"]["resources"]
        resources.reverse()
        root = hashlib.sha256(b"".join(bytes.fromhex(each["digest"]) for each in resources)).hexdigest()
        statement["subject"][0]["digest"]["sha256"] = root

    assert refusal(desk.resign(consistently), FILES, desk.anchors) == "signature_order"


def test_an_ignore_list_widened_by_the_bundle(desk: Desk) -> None:
    def widen(statement: dict[str, Any]) -> None:
        statement["predicate"]["serialization"]["ignore_paths"] = ["evil.gguf", "."]

    assert verify(desk.resign(widen), FILES, desk.anchors, now_s=NOW_S)
    assert refusal(desk.resign(widen), FILES + named({"evil.gguf": b"evil"}), desk.anchors) == "signature_extra_file"


@pytest.mark.parametrize(
    "name",
    [
        "../evil.gguf",
        "/evil.gguf",
        "a//b.gguf",
        ".",
        "",
        ".git/config",
        ".gitattributes",
        "a/./b",
        "a\x00b",
        "a\u202eb",
    ],
)
def test_names_that_no_model_has(desk: Desk, name: str) -> None:
    files = named({name: b"evil"})
    with pytest.raises(Untrusted) as refused:
        desk.sign(files)
    assert refused.value.code == "signature_names"

    def rename(statement: dict[str, Any]) -> None:
        statement["predicate"]["resources"][0]["name"] = name

    assert refusal(desk.resign(rename), files, desk.anchors) == "signature_names"


def test_a_name_given_twice(desk: Desk) -> None:
    def double(statement: dict[str, Any]) -> None:
        resources = statement["predicate"]["resources"]
        resources[1]["name"] = resources[0]["name"]

    assert refusal(desk.resign(double), FILES, desk.anchors) == "signature_names"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda s: s["predicate"]["serialization"].update(method="shards"), "signature_digests"),
        (lambda s: s["predicate"]["serialization"].update(hash_type="blake2"), "signature_digests"),
        (lambda s: s["predicate"]["resources"][0].update(algorithm="md5"), "signature_digests"),
        (lambda s: s["predicate"]["resources"][0].update(digest="00"), "bad_digest"),
        (lambda s: s["predicate"].pop("resources"), "signature_statement"),
        (lambda s: s["predicate"].update(resources=[]), "signature_names"),
        (lambda s: s.update(subject=[]), "signature_order"),
        (lambda s: s["subject"].append(s["subject"][0]), "signature_order"),
    ],
)
def test_other_statements(desk: Desk, change: Callable[[dict[str, Any]], None], code: str) -> None:
    assert refusal(desk.resign(change), FILES, desk.anchors) == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda b: b.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"), "signature_format"),
        (lambda b: b["dsseEnvelope"].update(payloadType="text/plain"), "signature_format"),
        (lambda b: b["dsseEnvelope"]["signatures"].append(b["dsseEnvelope"]["signatures"][0]), "signature_format"),
        (lambda b: b["dsseEnvelope"].update(signatures=[]), "signature_format"),
        (lambda b: b.pop("dsseEnvelope"), "signature_format"),
        (lambda b: b.update(verificationMaterial={}), "signature_format"),
        (lambda b: b["verificationMaterial"]["publicKey"].pop("hint"), "signature_wrong_key"),
        (lambda b: b["dsseEnvelope"]["signatures"][0].update(sig="!"), "signature_invalid"),
    ],
)
def test_other_envelopes(desk: Desk, change: Callable[[dict[str, Any]], None], code: str) -> None:
    bundle = json.loads(desk.sign())
    change(bundle)
    assert refusal(json.dumps(bundle).encode(), FILES, desk.anchors) == code


def test_other_texts(desk: Desk) -> None:
    assert refusal(b"[" * 100_000, FILES, desk.anchors) == "signature_unreadable"
    assert refusal(b'{"mediaType": "a", "mediaType": "b"}', FILES, desk.anchors) == "signature_unreadable"
    assert refusal(b"\xff", FILES, desk.anchors) == "signature_unreadable"
    assert refusal(b" " * (5 << 20), FILES, desk.anchors) == "signature_too_long"
    assert refusal(b"{}", FILES, desk.anchors) == "signature_format"


def test_sigstore_without_its_roots(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path, "House")
    key, certificate = authority.certify("Model desk")
    bundle = json.loads(sign("tiny", FILES, SigningKey(key, certificate)))
    chain = bundle["verificationMaterial"].pop("x509CertificateChain")
    bundle["verificationMaterial"]["certificate"] = chain["certificates"][0]
    anchors = anchors_from([authority.root])
    assert refusal(json.dumps(bundle).encode(), FILES, anchors) == "signature_no_sigstore"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Anchors]:
    folder = tmp_path_factory.mktemp("desk")
    desk = Desk(folder, key_pair(folder, "publisher"))
    return desk.sign(), desk.anchors


@settings(max_examples=tries(150))
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=3))
def test_no_change_of_a_byte_makes_another_claim(
    changes: list[tuple[float, int]], signed: tuple[bytes, Anchors]
) -> None:
    bundle = bytearray(signed[0])
    for at, value in changes:
        bundle[int(at * len(bundle))] = value
    try:
        signer = verify(bytes(bundle), FILES, signed[1], now_s=NOW_S)
    except Untrusted:
        return
    assert signer.kind == "key"  # a byte that says nothing, such as white space, was changed


# keys and anchors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "secp256k1"])
def test_keys_that_the_format_does_not_know(tmp_path: Path, kind: str) -> None:
    pair = other_key(tmp_path, kind)
    with pytest.raises(Misasked) as refused:
        sign("tiny", FILES, SigningKey(pair.private))
    assert refused.value.code == "bad_signing_key"
    with pytest.raises(Misasked) as refused:
        anchors_from([pair.public])
    assert refused.value.code == "bad_anchor"


def test_keys_that_are_none(tmp_path: Path, desk: Desk) -> None:
    (tmp_path / "junk").write_bytes(b"junk")
    for path in (tmp_path / "junk", tmp_path / "nothing", tmp_path, desk.pair.public):
        with pytest.raises(Misasked) as refused:
            sign("tiny", FILES, SigningKey(path))
        assert refused.value.code == "bad_signing_key"


def test_a_folder_of_anchors(tmp_path: Path, desk: Desk) -> None:
    assert not read_anchors(tmp_path / "nothing")
    trust = tmp_path / "trust"
    trust.mkdir()
    assert not read_anchors(trust)
    shutil.copy(desk.pair.public, trust)
    shutil.copy(Authority.make(tmp_path, "House").root, trust)
    (trust / "README").write_text("not an anchor")
    (trust / "sigstore.json").write_text("{}")
    with pytest.raises(IntramuralError) as refused:
        read_anchors(trust)
    assert refused.value.code == "bad_anchor"
    (trust / "sigstore-identities.json").write_text('[{"identity": "a@b", "issuer": "https://c"}]')
    found = read_anchors(trust)
    assert [len(found.keys), len(found.roots), len(found.identities)] == [1, 1, 1]
    assert verify(desk.sign(), FILES, found, now_s=NOW_S)


# without a network ----------------------------------------------------------------------------------------------------

_ALONE = """
import json, socket, sys
from pathlib import Path
from intramural.library.provenance import NamedDigest, anchors_from, verify
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except OSError as error:
    assert error.errno == 101, error  # the network is unreachable: there is none
else:
    raise SystemExit("there is a network")
bundle, anchor, now_s, *files = sys.argv[1:]
files = [NamedDigest(*each.split("=")) for each in files]
print(verify(Path(bundle).read_bytes(), files, anchors_from([Path(anchor)]), now_s=float(now_s)).kind)
"""


def test_without_a_network(tmp_path: Path, desk: Desk) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], check=False).returncode != 0:
        pytest.skip("this machine lets nobody make a network namespace")
    authority = Authority.make(tmp_path, "House")
    key, certificate = authority.certify("Model desk")
    files = [f"{each.name}={each.digest}" for each in FILES]
    for bundle, anchor, kind in (
        (desk.sign(), desk.pair.public, "key"),
        (sign("tiny", FILES, SigningKey(key, certificate)), authority.root, "certificate"),
    ):
        (tmp_path / "bundle").write_bytes(bundle)
        command = [unshare, "-rn", sys.executable, "-c", _ALONE, str(tmp_path / "bundle"), str(anchor), str(NOW_S)]
        done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == kind, done.stderr
