"""What a repair does to heads: one is pointed at other packs, the rest of another is kept aside."""

from dataclasses import replace
from datetime import UTC, datetime

from blake3 import blake3

from limpet.errors import PreconditionFailedError
from limpet.ids import OrgId, new_snapshot_id
from limpet.snapshots.blobs import BlobKind
from limpet.snapshots.damaged_space import DamagedSpace
from limpet.snapshots.faults import reach
from limpet.snapshots.heads import HeadStore
from limpet.snapshots.lineage import Head, Lineage, Packed, encode_head
from limpet.snapshots.pack import PackRef
from limpet.snapshots.pack_maker import PackMaker
from limpet.snapshots.receipt import Receipt, Remark
from limpet.snapshots.remarks import LISTED
from limpet.snapshots.salvage import Salvaged
from limpet.snapshots.sound_packs import Needed, SoundPacks
from limpet.snapshots.stored_heads import StoredHead
from limpet.snapshots.tar_format import show
from limpet.stores.base import ReplaceIf, SandboxStore


class HeadRepair:
    """Changes heads of one org, in ways that can be done again after being cut short."""

    def __init__(self, store: SandboxStore, org: OrgId, sound: SoundPacks) -> None:
        self._store = store
        self._heads = HeadStore(store)
        self._sound = sound
        self._damaged = DamagedSpace(store, org)

    async def point_at(self, stored: StoredHead, head: Head, found: Needed) -> None:
        """Let the head name the packs in which its blobs lie now; its state is the same.

        The head as it was is kept with what is damaged.
        """
        assert head.packed is not None
        packed = replace(head.packed, packs=_refs(found, "data"), trees=_refs(found, "tree"))
        await self._damaged.keep_copy(stored.key, stored.body)
        reach("repair-copy-kept")
        seen = await self._store.head(stored.key)
        if seen is not None:
            body = encode_head(replace(head, packed=packed))
            await self._store.put(stored.key, body, condition=ReplaceIf(seen.etag))
            reach("repair-head-pointed")

    async def keep_rest(self, head: Head, found: Needed, rest: Salvaged) -> Lineage:
        """Make what is left of a snapshot a side lineage of its branch; which one."""
        lineage = Lineage(f"side-{blake3(_identity(head)).hexdigest()[:12]}")
        maker = PackMaker("tree", marked=False)
        for name, blob in rest.new.items():
            maker.add_blob(name, blob)
        stored_bytes = 0
        made: list[PackRef] = []
        for pack in maker.take_finished(last=True):
            if await self._sound.put(pack):
                stored_bytes += pack.ref.size_bytes
            made.append(pack.ref)
        trees = tuple(dict.fromkeys((*_refs(found, "tree"), *made)))
        packed = Packed(rest.root, _refs(found, "data"), trees, stored_bytes, rest.counts)
        try:
            await self._heads.create(
                replace(
                    head,
                    lineage=lineage,
                    generation=1,
                    snapshot=new_snapshot_id(),
                    parent=head.snapshot,
                    created_at=datetime.now(UTC),
                    reason="repair",
                    side_reason="repair",
                    receipt=_receipt(head.receipt, rest),
                    size_bytes=rest.counts.bytes,
                    blake3=rest.root.digest,
                    packed=packed,
                )
            )
        except PreconditionFailedError:
            return lineage  # kept by a repair that was cut short
        reach("repair-side-created")
        return lineage


def _identity(head: Head) -> bytes:
    """Names a head, so that the rest of it always becomes the same lineage."""
    ref = head.ref
    told = (ref.org, ref.agent, ref.branch, head.lineage, str(head.generation), head.snapshot)
    return "\0".join(told).encode("utf-8", "surrogatepass")


def _refs(found: Needed, kind: BlobKind) -> tuple[PackRef, ...]:
    """The packs of a kind, the templates' first, as heads have them."""
    refs = [ref for pack, ref in found.packs.items() if pack.kind == kind]
    return tuple(sorted(refs, key=lambda ref: not ref.shared))


def _receipt(receipt: Receipt, rest: Salvaged) -> Receipt:
    lost = tuple(Remark(show(path), "damaged in the store") for path in rest.dropped)
    return replace(
        receipt,
        entries=rest.counts.entries,
        files=rest.counts.files,
        bytes=rest.counts.bytes,
        blake3=rest.root.digest,
        complete=False,
        incomplete_because=(
            *receipt.incomplete_because,
            f"{len(lost):,} entries were damaged in the store and are left out",
        ),
        skipped=(*lost[:LISTED], *receipt.skipped)[:LISTED],
        counts={**receipt.counts, "damaged": len(lost)},
    )
