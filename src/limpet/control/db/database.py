"""Connections and transactions.

SQLite runs in WAL mode with a busy time-out; a writing transaction takes the write lock when it
begins (`BEGIN IMMEDIATE`), so that none fails half way because another one wrote in between.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)

from limpet.errors import LimpetError

BUSY_TIMEOUT_MS = 10_000
_BEGIN = "limpet_begin"
_PRAGMAS = (
    f"busy_timeout = {BUSY_TIMEOUT_MS}",
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
)


class DatabaseUnusableError(LimpetError):
    """The database cannot be opened, read or written now."""

    code = "database_unusable"
    status = 503


class Database:
    """An engine and the two kinds of transaction on it. Close it when done."""

    def __init__(self, url: str) -> None:
        self._engine = create_async_engine(url, pool_pre_ping=not url.startswith("sqlite"))
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.sqlite_path = parsed.database if self.is_sqlite else None
        if self.is_sqlite:
            _use_sqlite_well(self._engine)
        self._reader = self._engine.execution_options(**{_BEGIN: "BEGIN DEFERRED"})

    @property
    def engine(self) -> AsyncEngine:
        """For migrations and checks."""
        return self._engine

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A writing transaction: committed at the end of the block, rolled back when it raises.

        Keep it short: with SQLite it holds the only write lock. Objects stay readable afterwards.
        `DatabaseUnusableError` when the disk is full or fails, or the lock cannot be had in time.
        """
        with _understood():
            async with (
                AsyncSession(self._engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A transaction that only reads; with SQLite it never waits for a writer."""
        with _understood():
            async with AsyncSession(
                self._reader, expire_on_commit=False, autoflush=False
            ) as session:
                yield session

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A bare writing transaction, for migrations and checks."""
        async with self._engine.begin() as connection:
            yield connection

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise DatabaseUnusableError(
            f"The database cannot be used now: {error.orig}",
            hint="Check that its disk has room; nothing was changed.",
        ) from error


def _use_sqlite_well(engine: AsyncEngine) -> None:
    """Let us, not the driver, say how transactions begin, and set what each connection needs."""

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(dbapi_connection: Any, _record: object) -> None:
        try:
            dbapi_connection.isolation_level = None
            cursor = dbapi_connection.cursor()
            for pragma in _PRAGMAS:
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()
        except BaseException:
            dbapi_connection.close()  # the pool would leave it, and its thread, behind
            raise

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql(str(options.get(_BEGIN, "BEGIN IMMEDIATE")))
