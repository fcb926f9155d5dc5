"""Bringing the database's tables to what this version of the code needs, at every start.

A database that is there already, which nearly every start finds, is told by one query: Alembic and
the migrations are a fifth of what a server imports.
"""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DatabaseError, OperationalError

from limpet.control.db.database import BUSY_TIMEOUT_MS, Database, DatabaseUnusableError
from limpet.errors import LimpetError

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


class DatabaseTooNewError(LimpetError):
    """A newer version of Limpet has used this database."""

    code = "database_too_new"


class DatabaseDamagedError(LimpetError):
    """The database file is not one, or its pages are damaged."""

    code = "database_damaged"


async def migrate(database: Database) -> None:
    """Check the database and run what migrations it lacks, all or none of them.

    Raises `DatabaseDamagedError`, `DatabaseTooNewError` or `DatabaseUnusableError`; the database
    is then as it was.
    """
    try:
        if database.sqlite_path is not None:
            await asyncio.to_thread(_check_file, database.sqlite_path)
        async with database.connection() as connection:
            if not await connection.run_sync(_is_newest):
                await connection.run_sync(_upgrade)
    except (sqlite3.OperationalError, OperationalError) as error:
        raise DatabaseUnusableError(
            f"The database cannot be used: {getattr(error, 'orig', error)}",
            hint="Check that its folder can be written and that no other program holds it.",
        ) from error
    except (sqlite3.DatabaseError, DatabaseError) as error:
        raise _damaged(str(getattr(error, "orig", error))) from error


def _check_file(path: str) -> None:
    """Look at the file before the pool does, which ends badly on one that it cannot open."""
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
        [verdict] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _damaged(str(verdict))


def _damaged(detail: str) -> DatabaseDamagedError:
    return DatabaseDamagedError(
        f"The database is damaged: {detail}",
        hint="Restore limpet.sqlite3 from a backup, or move it away to begin with a new one; "
        "snapshots lie in the store and are untouched.",
    )


def _is_newest(connection: Connection) -> bool:
    """Whether no migration is missing, and none is there that we do not know."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    present = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return present == [newest_revision()]


def newest_revision() -> str:
    """The last of the migrations, by the number in its file's name."""
    versions = MIGRATIONS / "versions"
    return max(path.stem.partition("_")[0] for path in versions.glob("[0-9]*.py"))


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = set(MigrationContext.configure(connection).get_current_heads())
    if unknown := present - known:
        raise DatabaseTooNewError(
            f"The database was used by a newer version of Limpet ({', '.join(sorted(unknown))})",
            hint="Install that version, or choose another LIMPET_DATA_DIR.",
        )
    command.upgrade(config, "head")
