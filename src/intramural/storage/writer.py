"""SQLite's writer: one thread, one connection that stays open, and one hop to it for a whole transaction.

`run_in_executor` and a connection from the pool for each transaction cost 0.1 ms of processor more than the statements
of an audit event; every request has two of those.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

from sqlalchemy import Engine

from intramural.storage.backend import BlockingConnection, Result
from intramural.storage.plain import errors_of

_BEGIN = "BEGIN IMMEDIATE"


class Writer:
    """Runs blocking work on its thread, one after the other. `close` it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: BlockingConnection | None = None
        self._closed = False
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def transaction(self, work: Callable[[BlockingConnection], Result]) -> Result:
        """What `work` returns, once all it wrote is durable. What it raises undoes it. Runs to its end even if whoever
        asked for it is cancelled."""
        return await self.run(partial(self._transact, work))

    async def run(self, work: Callable[[], Result]) -> Result:
        """`work` on the thread."""
        if self._closed:
            raise RuntimeError("the database is closed")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()

        def job() -> None:
            try:
                told = partial(_answer, done, work())
            except BaseException as error:  # noqa: BLE001 (it is raised where the work was asked for)
                told = partial(_fail, done, error)
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(told)

        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="database-writer", daemon=True)
            self._thread.start()
        self._jobs.put(job)
        return await done

    def close(self) -> None:
        """Wait for what was begun, then end the thread."""
        self._closed = True
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
        self._disconnect()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _transact(self, work: Callable[[BlockingConnection], Result]) -> Result:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._engine.connect()
        driver: Any = connection.connection.dbapi_connection
        try:
            with errors_of(connection, _BEGIN):
                driver.execute(_BEGIN)
            result = work(connection)
            if connection.in_transaction():  # some statement went through SQLAlchemy, which has to know of the end
                connection.commit()
            else:
                with errors_of(connection, "COMMIT"):
                    driver.commit()
        except BaseException:
            self._disconnect()  # which undoes all of it
            raise
        return result

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _answer(done: "asyncio.Future[Result]", result: Result) -> None:
    if not done.done():  # done: whoever asked was cancelled
        done.set_result(result)


def _fail(done: "asyncio.Future[Any]", error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
