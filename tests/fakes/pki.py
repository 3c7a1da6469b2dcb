"""Keys and certificates made for one test, as PEM files."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Certificates are made valid around this moment: 2030-01-01.
NOW_S = 1_893_456_000.0
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A private key and its public one."""

    private: Path
    public: Path


def key_pair(folder: Path, name: str, curve: ec.EllipticCurve | None = None) -> Pair:
    key = ec.generate_private_key(curve or ec.SECP256R1())
    return _written(key, folder, name)


def other_key(folder: Path, kind: str) -> Pair:
    """A key that the format does not know: `ed25519`, `rsa` or `secp256k1`."""
    if kind == "ed25519":
        return _written(ed25519.Ed25519PrivateKey.generate(), folder, kind)
    if kind == "rsa":
        return _written(rsa.generate_private_key(65537, 2048), folder, kind)
    return key_pair(folder, kind, ec.SECP256K1())


def _written(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey, folder: Path, name: str
) -> Pair:
    pair = Pair(folder / f"{name}.key", folder / f"{name}.pem")
    encoding = serialization.Encoding.PEM
    pair.private.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    pair.public.write_bytes(key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo))
    return pair


@dataclass(frozen=True)
class Authority:
    """A root that certifies signers."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    root: Path

    @classmethod
    def make(cls, folder: Path, name: str, days: tuple[float, float] = (-365, 3650)) -> "Authority":
        key = ec.generate_private_key(ec.SECP384R1())
        builder = _builder(name, name, key.public_key(), days)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        certificate = builder.sign(key, hashes.SHA256())
        root = folder / f"{name}-root.pem"
        root.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, name, key, certificate, root)

    def certify(
        self, name: str, *, days: tuple[float, float] = (-1, 30), use: x509.ObjectIdentifier | None = None
    ) -> tuple[Path, Path]:
        """A signer's key file and certificate file; valid from `days[0]` to `days[1]` after NOW_S."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = _builder(name, self.name, key.public_key(), days)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([use or ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
        )
        certificate = builder.sign(self.key, hashes.SHA256())
        file = self.folder / f"{name}.crt"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return _written(key, self.folder, name).private, file


def _builder(
    name: str, issuer: str, key: ec.EllipticCurvePublicKey, days: tuple[float, float]
) -> x509.CertificateBuilder:
    now = datetime.datetime.fromtimestamp(NOW_S, datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * _DAY)
        .not_valid_after(now + days[1] * _DAY)
    )
