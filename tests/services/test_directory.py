"""Names and passwords held against a real OpenLDAP server, over TLS and StartTLS."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import databases
from tests.direct import direct
from tests.fakes import slapd, web
from tests.fakes.slapd import BASE, SERVICE, SERVICE_PASSWORD, Slapd, person

from intramural.access import Access
from intramural.access.ldap import BadBer, ber, messages
from intramural.access.passwords import Cost
from intramural.audit import AuditLog, Event
from intramural.core.clock import SystemClock
from intramural.core.config import AccessConfig, AuditConfig
from intramural.core.errors import (
    Broken,
    IntramuralError,
    Refused,
    Throttled,
    Unauthenticated,
    Unavailable,
    Untrusted,
)
from intramural.core.providers import LdapDirectory
from intramural.services.belonging import Belonging
from intramural.services.directory import Directory
from intramural.services.federation import Federation
from intramural.services.gate import Gate
from intramural.services.seating import Seat, Seating
from intramural.services.sign_in import SignIn

HOSTILE = [
    "*", "a*", "*)(uid=*", "ada)(|(uid=*", "ada)(objectClass=*", "(uid=ada)", "ada\\2a", "\\", "ada\\", "ada&",
    "ada)(&)", "|(uid=*)", "!(uid=x)", "uid=ada,ou=people," + BASE, "ada\x00", "\x00", "ada\x00)(uid=*", "ada\n",
    "\u202eada", "ädä", "a" * 100_000, "'; DROP TABLE people; --", "\ud800", "${jndi:ldap://x}", "ada bob", "<b>",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    if not slapd.UNPACKED.is_dir() and not shutil.which("slapd"):
        pytest.skip("there is no slapd: scripts/test-system unpacks it where apt-get is")
    people = (
        person("ada", "ada's own secret", "radiology", "it-staff"),
        person("bob", "bob's own secret"),
        person("star*", "the star's secret"),
        slapd.group("Radiology doctors", "ada", "star*"),
        slapd.group("Night shift", "bob"),
    )
    with slapd.running(tmp_path_factory.mktemp("slapd"), *people) as running:
        yield running


@pytest.fixture
def settings(server: Slapd) -> LdapDirectory:
    return LdapDirectory(
        "hospital", "Hospital", "127.0.0.1", server.tls_port, False, f"ou=people,{BASE}", SERVICE, SERVICE_PASSWORD,
        group_attribute="departmentNumber", ca_file=server.ca_file,
    )  # fmt: skip


async def test_who_knows_their_password_comes_in(settings: LdapDirectory) -> None:
    rules = replace(settings, roles=(("it-staff", "administrator"),), groups=(("radiology", "Radiology"),))
    ada = await Directory(rules, direct).arrival("ada", "ada's own secret")
    assert ada is not None
    assert (ada.username, ada.role, ada.groups) == ("ada", "administrator", ("Radiology",))
    assert (ada.issuer, len(ada.subject)) == (f"ldap:ou=people,{BASE}", 36)  # its entryUUID
    again = await Directory(settings, direct).arrival("ADA", "ada's own secret")  # the directory's own rule
    assert again is not None and (again.subject, again.username, again.role) == (ada.subject, "ada", None)
    bob = await Directory(settings, direct).arrival("bob", "bob's own secret")
    assert bob is not None and bob.subject != ada.subject


async def test_groups_are_looked_for_where_the_directory_keeps_them(settings: LdapDirectory) -> None:
    rules = replace(
        settings, group_base=f"ou=groups,{BASE}", group_attribute="memberOf", external_id_attribute="cn",
        external_id_source="sis", groups=(("Radiology doctors", "Radiology"), ("radiology", "no")),
        managers=((f"cn=Night shift,ou=groups,{BASE}", "Nights"),),
    )  # fmt: skip
    ada = await Directory(rules, direct).arrival("ada", "ada's own secret")
    assert ada is not None and (ada.groups, ada.manages, ada.known_as) == (("Radiology",), (), ("sis", "ada"))
    bob = await Directory(rules, direct).arrival("bob", "bob's own secret")
    assert bob is not None and (bob.groups, bob.manages) == (("Nights",), ("Nights",))
    star = await Directory(rules, direct).arrival("star*", "the star's secret")  # a star is a star here as well
    assert star is not None and star.groups == ("Radiology",)
    by_name = replace(rules, group_class="posixGroup", group_member="memberUid", group_name="description")
    nobody = await Directory(by_name, direct).arrival("bob", "bob's own secret")
    assert nobody is not None and nobody.groups == ()


async def test_who_does_not_stays_out(settings: LdapDirectory) -> None:
    directory = Directory(settings, direct)
    for name, password in (("ada", "bob's own secret"), ("ada", "x"), ("nobody", "x"), ("", "x"), ("ada", "a" * 5000)):
        assert await directory.arrival(name, password) is None


async def test_an_empty_password_is_never_sent(settings: LdapDirectory, server: Slapd) -> None:
    """This server says yes to one: it takes it for nobody's."""
    before = server.log.read_text()
    assert await Directory(settings, direct).arrival("ada", "") is None
    assert server.log.read_text() == before
    with pytest.raises(ValueError, match="proves nothing"):
        messages.bind(1, "cn=x", "")


