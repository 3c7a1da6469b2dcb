"""PostgreSQL, from version 15 on.

Writers are served one at a time here too: each transaction takes one lock of the database first. Rooms count before
they insert, and the audit log is one chain; both are right because nobody writes in between. What one writer costs is
in decision 0016.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from sqlalchemy import Select, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from intramural.core.errors import Conflicting, Misasked, Refused, Unavailable
from intramural.storage import revision
from intramural.storage.backend import BlockingConnection, Connection, Result

if TYPE_CHECKING:
    import asyncpg

OLDEST_VERSION = 150_000
#: Connections for readers and the writer, and as many again in a rush; a server allows 100 unless told otherwise.
_CONNECTIONS = 8
#: Connections that do nothing but look up.
_LOOKING = 4
#: Advisory locks are numbers; these are `intr` and what for.
_WRITER_LOCK = 0x696E_7472_0001
_SERVICE_LOCK = 0x696E_7472_0002
_TAKE_WRITER_LOCK = f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})"
_SETTINGS = {
    "application_name": "intramural",
    "jit": "off",  # compiling a query takes longer than any of ours
    "lock_timeout": "10s",  # as long as SQLite waits for its lock
    "synchronous_commit": "on",
}
#: A server that does not answer a statement for this long is taken for gone.
_TIMEOUT_S = 60.0
_LOOK_UP_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 10.0
#: Classes of SQLSTATE that say that the server, not the statement, is at fault.
_SERVERS_FAULT = frozenset({"08", "25", "28", "3D", "53", "54", "55", "57", "58", "F0", "XX"})
_SQL_TEXT_ORDER = re.compile(r"(C|POSIX|C\.UTF-?8)", re.IGNORECASE)


class Postgres:
    """An open database of a server. Every method is described where it is used: at `Database`."""

    def __init__(self, url: str, engine: AsyncEngine, looking: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._url = url
        self._engine = engine
        self._snapshots = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._looking = looking
        self._texts: dict[Select[Any], str] = {}
        # Asking here first keeps the wait fair, and a connection free for those who read.
        self._writer = asyncio.Lock()
        self._claim: asyncpg.Connection[asyncpg.Record] | None = None

    @classmethod
    async def open(cls, url: str) -> "Postgres":
        """Open the database that `url` names, making its tables where they are missing."""
        import asyncpg

        await migrate(url, revision.MIGRATIONS)
        looking = await asyncpg.create_pool(
            url, min_size=1, max_size=_LOOKING, reset=_nothing, command_timeout=_LOOK_UP_TIMEOUT_S, **_arguments(url)
        )
        return cls(url, _engine(url), looking)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        async with _connected(self._snapshots) as connection:
            yield connection

    async def look_up(self, query: Select[Any], *values: Any) -> SimpleNamespace | None:
        """On connections of its own, past SQLAlchemy: one statement that the server has prepared, 0.1 ms."""
        import asyncpg

        text = self._texts.get(query)
        if text is None:
            text = self._texts[query] = str(query.compile(self._engine.sync_engine))
        given = [storable(value) for value in values]
        try:
            try:
                row = await self._looking.fetchrow(text, *given)
            except (asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError):
                row = await self._looking.fetchrow(text, *given)  # the server was restarted: the next is a new one
        except (asyncpg.InterfaceError, asyncpg.PostgresError, OSError) as error:
            raise _gone() from error
        return None if row is None else SimpleNamespace(**row)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        async with self._writer, _connected(self._engine) as connection:
            await connection.exec_driver_sql(_TAKE_WRITER_LOCK)
            yield connection
            await connection.commit()

    async def write(self, work: Callable[[BlockingConnection], Result]) -> Result:
        """`work`'s statements run on the loop: where it waits for one, others go on."""
        async with self._writer, _connected(self._engine) as connection:
            return await connection.run_sync(partial(_transact, work))

    async def scrub(self, *, whole: bool) -> bool:
        """Old versions of rows are freed at once, not some time later; `whole` writes the tables anew."""
        import asyncpg

        connection = await asyncpg.connect(self._url, **_arguments(self._url))
        try:
            await connection.execute("VACUUM FULL" if whole else "VACUUM")
        finally:
            await connection.close()
        return True

    async def claim(self) -> None:
        """A lock that the server holds as long as this connection lasts."""
        import asyncpg

        self._claim = await asyncpg.connect(self._url, **_arguments(self._url))
        if not await self._claim.fetchval(f"SELECT pg_try_advisory_lock({_SERVICE_LOCK})"):
            raise Conflicting(
                "database_in_use", "Another intramural service uses this database.", "Stop it, or use another database."
            )

    async def close(self) -> None:
        async with self._writer:
            if self._claim is not None:
                await self._claim.close()
            await self._looking.close()
            await self._engine.dispose()


async def migrate(url: str, migrations: Path) -> None:
    """Bring the tables up to date, all or nothing. Raises as `Database.open`."""
    async with _short_lived(url) as engine:
        try:
            async with _connected(engine) as connection:
                await connection.run_sync(_require_fit)
                if await connection.run_sync(revision.is_current, migrations):
                    return
                await connection.exec_driver_sql(_TAKE_WRITER_LOCK)
                if not await connection.run_sync(revision.is_current, migrations):  # nobody else was faster
                    await connection.run_sync(revision.upgrade, migrations)
                await connection.commit()
        except OperationalError as error:
            raise _unreachable(url, error) from error


async def read_apart(url: str, work: Callable[[BlockingConnection], Result]) -> Result:
    """`work` on one state of the database, over a connection of its own."""
    async with reading_apart(url) as connection:
        return await connection.run_sync(work)


