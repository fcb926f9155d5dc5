"""A real service: SQLite, the host runner with real daemons, a local store that can break."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from limpet.control.db import EMBEDDED_ORG, EMBEDDED_USER, AgentRow, Database, SandboxRow
from limpet.control.db.migrate import migrate
from limpet.control.db.runner_state import SealedRunnerState
from limpet.control.operations.models import Sandbox, Snapshot, VmStarted
from limpet.control.orgs import ensure_embedded_org
from limpet.control.sandboxes.ends import Asker
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.service import SandboxService
from limpet.control.secrets import SecretBox
from limpet.control.settings import Settings
from limpet.control.templates import TemplateCatalog
from limpet.control.usage import OrgUsage
from limpet.errors import StoreUnavailableError
from limpet.ids import AgentId, Branch, Handle, SnapshotId, new_id
from limpet.runners.daemon_client import DaemonClient
from limpet.runners.host import DAEMON_COMMAND, HostRunner
from limpet.snapshots.repository import BranchRef, SnapshotRepository
from limpet.stores.base import Condition, StoredObject
from limpet.stores.local import LocalStore
from tests.stored import damage, stored

BY_KEY = Asker(EMBEDDED_USER, "api-key")


@dataclass
class BreakableStore:
    """A local store that fails when told: all of it (`down`), or reads or writes of some keys."""

    inner: LocalStore
    down: bool = False
    failing_reads: str = "\0"
    failing_writes: str = "\0"
    asked: int = 0

    @property
    def kind(self) -> str:
        return self.inner.kind

    @property
    def where(self) -> str:
        return self.inner.where

    @property
    def conditional(self) -> bool:
        return self.inner.conditional

    def _check(self, key: str, failing: str = "\0") -> None:
        self.asked += 1
        if self.down or failing in key:
            raise StoreUnavailableError("connection refused")

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterable[bytes],
        *,
        condition: Condition | None = None,
    ) -> StoredObject:
        self._check(key, self.failing_writes)
        return await self.inner.put(key, body, condition=condition)

    async def get(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes] | None:
        self._check(key, self.failing_reads)
        return await self.inner.get(key, start=start, length=length)

    async def head(self, key: str) -> StoredObject | None:
        self._check(key)
        return await self.inner.head(key)

    async def delete(self, key: str) -> None:
        self._check(key)
        await self.inner.delete(key)

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        self._check(prefix)
        async for one in self.inner.list(prefix):
            yield one


@dataclass
class House:
    """One control plane's sandboxes, and what a test does with them."""

    data_dir: Path
    templates_dir: Path
    environ: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = BreakableStore(LocalStore(self.data_dir / "sandbox-snapshots"))

    async def open(self) -> None:
        """Begin as a fresh process does."""
        self.settings = Settings(
            data_dir=self.data_dir,
            port=7070,
            store_wait_s=self.environ.get("store_wait_s", 0.2),
            idle_s=self.environ.get("idle_s", 60),
            isolation=self.environ.get("isolation", "none"),
            template_builds=self.environ.get("template_builds", False),
        )
        box = SecretBox.open_for(self.settings)
        self.db = Database(self.settings.effective_database_url)
        await migrate(self.db)
        await ensure_embedded_org(self.db, box)
        fault = self.environ.get("fault")
        self.runner = HostRunner(
            self.data_dir,
            SealedRunnerState(self.db, box, "host"),
            isolation=self.environ.get("isolation", "none"),
            daemon_command=[
                *(["/usr/bin/env", f"LIMPET_FAULT={fault}"] if fault else []),
                *DAEMON_COMMAND,
            ],
        )
        self.repository = SnapshotRepository(self.store)
        self.service = SandboxService(
            self.db,
            self.runner,
            self.repository,
            self.settings,
            TemplateCatalog(self.templates_dir),
            box,
            OrgUsage(self.store, self.environ.get("org_quota_bytes")),
        )
        await self.service.adopt_at_boot()

    async def crash(self) -> None:
        """Go as a killed process does: nothing saved, leases kept, daemons live on."""
        await self.service.close()
        await self.runner.close()
        await self.db.close()

    async def reopen(self) -> None:
        """Killed and started again."""
        await self.crash()
        await self.open()

    async def destroy(self) -> None:
        """End every sandbox and let go."""
        await self.service.close()  # what a start under way made after that would stay
        for row in await self.service.parts.rows.everywhere():
            await self.runner.delete(Handle(row.handle))
        await self.crash()

    async def agent(self, **columns: Any) -> "Box":
        """A new agent, and its sandbox to be."""
        told: dict[str, Any] = {
            "id": new_id("agt"),
            "title": "Worker",
            "default_branch": f"limpet/{new_id('b')[:10]}",
            **columns,
        }
        row = AgentRow(org_id=EMBEDDED_ORG, created_by=EMBEDDED_USER, **told)
        async with self.db.session() as session:
            session.add(row)
        return Box(self, row)


