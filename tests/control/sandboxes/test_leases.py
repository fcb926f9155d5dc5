"""Leases: one owner at a time, and numbers that only grow."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limpet.control.db import EMBEDDED_ORG, EMBEDDED_USER, AgentRow, Database
from limpet.control.db.migrate import migrate
from limpet.control.orgs import ensure_embedded_org
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.leases import LeaseHeldError, Leases
from limpet.control.sandboxes.rows import SandboxRows
from limpet.control.secrets import SecretBox
from limpet.errors import FencedError, NotFoundError
from limpet.ids import AgentId, Branch

pytestmark = pytest.mark.anyio
KEY = SandboxKey(EMBEDDED_ORG, AgentId("agt_1"), Branch("b"))


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'limpet.sqlite3'}")
    await migrate(database)
    await ensure_embedded_org(database, SecretBox([b"k" * 32]))
    async with database.session() as session:
        session.add(
            AgentRow(
                org_id=KEY.org, id=KEY.agent, title="", default_branch="b", created_by=EMBEDDED_USER
            )
        )
    await SandboxRows(database).make(KEY, "host")
    yield database
    await database.close()


def owned_by(db: Database, owner: str, *, ttl_s: float = 60, exclusive: bool = False) -> Leases:
    return Leases(db, owner, ttl_s=ttl_s, exclusive=exclusive)


async def test_a_lease_is_one_owners_until_it_is_released(db: Database) -> None:
    ours, theirs = owned_by(db, "ours"), owned_by(db, "theirs")
    assert await ours.take(KEY) == await ours.take(KEY) == await ours.renew(KEY)
    with pytest.raises(LeaseHeldError):
        await theirs.take(KEY)
    with pytest.raises(FencedError):
        await theirs.renew(KEY)
    await theirs.release(KEY)
    await ours.renew(KEY)
    before = await ours.take(KEY)
    await ours.release(KEY)
    assert await theirs.take(KEY) > before
    with pytest.raises(FencedError):
        await ours.renew(KEY)


async def test_a_lease_that_ran_out_can_be_taken_and_the_old_owner_is_fenced(db: Database) -> None:
    ours, theirs = owned_by(db, "ours", ttl_s=-1), owned_by(db, "theirs")
    before = await ours.take(KEY)
    assert await theirs.take(KEY) == before + 1
    with pytest.raises(FencedError):
        await ours.renew(KEY)


async def test_the_only_control_plane_takes_over_what_a_dead_one_left(db: Database) -> None:
    before = await owned_by(db, "killed").take(KEY)
    assert await owned_by(db, "new", exclusive=True).take(KEY) == before + 1


async def test_all_leases_of_ours_are_renewed_and_no_others(db: Database) -> None:
    rows = SandboxRows(db)
    await owned_by(db, "ours", ttl_s=-1).take(KEY)
    await rows.change(KEY, tracked=True)
    before = (await rows.get(KEY)).lease_until  # type: ignore[union-attr]
    await owned_by(db, "theirs").renew_all()
    assert (await rows.get(KEY)).lease_until == before  # type: ignore[union-attr]
    await owned_by(db, "ours").renew_all()
    with pytest.raises(LeaseHeldError):
        await owned_by(db, "theirs").take(KEY)


async def test_there_is_no_lease_of_what_is_not_there(db: Database) -> None:
    missing = SandboxKey(KEY.org, KEY.agent, Branch("other"))
    with pytest.raises(NotFoundError):
        await owned_by(db, "ours").take(missing)
    await owned_by(db, "ours").release(missing)
