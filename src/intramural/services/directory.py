"""Asking an LDAP directory whose name and password these are: encrypted, bounded, and nothing else of it.

The only code that asks one. What is sent is made by `access.ldap`; a filter is never text there.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from intramural.access.ldap import BadBer, Found, bind, entry, result, search, start_tls, unbind
from intramural.access.ldap import ber as ber_rules
from intramural.access.ldap.messages import BOUND, DONE, ENTRY, EXTENDED, INVALID_CREDENTIALS, REFERENCE, SUCCESS
from intramural.access.ldap.messages import operation as operation_of
from intramural.access.oidc.claims import MAX_GROUPS, Arrival, admit, groups_not_told, groups_of, known_as, role_of
from intramural.core.errors import Broken, IntramuralError, Unavailable, Untrusted
from intramural.core.outward import Connect, opened
from intramural.core.providers import LdapDirectory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from intramural.access.ldap.ber import Value

_TIMEOUT_S = 10.0
#: Of one message: an entry with all the groups of somebody who is in thousands.
_MAX_MESSAGE_BYTES = 2 << 20
_MAX_MESSAGES = 16


class Directory:
    """One directory, as sign-in.toml describes it. Each question has connections of its own, made by `connect`."""

    def __init__(self, settings: LdapDirectory, connect: Connect) -> None:
        self.settings = settings
        self._connect = connect
        self._context: ssl.SSLContext | None = None

    async def arrival(self, username: str, password: str) -> Arrival | None:
        """Whose name and password these are; None where they are nobody's, or the password is empty.

        Raises Unavailable(`directory_unreachable`), Untrusted(`directory_certificate_wrong`),
        Broken(`directory_bad_answer`), Refused(`not_admitted`).
        """
        if not username or not password or not (_is_text(username) and _is_text(password)):
            return None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                found = await self._find(username)
                if found is None or not await self._is_theirs(found, password):
                    return None
                held = frozenset(found.texts(self.settings.group_attribute)) | await self._groups(found)
        except ssl.SSLError as error:
            message = f"{self.settings.title} does not prove that it is {self.settings.host}."
            hint = "An administrator has to mend its certificate, or name its authority in sign-in.toml (`ca_file`)."
            raise Untrusted("directory_certificate_wrong", message, hint) from error
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            message = f"{self.settings.title} cannot be reached from here."
            hint = "Try again in a moment."
            raise Unavailable("directory_unreachable", message, hint, retry_after_s=5) from error
        except BadBer as error:
            raise self._bad(f"does not answer as a directory does: {error}") from error
        return self._arrival(found, held)

    def _arrival(self, found: Found, held: frozenset[str]) -> Arrival:
        settings = self.settings
        subject = found.identifier(settings.id_attribute)
        if not subject:
            raise self._bad(f"has no {settings.id_attribute} for this person")
        admit(held, settings.required, settings.title)
        names = found.texts(settings.username_attribute)
        return Arrival(
            provider=settings.name,
            issuer=settings.issuer,
            subject=subject,
            username=names[0] if names else "",
            role=role_of(held, settings.roles, settings.default_role),
            first_role=settings.default_role,
            groups=groups_of(held, settings.groups + settings.managers),
            manages=groups_of(held, settings.managers),
            known_as=known_as(found.identifier(settings.external_id_attribute), settings.external_id_source),
        )

    async def _groups(self, found: Found) -> frozenset[str]:
        """Names of the groups that the directory has this person in, where it is to be asked for them."""
        settings = self.settings
        if not settings.group_base:
            return frozenset()
        names = found.texts(settings.username_attribute)
        member = (names[0] if names else "") if settings.group_member.lower() == "memberuid" else found.name
        if not member:
            return frozenset()
        matches = {"objectClass": settings.group_class, settings.group_member: member}
        async with self._bound() as link:
            entries = await link.search(settings.group_base, matches, (settings.group_name,), MAX_GROUPS)
        if len(entries) >= MAX_GROUPS:
            raise groups_not_told(settings.title)
        return frozenset(name for each in entries for name in (*each.texts(settings.group_name), each.name))

    async def _find(self, username: str) -> Found | None:
        """The one entry of this name; None where there is none, or more than one."""
        settings = self.settings
        matches = {"objectClass": settings.object_class, settings.username_attribute: username}
        wanted = [settings.username_attribute, settings.id_attribute, settings.group_attribute]
        if settings.external_id_attribute:
            wanted.append(settings.external_id_attribute)
        async with self._bound() as link:
            entries = await link.search(settings.base, matches, wanted, 2)
        return entries[0] if len(entries) == 1 and entries[0].name else None

    @asynccontextmanager
    async def _bound(self) -> "AsyncIterator[_Link]":
        """A connection that may look for people and groups."""
        settings = self.settings
        async with self._connected() as link:
            if settings.bind_dn and settings.bind_password:
                code = await link.bind(settings.bind_dn, settings.bind_password)
                if code != SUCCESS:
                    raise self._bad(f"does not let this service in (LDAP result {code})")
            yield link

    async def _is_theirs(self, found: Found, password: str) -> bool:
        async with self._connected() as link:
            code = await link.bind(found.name, password)
        if code not in (SUCCESS, INVALID_CREDENTIALS, 19, 32, 48, 50, 53):  # locked, gone, not this way, no right to
            raise self._bad(f"says neither yes nor no (LDAP result {code})")
        return code == SUCCESS

    @asynccontextmanager
    async def _connected(self) -> "AsyncIterator[_Link]":
        settings = self.settings
        tls = await self._tls()
        loop = asyncio.get_running_loop()
        made = await self._reached()
        if settings.starts_tls:
            reader, writer = await opened(made)
            try:
                plain = _Link(reader, writer)
                if (await plain.start_tls()) != SUCCESS:
                    raise self._bad("does not encrypt")
                # A reader of its own: what came before the encryption, whoever sent it, is not read after it.
                fresh = asyncio.StreamReader()
                protocol = asyncio.StreamReaderProtocol(fresh)
                transport = await loop.start_tls(writer.transport, protocol, tls, server_hostname=settings.host)
            except BaseException:
                writer.transport.abort()
                raise
            assert transport is not None, "only a connection that was closed has none"
            protocol.connection_made(transport)
            reader, writer = fresh, asyncio.StreamWriter(transport, protocol, fresh, loop)
        else:
            reader, writer = await opened(made, tls, settings.host)
        link = _Link(reader, writer)
        try:
            yield link
            link.leave()
        finally:
            writer.transport.abort() if link.broken else writer.close()

    async def _reached(self) -> socket.socket:
        """Who signs in is not told what the list of the way out says; administrators see it in the ledger."""
        try:
            return await self._connect(self.settings.host, self.settings.port, _TIMEOUT_S)
        except IntramuralError as error:
            message = f"{self.settings.title} cannot be reached from here: {error.code}."
            hint = "An administrator sees why with `intramural egress ledger`."
            raise Unavailable("directory_unreachable", message, hint, retry_after_s=5) from error

    async def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            file = self.settings.ca_file
            self._context = await asyncio.to_thread(
                ssl.create_default_context, cafile=None if file is None else str(file)
            )
        return self._context

    def _bad(self, what: str) -> Broken:
        hint = "An administrator has to compare sign-in.toml with the directory's settings."
        return Broken("directory_bad_answer", f"{self.settings.title} {what}.", hint)


def _is_text(given: str) -> bool:
    """Whether UTF-8 can hold it, and it has no NUL, at which some directories stop reading."""
    try:
        return b"\0" not in given.encode()
    except UnicodeEncodeError:
        return False


class _Link:
    """One connection: a question, then its answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0
        self.broken = False

    async def bind(self, name: str, password: str) -> int:
        self._number += 1
        self._writer.write(bind(self._number, name, password))
        return await self._result(BOUND)

    async def start_tls(self) -> int:
        self._number += 1
        self._writer.write(start_tls(self._number))
        return await self._result(EXTENDED)

    async def search(self, base: str, matches: dict[str, str], attributes: Sequence[str], most: int) -> list[Found]:
        """At most `most` entries, though there may be more."""
        self._number += 1
        self._writer.write(search(self._number, base, matches, attributes, most))
        found: list[Found] = []
        for _ in range(most + _MAX_MESSAGES):
            said = await self._said()
            if said.tag == ENTRY:
                found.append(entry(said))
            elif said.tag == DONE:
                code = result(said).code
                if code not in (SUCCESS, 4, 32):  # 4: there are more than that; 32: nothing is there
                    raise BadBer(f"the search failed (LDAP result {code})")
                return found
            elif said.tag != REFERENCE:
                raise BadBer("something else than was asked for")
        raise BadBer("an answer without end")

    def leave(self) -> None:
        self._writer.write(unbind(self._number + 1))

    async def _result(self, kind: int) -> int:
        said = await self._said()
        if said.tag != kind:
            raise BadBer("something else than was asked for")
        return result(said).code

    async def _said(self) -> "Value":
        self.broken = True
        start = await self._reader.readexactly(2)
        while (sizes := ber_rules.head_size(start)) is None:
            start += await self._reader.readexactly(1)
        if sizes[1] > _MAX_MESSAGE_BYTES:
            raise BadBer("a message without end")
        said = operation_of(start + await self._reader.readexactly(sizes[1]), self._number)
        self.broken = False
        return said
