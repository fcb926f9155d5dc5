"""The whole engine without HTTP: a workspace, its stat caches, a repository in a local folder."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.delta import DeltaStream, Freezer, stream_delta
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.repository import BranchRef, Head, Saved, SnapshotRepository
from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.trees import TreeBlobs
from limpet.stores.local import LocalStore

REF = BranchRef(OrgId("org"), AgentId("agent"), Branch("main"))


@dataclass
class Engine:
    """Saves and restores one workspace; `head` is the last save's."""

    folder: Path
    ref: BranchRef = REF
    head: Head | None = None
    last: Saved | None = None
    freezer: Freezer | None = None
    """Of saves."""
    workspace: Path = field(init=False)

    def __post_init__(self) -> None:
        self.workspace = self.folder / "workspace"
        self.store = LocalStore(self.folder / "store")
        self.repository = SnapshotRepository(self.store)
        self.caches = StatCaches(self.folder / "state" / "statcache")

    def delta(self, *, base: Head | None = None, freezer: Freezer | None = None) -> DeltaStream:
        """The workspace as a save stream."""
        digest = base.blake3 if base is not None and base.kind == "tree" else None
        return stream_delta(
            self.workspace,
            caches=self.caches,
            base=digest,
            fields={"activity_seq": 1, "boot_id": "boot"},
            freezer=freezer,
        )

    def save(self, *, reason: str = "manual", from_head: bool = True) -> Head:
        """Save the workspace after `head`, as a delta unless `from_head` is False."""
        base = self.head if from_head else None
        generation = self.head.generation if self.head else 0
        parent = self.head.snapshot if self.head else None

        async def run() -> Saved:
            return await self.repository.save_packed(
                self.ref,
                over(self.delta(base=base, freezer=self.freezer)),
                base=base,
                reason=reason,  # type: ignore[arg-type]
                parent=parent,
                fencing=1,
                expected_generation=generation,
            )

        self.last = asyncio.run(run())
        self.head = self.last.head
        return self.head

    def stream(self, head: Head) -> list[bytes]:
        """The restore stream of a snapshot."""

        async def run() -> list[bytes]:
            return [chunk async for chunk in await self.repository.open_packed(head)]

        return asyncio.run(run())

    def restore(self, head: Head, into: Path) -> Receipt:
        """Restore a snapshot into a folder that is not there yet."""
        return restore_stream(iter(self.stream(head)), into, expect_root=head.blake3)

    def trees(self, head: Head) -> TreeBlobs:
        """The tree blobs of a snapshot."""
        return asyncio.run(self.repository.trees(head))

    def stored_bytes(self) -> int:
        """What the store holds."""
        return sum(file.stat().st_size for file in objects(self.folder / "store"))


def objects(store: Path) -> list[Path]:
    """Every object of a local store."""
    return sorted(path for path in store.rglob("*") if path.is_file())


async def over(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A blocking iterator as an asynchronous one."""
    for chunk in chunks:
        yield chunk
