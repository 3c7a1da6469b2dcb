"""A real OpenLDAP server on loopback with TLS, started for one test file; `scripts/test-system` unpacks it."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fakes import web

UNPACKED = Path(__file__).parents[2] / ".tools/slapd"
BASE = "dc=hospital,dc=example"
SERVICE, SERVICE_PASSWORD = f"cn=intramural,{BASE}", "the service's own secret"

#: People's passwords are told in clear so that a test can read them; slapd hashes nothing by itself.
_ENTRIES = f"""
dn: {BASE}
objectClass: dcObject
objectClass: organization
o: Hospital

dn: ou=people,{BASE}
objectClass: organizationalUnit

dn: ou=groups,{BASE}
objectClass: organizationalUnit

dn: {SERVICE}
objectClass: applicationProcess
objectClass: simpleSecurityObject
userPassword: {SERVICE_PASSWORD}
"""
_PERSON = """
dn: uid={uid},ou=people,{base}
objectClass: inetOrgPerson
cn: {uid}
sn: {uid}
userPassword: {password}
"""


def person(uid: str, password: str, *groups: str) -> str:
    """An entry in LDIF. Groups are in `departmentNumber`: memberOf needs an overlay, and is read the same way."""
    return _PERSON.format(uid=uid, base=BASE, password=password) + "".join(f"departmentNumber: {g}\n" for g in groups)


def group(name: str, *uids: str) -> str:
    """A group in LDIF, with these people in it."""
    members = "".join(f"member: uid={uid},ou=people,{BASE}\n" for uid in uids)
    return f"\ndn: cn={name},ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: {name}\n{members}"


@dataclass(frozen=True)
class Slapd:
    """A running directory: one port speaks TLS at once, the other after StartTLS."""

    tls_port: int
    plain_port: int
    ca_file: Path
    log: Path


@contextlib.contextmanager
def running(folder: Path, *people: str) -> Iterator[Slapd]:
    """Started with `people`, as `person` writes them; stopped at the end."""
    _, certificate = web.certificate(folder, "127.0.0.1")
    libraries = [
        UNPACKED / "usr/lib",
        *(UNPACKED / "usr/lib").glob("*-linux-gnu"),
        *(UNPACKED / "lib").glob("*-linux-gnu"),
    ]
    environ = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, libraries))}
    config, ldif, log = folder / "slapd.conf", folder / "entries.ldif", folder / "slapd.log"
    (folder / "db").mkdir()
    schemas = UNPACKED / "etc/ldap/schema"
    config.write_text(
        f"""
include {schemas}/core.schema
include {schemas}/cosine.schema
include {schemas}/inetorgperson.schema
modulepath {UNPACKED}/usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {certificate}
TLSCertificateKeyFile {folder}/key.pem
allow bind_anon_cred bind_anon_dn
pidfile {folder}/slapd.pid
database mdb
suffix "{BASE}"
directory {folder}/db
access to attrs=userPassword by anonymous auth
access to * by dn.exact="{SERVICE}" read by * none
"""
    )
    ldif.write_text(_ENTRIES + "".join(people))
    slapd = shutil.which("slapd") or str(UNPACKED / "usr/sbin/slapd")
    subprocess.run([slapd, "-T", "add", "-f", str(config), "-l", str(ldif)], env=environ, check=True, timeout=60)
    tls_port, plain_port = _free(), _free()
    addresses = f"ldaps://127.0.0.1:{tls_port} ldap://127.0.0.1:{plain_port}"
    with log.open("w") as out:
        process = subprocess.Popen(
            [slapd, "-h", addresses, "-f", str(config), "-d", "stats"], env=environ, stdout=out, stderr=out
        )
    try:
        _wait(plain_port, process, log)
        yield Slapd(tls_port, plain_port, certificate, log)
    finally:
        process.terminate()
        process.wait(30)


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
