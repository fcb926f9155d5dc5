import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, select

from limpet.control.db import Base, Database, OrgRow, UserRow
from limpet.control.db.database import DatabaseUnusableError
from limpet.control.db.migrate import (
    MIGRATIONS,
    DatabaseDamagedError,
    DatabaseTooNewError,
    migrate,
    newest_revision,
)

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{path}")
    try:
        yield database
    finally:
        await database.close()


async def test_the_migrations_give_exactly_the_tables_of_the_models(tmp_path: Path) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    async with opened(tmp_path / "db") as database:
        await migrate(database)
        async with database.connection() as connection:
            assert await connection.run_sync(differences) == []


def test_every_table_but_users_and_orgs_has_the_org_first_in_its_key() -> None:
    for table in Base.metadata.sorted_tables:
        if table.name not in {"orgs", "users"}:
            assert next(iter(table.primary_key.columns)).name == "org_id", table.name


async def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as database:
        await migrate(database)
        async with database.session() as session:
            session.add(OrgRow(id="a", slug="a", name="A"))
        await migrate(database)
        async with database.reading() as session:
            assert (await session.scalars(select(OrgRow.id))).all() == ["a"]


def test_the_newest_migration_is_the_one_with_the_highest_number() -> None:
    assert newest_revision() == ScriptDirectory(str(MIGRATIONS)).get_current_head()


BEGINNING = """
import asyncio, sys
from limpet.control.app import migrate
from limpet.control.db import Database

async def begin():
    database = Database(sys.argv[1])
    await migrate(database)
    await database.close()

asyncio.run(begin())
print("alembic" in sys.modules)
"""


def test_a_database_that_lacks_nothing_is_begun_with_without_alembic(tmp_path: Path) -> None:
    def begin() -> str:
        argv = [sys.executable, "-c", BEGINNING, f"sqlite+aiosqlite:///{tmp_path}/db"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    assert [begin(), begin()] == ["True", "False"]


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as database:
        await migrate(database)
        async with database.connection() as connection:
            await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(DatabaseTooNewError, match="9999"):
            await migrate(database)


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"no database at all, but long enough to be looked at" * 40)
    async with opened(tmp_path / "db") as database:
        with pytest.raises(DatabaseDamagedError):
            await migrate(database)


async def test_damaged_pages_are_told(tmp_path: Path) -> None:
    path = tmp_path / "db"
    async with opened(path) as database:
        await migrate(database)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xde\xad" * 4096)
    async with opened(path) as database:
        with pytest.raises(DatabaseDamagedError):
            await migrate(database)


async def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    async with opened(tmp_path / "db") as database:
        with pytest.raises(DatabaseUnusableError):
            await migrate(database)


async def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as database:
        await migrate(database)

        async def fail_half_way() -> None:
            async with database.session() as session:
                session.add(OrgRow(id="a", slug="a", name="A"))
                await session.flush()
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await fail_half_way()
        async with database.reading() as session:
            assert (await session.scalars(select(OrgRow))).all() == []


async def test_many_writers_at_once_all_get_their_turn(tmp_path: Path) -> None:
    """Each reads, then writes: without BEGIN IMMEDIATE some would fail as 'locked'."""

    async def rename(database: Database, number: int) -> None:
        async with database.session() as session:
            org = await session.get_one(OrgRow, "a")
            await asyncio.sleep(0)
            org.name = f"{org.name}{number}"

    async with opened(tmp_path / "db") as database:
        await migrate(database)
        async with database.session() as session:
            session.add(OrgRow(id="a", slug="a", name=""))
        await asyncio.gather(*(rename(database, number) for number in range(10)))
        async with database.reading() as session:
            assert sorted((await session.get_one(OrgRow, "a")).name) == list("0123456789")


async def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as database:
        await migrate(database)
        async with database.session() as writing:
            writing.add(OrgRow(id="a", slug="a", name="A"))
            await writing.flush()
            async with database.reading() as reading:
                assert (await reading.scalars(select(OrgRow))).all() == []


async def test_times_keep_their_zone(tmp_path: Path) -> None:
    moment = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
    async with opened(tmp_path / "db") as database:
        await migrate(database)
        async with database.session() as session:
            session.add(UserRow(id="u", name="U", created_at=moment))
        async with database.reading() as session:
            assert (await session.get_one(UserRow, "u")).created_at == moment


async def test_connections_are_safe_ones(tmp_path: Path) -> None:
    path = tmp_path / "db"
    async with opened(path) as database:
        await migrate(database)
        async with database.connection() as connection:
            values = [
                (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
            ]
        assert values == ["wal", 1, 10_000, 2]
        with sqlite3.connect(path) as other:
            assert other.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        other.close()


async def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path) -> None:
    async def write(database: Database) -> None:
        async with database.session() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("PRAGMA max_page_count = 1")
            session.add(OrgRow(id="a", slug="a", name="x" * 1_000_000))

    async with opened(tmp_path / "db") as database:
        await migrate(database)
        with pytest.raises(DatabaseUnusableError, match="full"):
            await write(database)
        async with database.reading() as session:
            assert (await session.scalars(select(OrgRow))).all() == []
