"""Each migration keeps what is there, and its way down leads back."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from limpet.control.db import Database
from limpet.control.db.migrate import MIGRATIONS

pytestmark = pytest.mark.anyio

NOW = "2026-01-02 03:04:05.000000"


def to(move: Callable[[Config, str], None], revision: str) -> Callable[[Connection], None]:
    def moved(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        move(config, revision)

    return moved


async def migrated(path: Path, move: Callable[[Connection], None]) -> None:
    database = Database(f"sqlite+aiosqlite:///{path}")
    try:
        async with database.connection() as connection:
            await connection.run_sync(move)
            await connection.commit()
    finally:
        await database.close()


def asked(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        found = connection.execute(query).fetchall()
        connection.commit()
        return found
    finally:
        connection.close()


def shape(path: Path) -> set[tuple[object, ...]]:
    """Every column of every table, and every index."""
    return set(
        asked(
            path,
            'SELECT m.name, c.name, c.type, c."notnull", c.pk FROM sqlite_master m '
            "JOIN pragma_table_info(m.name) c WHERE m.type = 'table' "
            "UNION SELECT name, tbl_name, type, 0, 0 FROM sqlite_master WHERE type = 'index'",
        )
    )


def an_agent_in(path: Path) -> None:
    """An org and one agent of it, called Kept, in a database of any age."""
    asked(path, f"INSERT INTO orgs VALUES ('a', 'a', 'A', NULL, '{NOW}', NULL, NULL)")
    asked(
        path,
        "INSERT INTO agents (org_id, id, title, description, status, pinned, instructions, "
        "default_main_view, chat_side, default_branch, created_by, created_at, updated_at) VALUES "
        f"('a', 'agt', 'Kept', '', 'active', 0, '', 'chat', 'right', 'b', 'u', '{NOW}', '{NOW}')",
    )


def a_sandbox_in(path: Path) -> None:
    """That agent's sandbox, in a database of before 0008."""
    asked(
        path,
        "INSERT INTO sandboxes (org_id, agent_id, branch, handle, state, desired, runner_kind, "
        "fencing, generation, detached, tracked, created_at) VALUES "
        f"('a', 'agt', 'b', 'b-1', 'running', 'running', 'host', 7, 3, 0, 1, '{NOW}')",
    )


async def test_egress_and_secrets_come_to_a_database_in_use_and_go_again(tmp_path: Path) -> None:
    path = tmp_path / "db"
    await migrated(path, to(command.upgrade, "0003"))
    before = shape(path)
    asked(path, f"INSERT INTO orgs VALUES ('a', 'a', 'A', NULL, '{NOW}', NULL)")
    asked(
        path,
        "INSERT INTO agents (org_id, id, title, description, status, pinned, instructions, "
        "default_main_view, chat_side, default_branch, created_by, created_at, updated_at) VALUES "
        f"('a', 'agt', 'Kept', '', 'active', 0, '', 'chat', 'right', 'b', 'u', '{NOW}', '{NOW}')",
    )
    await migrated(path, to(command.upgrade, "0004"))
    assert asked(path, "SELECT title, egress FROM agents") == [("Kept", None)]
    asked(path, "UPDATE agents SET egress = '{}'")
    asked(path, f"INSERT INTO env_secrets VALUES ('a', 'agt', 'K', x'00', '{NOW}', 'u')")
    await migrated(path, to(command.downgrade, "0003"))
    assert shape(path) == before
    assert asked(path, "SELECT title FROM agents") == [("Kept",)]


async def test_acp_commands_come_to_a_database_in_use_and_go_again(tmp_path: Path) -> None:
    path = tmp_path / "db"
    await migrated(path, to(command.upgrade, "0005"))
    before = shape(path)
    an_agent_in(path)
    await migrated(path, to(command.upgrade, "0006"))
    assert asked(path, "SELECT title, acp_command FROM agents") == [("Kept", None)]
    await migrated(path, to(command.downgrade, "0005"))
    assert shape(path) == before
    assert asked(path, "SELECT title FROM agents") == [("Kept",)]


async def test_why_a_sandbox_ended_comes_to_a_database_in_use_and_goes_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "db"
    await migrated(path, to(command.upgrade, "0008"))
    before = shape(path)
    an_agent_in(path)
    a_sandbox_in(path)
    await migrated(path, to(command.upgrade, "0009"))
    assert asked(path, "SELECT fencing, ended FROM sandboxes") == [(7, None)]
    asked(path, "UPDATE sandboxes SET ended = '{}'")
    await migrated(path, to(command.downgrade, "0008"))
    assert shape(path) == before
    assert asked(path, "SELECT fencing, generation FROM sandboxes") == [(7, 3)]


async def test_mcp_servers_come_to_a_database_in_use_and_go_again(tmp_path: Path) -> None:
    path = tmp_path / "db"
    await migrated(path, to(command.upgrade, "0006"))
    before = shape(path)
    an_agent_in(path)
    await migrated(path, to(command.upgrade, "0007"))
    asked(
        path,
        "INSERT INTO mcp_servers VALUES "
        f"('a', 'agt', 's', 'https://h/mcp', '[]', NULL, '{NOW}', 'u')",
    )
    await migrated(path, to(command.downgrade, "0006"))
    assert shape(path) == before
    assert asked(path, "SELECT title FROM agents") == [("Kept",)]


async def test_private_previews_come_to_a_database_in_use_and_go_again(tmp_path: Path) -> None:
    path = tmp_path / "db"
    await migrated(path, to(command.upgrade, "0007"))
    before = shape(path)
    an_agent_in(path)
    a_sandbox_in(path)
    await migrated(path, to(command.upgrade, "0008"))
    columns = "handle, fencing, preview_access, preview_epoch, preview_links_until"
    assert asked(path, f"SELECT {columns} FROM sandboxes") == [("b-1", 7, None, 0, None)]
    asked(path, "UPDATE sandboxes SET preview_access = 'private', preview_epoch = 2")
    await migrated(path, to(command.downgrade, "0007"))
    assert shape(path) == before
    assert asked(path, "SELECT handle, fencing FROM sandboxes") == [("b-1", 7)]
