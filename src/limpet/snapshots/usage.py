"""What an org's snapshots come to in the store."""

from dataclasses import dataclass
from datetime import UTC, datetime

from limpet.ids import OrgId
from limpet.snapshots.condemned import CondemnedObjects
from limpet.snapshots.pack import PackName
from limpet.snapshots.stored_heads import is_head_key, read_heads
from limpet.stores.base import SandboxStore
from limpet.stores.keys import safe_org


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """Bytes are those of objects in the store, but for `logical_bytes`."""

    snapshots: int
    logical_bytes: int
    """Of all files of all snapshots together, as if each were stored by itself."""
    stored_bytes: int
    """What the org's objects take."""
    shared_bytes: int
    """Packs of the templates' space that its snapshots need; they are stored once for all orgs."""
    condemned_bytes: int
    """Of the stored ones, what is going to be deleted."""
    measured_at: datetime


async def usage_of(store: SandboxStore, org: OrgId) -> StoreUsage:
    """Measure it: one listing, and all heads. May raise `StoreUnavailableError`."""
    measured_at = datetime.now(UTC)
    condemned = await CondemnedObjects(store, org).keys()
    stored = condemned_bytes = 0
    heads: list[str] = []
    for space in (f"v1/{safe_org(org)}/", f"{safe_org(org)}/"):
        async for one in store.list(space):
            stored += one.size_bytes
            condemned_bytes += one.size_bytes if one.key in condemned else 0
            if is_head_key(one.key):
                heads.append(one.key)
    snapshots = logical = 0
    shared: dict[PackName, int] = {}
    async for read in read_heads(store, heads):
        if read.head is None:
            continue
        snapshots += 1
        logical += read.head.size_bytes
        if read.head.packed is not None:
            for ref in (*read.head.packed.packs, *read.head.packed.trees):
                if ref.shared:
                    shared[ref.name] = ref.size_bytes
    return StoreUsage(
        snapshots, logical, stored, sum(shared.values()), condemned_bytes, measured_at
    )