@dataclass
class Box:
    """One agent's sandbox on its default branch."""

    house: House
    agent: AgentRow

    @property
    def key(self) -> SandboxKey:
        return SandboxKey(EMBEDDED_ORG, AgentId(self.agent.id), Branch(self.agent.default_branch))

    @property
    def ref(self) -> BranchRef:
        return BranchRef(self.key.org, self.key.agent, self.key.branch)

    @property
    def service(self) -> SandboxService:
        return self.house.service

    async def row(self) -> SandboxRow:
        row = await self.service.parts.rows.get(self.key)
        assert row is not None
        return row

    async def handle(self) -> Handle:
        return Handle((await self.row()).handle)

    async def root(self) -> Path:
        return self.house.runner.root(await self.handle())

    async def start(
        self, *, hold: Literal["restored"] | None = None, without_snapshot: bool = False
    ) -> VmStarted:
        return await self.service.start(
            EMBEDDED_ORG, self.agent, None, hold=hold, without_snapshot=without_snapshot
        )

    async def outcome(self, **options: Any) -> str:
        """Start, and what that did with the workspace."""
        restore = (await self.start(**options)).restore
        assert restore is not None
        return restore.outcome

    async def save(self, name: str | None = None) -> Snapshot:
        return await self.service.save(EMBEDDED_ORG, self.key.agent, self.key.branch, name=name)

    async def stop(self, *, force: bool = False) -> Snapshot | None:
        handle = await self.handle()
        return (await self.service.stop(EMBEDDED_ORG, handle, BY_KEY, force=force)).saved

    async def delete(self, *, force: bool = False) -> Snapshot | None:
        deleted = await self.service.delete(
            EMBEDDED_ORG, self.key.agent, self.key.branch, force=force
        )
        return deleted.saved

    async def view(self) -> Sandbox:
        return await self.service.get(EMBEDDED_ORG, await self.handle())

    async def snapshots(self) -> list[Snapshot]:
        return list(await self.service.snapshots(EMBEDDED_ORG, self.key.agent, self.key.branch))

    async def restore(self, snapshot: str) -> Any:
        return await self.service.restore(
            EMBEDDED_ORG, self.key.agent, self.key.branch, SnapshotId(snapshot)
        )

    async def head(self) -> Snapshot | None:
        """What the next start would restore."""
        return next((s for s in await self.snapshots() if s.is_head and s.lineage == "main"), None)

    async def client(self) -> DaemonClient:
        return (await self.service.reach(EMBEDDED_ORG, await self.handle())).client

    async def write(self, name: str, text: str) -> None:
        """Work, done by the agent's file tool in `repo/`."""
        client = await self.client()
        await client.call("POST", "/_sandbox/write", json={"path": name, "content": text})

    async def read(self, name: str) -> str | None:
        """The file on disk, if it is there."""
        path = await self.root() / "workspace" / "repo" / name
        return path.read_text() if path.exists() else None

    async def daemon_pid(self) -> int:
        """The daemon's process on this machine."""
        record = self.house.runner._slots[await self.handle()].record
        assert record is not None
        return record.processes[0].pid

    async def kill(self) -> None:
        """The sandbox's processes die; its files stay."""
        await self.house.runner.stop(await self.handle())

    async def lose(self) -> None:
        """The sandbox is evicted: processes and files go, nobody is told."""
        await self.house.runner.delete(await self.handle())

    def stored(self, snapshot: str) -> Path:
        """An object that the snapshot alone needs."""
        return stored(self.house.data_dir / "sandbox-snapshots", snapshot)

    def damage(self, snapshot: str) -> None:
        """Flip a bit of a stored snapshot; its size stays."""
        damage(self.stored(snapshot))

    def phases(self) -> "Phases":
        return Phases(self)


class Phases:
    """Listens to the sandbox's phases for the length of a block."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self.kinds: list[str] = []

    def __enter__(self) -> "Phases":
        self._subscription = self._box.service.parts.events.subscribe(self._box.key)
        self._subscription._listener.waiting.clear()
        return self

    def __exit__(self, *_: object) -> None:
        for event in self._subscription._listener.waiting:
            if event.name == "phase" and event.data["kind"] not in self.kinds[-1:]:
                self.kinds.append(event.data["kind"])
        self._subscription.close()


@pytest.fixture
def template_folder(tmp_path: Path) -> Path:
    """A catalog with one small template called `page`."""
    folder = tmp_path / "templates"
    (folder / "page" / "src").mkdir(parents=True)
    (folder / "page" / "node_modules" / "left").mkdir(parents=True)
    (folder / "page" / "node_modules" / "left" / "index.js").write_text("not part of it")
    (folder / "page" / "template.json").write_text('{"title": "Page", "description": "A page"}')
    (folder / "page" / "README.md").write_text("# A page\n")
    (folder / "page" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "page" / "run.sh").chmod(0o755)
    (folder / "page" / "src" / "page.txt").write_text("hello\n")
    return folder


@pytest.fixture
async def house(tmp_path: Path, template_folder: Path) -> AsyncIterator[House]:
    (tmp_path / "data").mkdir(mode=0o700)
    made = House(tmp_path / "data", template_folder)
    await made.open()
    try:
        yield made
    finally:
        await made.destroy()


@pytest.fixture
async def box(house: House) -> Box:
    """A blank agent's sandbox, not started yet."""
    return await house.agent()