@asynccontextmanager
async def reading_apart(url: str) -> AsyncIterator[Connection]:
    """One state of the database, over a connection of its own. Raises Unavailable(`database_unreachable`)."""
    async with _short_lived(url) as engine, AsyncExitStack() as stack:
        readers = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        try:
            connection = await stack.enter_async_context(_connected(readers))
        except OperationalError as error:
            raise _unreachable(url, error) from error
        yield connection


@asynccontextmanager
async def filling(url: str) -> AsyncIterator[Connection]:
    """A transaction on a database that nobody here has open, its tables up to date."""
    await migrate(url, revision.MIGRATIONS)
    async with _short_lived(url) as engine, _connected(engine) as connection:
        await connection.exec_driver_sql(_TAKE_WRITER_LOCK)
        yield connection
        await connection.commit()


def storable(value: Any) -> Any:
    """PostgreSQL's text holds every character but U+0000: in its place it gets U+FFFD, as what cannot be text does."""
    return value.replace("\x00", "\ufffd") if isinstance(value, str) and "\x00" in value else value


def without_password(url: str) -> str:
    """The address without its password."""
    parts = urlsplit(url)
    before, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{before.partition(':')[0]}{at}{host}").geturl()


@asynccontextmanager
async def _short_lived(url: str) -> AsyncIterator[AsyncEngine]:
    engine = _engine(url, timeout_s=None)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[Connection]:
    """A connection; that there is none is the same error as that it broke."""
    async with AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(engine.connect())
        except OSError as error:
            raise OperationalError("(connecting)", None, error) from error
        yield connection


def _transact(work: Callable[[BlockingConnection], Result], connection: BlockingConnection) -> Result:
    connection.exec_driver_sql(_TAKE_WRITER_LOCK)
    result = work(connection)
    connection.commit()
    return result


def _engine(url: str, timeout_s: float | None = _TIMEOUT_S) -> AsyncEngine:
    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        import asyncpg

        return await asyncpg.connect(url, command_timeout=timeout_s, **_arguments(url))

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=_CONNECTIONS,
        max_overflow=_CONNECTIONS,
        hide_parameters=True,  # what people wrote is in no error, and so in no log of the service's
    )
    event.listen(engine.sync_engine, "checkout", _require_open)
    event.listen(engine.sync_engine, "handle_error", _servers_fault)
    event.listen(engine.sync_engine, "before_cursor_execute", _made_storable, retval=True)
    return engine


def _arguments(url: str) -> dict[str, Any]:
    """What every connection is made with. Over a network the server must prove who it is, unless the URL says else."""
    try:
        parts = urlsplit(url)
        options = parse_qs(parts.query)
        hosts = options.get("host", [unquote(parts.hostname or "")])
    except ValueError as error:
        raise _bad_address(str(error)) from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise _bad_address("It does not begin with postgresql://.")
    given: dict[str, Any] = {"server_settings": _SETTINGS, "timeout": _CONNECT_TIMEOUT_S}
    if "sslmode" not in options and not all(map(_is_here, hosts)):
        given["ssl"] = "verify-full"
    return given


def _is_here(host: str) -> bool:
    if host in ("", "localhost") or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _require_fit(connection: BlockingConnection) -> None:
    """Raises Refused(`database_unfit`) where this database could not keep what `storage` promises."""
    query = (
        "SELECT current_setting('server_version_num')::int, current_setting('fsync'), "
        "current_setting('full_page_writes'), pg_encoding_to_char(encoding), datlocprovider::text, datcollate "
        "FROM pg_database WHERE datname = current_database()"
    )
    version, fsync, whole_pages, encoding, provider, collation = connection.exec_driver_sql(query).one()
    if version < OLDEST_VERSION:
        raise _unfit("The server is older than PostgreSQL 15.", "Use a newer one.")
    if fsync != "on" or whole_pages != "on":
        message = "The server may lose what it has confirmed: `fsync` or `full_page_writes` is off."
        raise _unfit(message, "Turn both on in postgresql.conf.")
    if encoding != "UTF8" or provider != "c" or not _SQL_TEXT_ORDER.fullmatch(collation):
        raise _unfit(
            f"The database has the encoding {encoding} and sorts text by {collation}.",
            "Make one with: CREATE DATABASE intramural TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'.",
        )


def _require_open(connection: Any, _record: Any, _proxy: Any) -> None:
    """A connection that the server has closed since (a restart) is not handed out."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _servers_fault(context: ExceptionContext) -> BaseException | None:
    """The driver has one class for nearly all errors; rooms tell a database that is not there from a wrong row."""
    error = context.sqlalchemy_exception
    if not isinstance(error, DBAPIError) or isinstance(error, OperationalError):
        return None
    state = getattr(error.orig, "sqlstate", None)
    if context.is_disconnect or (state is not None and state[:2] in _SERVERS_FAULT):
        return OperationalError(context.statement, None, context.original_exception)
    return None


def _made_storable(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool
) -> tuple[str, Any]:
    if executemany:
        return statement, [tuple(map(storable, each)) for each in parameters]
    return statement, tuple(map(storable, parameters))


async def _nothing(_connection: Any) -> None:
    """Look-ups leave nothing behind that would have to be reset."""


def _bad_address(why: str) -> Misasked:
    return Misasked(
        "bad_database", f"This is not a database's address. {why}", "Write postgresql://user@host/name, see docs."
    )


def _unfit(message: str, hint: str) -> Refused:
    return Refused("database_unfit", message, hint)


def _unreachable(url: str, error: OperationalError) -> Unavailable:
    return Unavailable(
        "database_unreachable",
        f"The database {without_password(url)} cannot be opened: {error.orig}",
        "Is the server running, does the database exist, and may this user use it?",
    )


def _gone() -> Unavailable:
    return Unavailable("database_unreachable", "The database does not answer.", "Look at the database server.")