async def test_no_name_asks_for_more_than_itself(settings: LdapDirectory) -> None:
    directory = Directory(settings, direct)
    for name in HOSTILE:
        for password in ("ada's own secret", "bob's own secret", "the star's secret"):
            assert await directory.arrival(name, password) is None, name
    star = await directory.arrival("star*", "the star's secret")  # a star is a star
    assert star is not None and star.username == "star*"


async def test_start_tls_is_as_good_and_clear_text_is_never_used(settings: LdapDirectory, server: Slapd) -> None:
    starting = replace(settings, port=server.plain_port, starts_tls=True)
    assert await Directory(starting, direct).arrival("ada", "ada's own secret") is not None
    assert server.log.read_text().count("STARTTLS") >= 2
    with pytest.raises((Untrusted, Unavailable)):  # TLS spoken to the port that begins in clear
        await Directory(replace(settings, port=server.plain_port), direct).arrival("ada", "ada's own secret")


async def test_a_directory_that_is_not_who_it_should_be(settings: LdapDirectory, server: Slapd, tmp_path: Path) -> None:
    _, other = web.certificate(tmp_path, "127.0.0.1")
    for wrong in (
        replace(settings, ca_file=other),
        replace(settings, ca_file=None),
        replace(settings, host="localhost"),  # its certificate is for the address
        replace(settings, ca_file=other, port=server.plain_port, starts_tls=True),
    ):
        with pytest.raises(Untrusted) as caught:
            await Directory(wrong, direct).arrival("ada", "ada's own secret")
        assert caught.value.code == "directory_certificate_wrong"


