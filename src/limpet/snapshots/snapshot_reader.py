"""Snapshots read from a store: which there are, which can be used, and their contents."""

from collections.abc import AsyncIterator, Collection, Iterable
from typing import Literal

from limpet.errors import SnapshotDamagedError
from limpet.ids import AgentId, OrgId, SnapshotId
from limpet.snapshots.blob_reader import BlobReader
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.condemned import CondemnedObjects
from limpet.snapshots.heads import HeadStore
from limpet.snapshots.lineage import MAIN, BranchRef, DamagedHead, Head, HeadLookup, Lineage
from limpet.snapshots.node import FOLDER, Entry
from limpet.snapshots.pack import PackRef
from limpet.snapshots.pack_store import IndexCache, PackStore
from limpet.snapshots.packed_open import PackedStream
from limpet.snapshots.snapshot_names import SnapshotNames
from limpet.snapshots.snapshot_trees import TreeCache, packed_of
from limpet.snapshots.stored_heads import heads_folder, is_head_key, read_heads
from limpet.snapshots.tar_export import Exported, export_tar
from limpet.snapshots.tars import TarStore
from limpet.snapshots.trees import TreeBlobs
from limpet.stores.base import SandboxStore
from limpet.stores.keys import safe_name, safe_org


class SnapshotReader:
    """All branches' snapshots in one store. Every method may raise `StoreUnavailableError`."""

    def __init__(self, store: SandboxStore) -> None:
        self._store = store
        self._heads = HeadStore(store)
        self._tars = TarStore(store)
        self._trees = TreeCache()
        self._indexes = IndexCache()
        self._condemned: dict[OrgId, CondemnedObjects] = {}
        self.names = SnapshotNames(store)
        """What people call snapshots."""

    # -- heads ---------------------------------------------------------------------------------

    async def lookup(self, ref: BranchRef, lineage: Lineage = MAIN) -> HeadLookup:
        """The newest usable head, newest generation first; what was passed by is told.

        Usable is one whose bytes are there, by their sizes.
        """
        damaged: list[DamagedHead] = []
        seen: dict[PackRef, bool] = {}
        for generation in sorted(await self._heads.generations(ref, lineage), reverse=True):
            read = await self._heads.read(ref, lineage, generation)
            if isinstance(read, Head):
                why = await self._why_unusable(read, seen)
                if why is None:
                    return HeadLookup(read, tuple(damaged))
                read = DamagedHead(generation, read.snapshot, why)
            damaged.append(read)
        older = await self._tars.legacy(ref) if lineage == MAIN else None
        if isinstance(older, DamagedHead):
            damaged.append(older)
            older = None
        return HeadLookup(older, tuple(damaged))

    async def head(self, ref: BranchRef, lineage: Lineage = MAIN) -> Head | None:
        """The usable head; `SnapshotDamagedError` when there are heads but none is usable."""
        found = await self.lookup(ref, lineage)
        if found.head is None and found.damaged:
            newest = found.damaged[0]
            raise SnapshotDamagedError(
                f"None of {len(found.damaged)} snapshots of {ref.branch} can be used; "
                f"of the newest, {newest.why}"
            )
        return found.head

    async def history(self, ref: BranchRef) -> list[Head]:
        """All readable heads of all lineages, newest first."""
        heads = [read for read in await self._heads.every(ref) if isinstance(read, Head)]
        older = await self._tars.legacy(ref)
        if isinstance(older, Head):
            heads.append(older)
        return sorted(
            heads, key=lambda h: (h.created_at, h.lineage == MAIN, h.generation), reverse=True
        )

    async def find(self, ref: BranchRef, snapshot: SnapshotId) -> Head | None:
        """The snapshot's head, on whatever lineage it is."""
        for head in await self.history(ref):
            if head.snapshot == snapshot:
                return head
        return None

    async def keys_of_agent(self, org: OrgId, agent: AgentId) -> list[str]:
        """Where all heads of an agent lie, readable or not, and its tars of the older layout."""
        part = safe_name(agent)
        heads = self._store.list(f"{heads_folder(org)}{part}/")
        older = self._store.list(f"{safe_org(org)}/{part}/")
        found = [one.key async for one in heads if is_head_key(one.key)]
        return found + [one.key async for one in older if one.key.endswith(".tar")]

    async def read_heads(self, keys: Iterable[str]) -> AsyncIterator[Head]:
        """The heads at these keys that can be read, in order."""
        async for stored in read_heads(self._store, filter(is_head_key, keys)):
            if stored.head is not None:
                yield stored.head

    def condemned(self, org: OrgId) -> CondemnedObjects:
        """What of the org's is going to be deleted."""
        return self._condemned.setdefault(org, CondemnedObjects(self._store, org))

    async def side_lineages(self, ref: BranchRef) -> list[Head]:
        """The newest head of each side lineage whose content the main lineage never had."""
        history = await self.history(ref)
        known = {head.blake3 for head in history if head.lineage == MAIN}
        newest: dict[Lineage, Head] = {}
        for head in history:
            best = newest.get(head.lineage)
            if head.lineage != MAIN and (best is None or head.generation > best.generation):
                newest[head.lineage] = head
        return [head for head in newest.values() if head.blake3 not in known]

    # -- reading -------------------------------------------------------------------------------

    async def open_tar(self, head: Head) -> AsyncIterator[bytes]:
        """The snapshot as a tar; `SnapshotDamagedError` before its end when it is not whole.

        Of one that was saved so, the last chunk is held back until size and BLAKE3 are known to be
        right; a packed one is written as a tar on the way. A reader of a damaged one never sees
        its end.
        """
        if head.packed is None:
            return await self._tars.open(head)
        root = head.packed.root
        top = Entry(b"", FOLDER, root.mode, root.mtime_ns, 0, root.node)
        exported = Exported(await self.trees(head), root.node, b"", top)
        return export_tar(
            exported, lambda names: self.read_blobs(head, names), head.receipt.as_dict()
        )

    async def open_packed(
        self,
        head: Head,
        *,
        needs: Collection[BlobHash] | None = None,
        flow: Literal["restore", "plan"] = "restore",
    ) -> AsyncIterator[bytes]:
        """A `restore` or `plan` stream of a packed snapshot, in flat memory.

        With `needs` (data blobs of its tree) a restore holds only frames with one of them. Damage
        raises `SnapshotDamagedError` here or before the stream's end. `ForeignBlobError` when the
        tree does not name all of `needs`, `InvalidInputError` for a tar.
        """
        packs = self._packs(head.ref.org)
        trees = await self._trees.read(packs, head)
        return await PackedStream(packs, head, trees, flow=flow, needs=needs).open()

    async def trees(self, head: Head) -> TreeBlobs:
        """The tree blobs of a packed snapshot, and maybe others; walk from its root.

        Raises `SnapshotDamagedError` when they are not whole, `InvalidInputError` for a tar.
        """
        packs = self._packs(head.ref.org)
        return (await self._trees.read(packs, head)).blobs.reader()

    async def read_blobs(
        self, head: Head, names: Iterable[BlobHash]
    ) -> AsyncIterator[tuple[BlobHash, bytes]]:
        """Data blobs that the snapshot's tree names, in the order asked for, each verified.

        It is the caller's to ask for nothing that the tree does not name.
        """
        reader = BlobReader(self._packs(head.ref.org), packed_of(head).packs)
        async for name, blob in reader.read(names):
            yield name, blob

    async def verify(self, head: Head) -> None:
        """Read all of the snapshot; `SnapshotDamagedError` when it is not what was saved."""
        if head.kind == "tar":
            async for _ in await self._tars.open(head):
                pass
            return
        packs = PackStore(self._store, head.ref.org)  # nothing that is at hand is believed
        trees = await TreeCache().read(packs, head)
        await PackedStream(packs, head, trees, flow="restore").verify()

    # -- inside --------------------------------------------------------------------------------

    def _packs(self, org: OrgId) -> PackStore:
        return PackStore(self._store, org, self._indexes)

    async def _why_unusable(
        self, head: Head, seen: dict[PackRef, bool] | None = None
    ) -> str | None:
        """Why the head's bytes cannot be what was saved; None when they can."""
        if head.packed is None:
            return await self._tars.why_unusable(head)
        packs = self._packs(head.ref.org)
        gone = await packs.missing("tree", head.packed.trees, seen)
        gone += await packs.missing("data", head.packed.packs, seen)
        if not gone:
            return None
        return f"{len(gone)} of its packs are gone or cut off"
