"""Our engine, alone: what a daemon and a control plane do, without the HTTP between them."""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from limpet import __version__
from limpet.control.sandboxes.streams import from_thread
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.delta import stream_delta
from limpet.snapshots.lineage import BranchRef, Head
from limpet.snapshots.patch import apply_patch, fetch, plan_patch
from limpet.snapshots.repository import SnapshotRepository
from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.seeding import Seeding
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.swap import new_staging_folder
from limpet.stores.local import LocalStore

REF = BranchRef(OrgId("bench"), AgentId("agent"), Branch("main"))


class Limpet:
    """Ours in the shape of the other tools."""

    name = "Limpet"
    packages = ""
    incremental = True

    def __init__(self) -> None:
        self._heads: dict[Path, list[Head]] = {}
        self.seedings: dict[Path, Seeding] = {}

    def version(self) -> str:
        return f"limpet {__version__}"

    def prepare(self, state: Path) -> None:
        """Nothing."""

    def save(self, workspace: Path, state: Path) -> None:
        """A delta from the last save, received, verified, stored in a local folder."""
        heads = self._heads.setdefault(state, [])
        base = heads[-1] if heads else None
        stream = stream_delta(
            workspace,
            caches=StatCaches(state.with_name(state.name + ".caches")),
            base=base.blake3 if base else None,
            fields={"activity_seq": 1, "boot_id": "bench"},
        )

        async def store() -> Head:
            saved = await repository_of(state).save_packed(
                REF,
                from_thread(stream),
                base=base,
                reason="idle",
                parent=None,
                fencing=1,
                expected_generation=base.generation if base else 0,
            )
            return saved.head

        head = asyncio.run(store())
        if base is None or head.snapshot != base.snapshot:
            heads.append(head)

    def restore(self, state: Path, into: Path) -> None:
        """As a daemon does; what it notes of the files for the next save comes later."""
        self.restore_head(state, self._heads[state][-1], into)

    def restore_head(self, state: Path, head: Head, into: Path) -> None:
        def keep(seeding: Seeding) -> None:
            self.seedings[into] = seeding

        chunks = Chunks(repository_of(state).open_packed(head))
        restore_stream(chunks, into, expect_root=head.blake3, on_restored=keep)

    def heads(self, state: Path) -> list[Head]:
        """The snapshots of a state, oldest first."""
        return self._heads[state]

    def patch(self, state: Path, head: Head, root: SandboxRoot, base: Head) -> None:
        """Make a workspace that was restored from `base` be another snapshot."""
        repository = repository_of(state)
        plan = plan_patch(
            root.workspace,
            Chunks(repository.open_packed(head, flow="plan")),
            caches=StatCaches(root.state / "statcache"),
            plan_folder=new_staging_folder(root),
            base=base.blake3,
            expect_root=head.blake3,
        )
        if not plan.worthwhile:
            raise RuntimeError("a patch was not worthwhile: nothing was measured")
        if not plan.whole:
            fetch(plan, Chunks(repository.open_packed(head, needs=plan.needs)))
        apply_patch(root, plan)


def repository_of(state: Path) -> SnapshotRepository:
    """A repository in a folder, with what it keeps at hand beside it."""
    return SnapshotRepository(LocalStore(state), state.with_name(state.name + ".index"))


class Chunks:
    """An asynchronous stream read from a thread that blocks: one loop, a few chunks ahead."""

    def __init__(self, opening: object) -> None:
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(8)
        threading.Thread(target=lambda: asyncio.run(self._pump(opening)), daemon=True).start()

    async def _pump(self, opening: object) -> None:
        try:
            chunks: AsyncIterator[bytes] = await opening  # type: ignore[misc]
            async for chunk in chunks:
                self._queue.put(chunk)
            self._queue.put(None)
        except BaseException as error:  # noqa: BLE001 (raised where it is read)
            self._queue.put(error)

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._queue.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