async def test_our_own_mistakes_are_ours(settings: LdapDirectory) -> None:
    for wrong in (
        replace(settings, bind_password="wrong"),
        replace(settings, base="dc=elsewhere"),
        replace(settings, id_attribute="employeeNumber"),
    ):
        try:
            assert await Directory(wrong, direct).arrival("ada", "ada's own secret") is None
        except Broken as error:
            assert error.code == "directory_bad_answer"
        else:
            assert wrong.base == "dc=elsewhere"  # nobody is there
    with pytest.raises(Refused) as caught:
        await Directory(replace(settings, required=("surgery",)), direct).arrival("ada", "ada's own secret")
    assert caught.value.code == "not_admitted"


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x30\x80\x02\x01\x01\x00\x00", b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x83\xff\xff\xff", b"\x30\x05\x02\x01\x07\x61\x00", b"\x30\x05\x02\x01\x01\x61\x00",
        b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00", b"\x00" * 64,
        b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00" * 40,
    ],
)  # fmt: skip
async def test_garbage_is_no_yes(settings: LdapDirectory, tmp_path: Path, answer: bytes) -> None:
    context, trusted = web.certificate(tmp_path, "127.0.0.1")

    async def lie(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(answer)
            await writer.drain()
            writer.close()

    listening = await asyncio.start_server(lie, "127.0.0.1", 0, ssl=context)
    liar = replace(settings, port=listening.sockets[0].getsockname()[1], ca_file=trusted)
    with pytest.raises((Broken, Unavailable)):
        await Directory(liar, direct).arrival("ada", "x")
    listening.close()


async def test_nobody_there(settings: LdapDirectory) -> None:
    with pytest.raises(IntramuralError) as caught:
        await Directory(replace(settings, port=1), direct).arrival("ada", "x")
    assert caught.value.code == "directory_unreachable"


async def test_signing_in_by_a_directory(settings: LdapDirectory, tmp_path: Path) -> None:
    clock = SystemClock()
    db = await databases.opened(tmp_path / "intramural.db")
    audit = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), clock)
    access = await Access.open(db, tmp_path / "secrets", AccessConfig(), clock, cost=Cost(1, 64, 1))
    gate, seating = Gate(audit), Seating(access.sessions, access.factors)
    federation = Federation(
        gate, access.people, access.identities, access.sessions, access.setup, seating,
        Belonging(access.groups, access.external, access.identities), audit, access.oidc, [], clock,
    )  # fmt: skip
    directories = [Directory(replace(settings, roles=(("it-staff", "auditor"),)), direct)]
    sign_in = SignIn(gate, access.people, access.sessions, access.setup, seating, audit, federation, directories)

    async def by(name: str, password: str) -> Seat:
        return await sign_in.sign_in(name, password, "10.0.0.1", "a browser")

    with pytest.raises(Refused):  # nobody here is responsible yet
        await by("ada", "ada's own secret")
    async with db.writing() as connection:
        hashed = await access.people.hash_new("bob", "a sentence nobody guesses")
        bob = await access.people.create(connection, "bob", hashed, "administrator")
    seat = await by("ada", "ada's own secret")
    assert (seat.proven.person.username, seat.proven.person.role) == ("ada", "auditor")
    assert (seat.session.method, seat.session.awaits) == ("ldap", None)
    assert (await by("ADA", "ada's own secret")).proven.person.id == seat.proven.person.id
    assert (await by("bob", "a sentence nobody guesses")).proven.person.id == bob.id
    wrong = [("bob", "bob's own secret"), ("ada", "wrong"), ("ada", ""), ("*", "x"), ("ada)(uid=*", "ada's own secret")]
    for name, password in wrong:  # bob has a password here, so the directory's is none
        with pytest.raises(Unauthenticated) as caught:
            await by(name, password)
        assert caught.value.code == "sign_in_failed"
    failed = [e for e in await audit.entries() if e.event == Event.LOGIN_FAILED]
    assert len(failed) == len(wrong)
    for _ in range(20):
        with pytest.raises((Unauthenticated, Throttled)) as refused:
            await by("ada", "wrong")
    assert refused.value.code == "too_many_attempts"
    await access.close()
    await audit.close()
    await db.close()


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadBer):
        said = messages.operation(data, 1)
        messages.result(said)
    with contextlib.suppress(BadBer):
        messages.entry(ber.Value(0x64, data))


@given(st.text(max_size=300), st.integers(0, 2**31 - 1))
def test_what_is_written_is_read_again(text: str, number: int) -> None:
    text = text.encode(errors="replace").decode()
    parts = ber.read(ber.element(ber.SEQUENCE, ber.octets(text), ber.integer(number))).parts()
    assert (parts[0].content.decode(), parts[1].number()) == (text, number)
