"""One pack after another: whether it is what its name and the heads say."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from anyio import to_thread

from limpet.errors import SnapshotDamagedError
from limpet.ids import OrgId
from limpet.snapshots.blobs import BlobKind
from limpet.snapshots.lineage import Packed
from limpet.snapshots.pack import (
    MAX_PACK_BYTES,
    PACK_HEADER_BYTES,
    PackIndex,
    PackName,
    PackRef,
    check_pack_header,
    decode_index,
    index_length,
    is_pack_name,
)
from limpet.snapshots.pack_survey import PackSurvey, survey_pack
from limpet.stores.base import SandboxStore, StoredObject
from limpet.stores.keys import pack_key, packs_prefix

KINDS: Final[tuple[BlobKind, ...]] = ("data", "tree")
_INDEX_GUESS_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True, order=True)
class PackId:
    """Which pack, whatever a head says of its size."""

    kind: BlobKind
    name: PackName
    shared: bool

    @classmethod
    def of(cls, kind: BlobKind, ref: PackRef) -> "PackId":
        """The pack that a head names."""
        return cls(kind, ref.name, ref.shared)

    def key(self, org: OrgId) -> str:
        """Where it lies."""
        return pack_key(org, self.kind, self.name, shared=self.shared)


@dataclass(slots=True)
class PackState:
    """What is known of a pack."""

    seen: StoredObject | None
    """None: it is not there."""
    index_bytes: int = 0
    faults: list[str] = field(default_factory=list)
    """What is wrong with its bytes."""
    misnamed: list[str] = field(default_factory=list)
    """What heads say of it that is not so."""

    @property
    def sound(self) -> bool:
        """Whether it is there and, as far as was looked, its bytes are right."""
        return self.seen is not None and not self.faults

    @property
    def fine(self) -> bool:
        """Whether it is sound, and named as it is."""
        return self.sound and not self.misnamed


class PackFolder:
    """The packs of one org, those of the templates among them, read without any belief."""

    def __init__(self, store: SandboxStore, org: OrgId) -> None:
        self._store = store
        self._org = org

    async def listing(self) -> tuple[dict[PackId, StoredObject], list[StoredObject]]:
        """All packs that are there; and, in the org's own space, what is none."""
        packs: dict[PackId, StoredObject] = {}
        others: list[StoredObject] = []
        for kind in KINDS:
            for shared in (False, True):
                prefix = packs_prefix(self._org, kind, shared=shared)
                async for one in self._store.list(prefix):
                    name = one.key.removeprefix(prefix)
                    if is_pack_name(name):
                        packs[PackId(kind, PackName(name), shared)] = one
                    elif not shared:
                        others.append(one)
        return packs, others

    async def bytes_of(self, pack: PackId) -> memoryview | None:
        """All of a pack, and no more than a pack can have; None when it is not there."""
        chunks = await self._store.get(pack.key(self._org), length=MAX_PACK_BYTES + 1)
        if chunks is None:
            return None
        data = bytearray()
        async for chunk in chunks:
            data += chunk
        return memoryview(data).toreadonly()

    async def survey(self, pack: PackId) -> PackSurvey | None:
        """Look through all of a pack; None when it is not there."""
        data = await self.bytes_of(pack)
        if data is None:
            return None
        return await to_thread.run_sync(survey_pack, data, pack.kind, pack.name)

    async def index(self, pack: PackId, size_bytes: int) -> PackIndex:
        """The index of a pack of this size; `SnapshotDamagedError` when it has none."""
        tail = await self.part(pack, max(0, size_bytes - _INDEX_GUESS_BYTES), size_bytes)
        length = index_length(tail[-8:], size_bytes)
        if length > len(tail):
            tail = await self.part(pack, size_bytes - length, size_bytes)
        return await to_thread.run_sync(decode_index, tail[-length:], size_bytes)

    async def state(
        self, pack: PackId, seen: StoredObject | None, told: Iterable[PackRef], *, whole: bool
    ) -> PackState:
        """Judge a pack that was listed so, and of which heads tell so; `whole`: every byte of it.

        A tree pack is always read whole.
        """
        state = PackState(seen)
        if seen is None:
            return state
        claims = list(told)
        misnamed = any(ref.size_bytes != seen.size_bytes for ref in claims)
        try:
            if whole or misnamed or pack.kind == "tree":
                survey = await self.survey(pack)
                if survey is None:
                    return PackState(None)
                state.faults += survey.faults
                if survey.index is not None:
                    state.index_bytes = index_bytes(survey.index)
            else:
                header = await self.part(pack, 0, PACK_HEADER_BYTES)
                check_pack_header(header, pack.kind)
                state.index_bytes = index_bytes(await self.index(pack, seen.size_bytes))
        except SnapshotDamagedError as error:
            state.faults.append(error.message[0].lower() + error.message[1:])
        for ref in claims:
            if ref.size_bytes != seen.size_bytes:
                state.misnamed.append(f"it has {seen.size_bytes:,} bytes, not {ref.size_bytes:,}")
            elif state.sound and ref.index_bytes != state.index_bytes:
                state.misnamed.append("its index is not as long as a head says")
        return state

    async def part(self, pack: PackId, start: int, end: int) -> bytes:
        """Some bytes of a pack; `SnapshotDamagedError` when it is not there."""
        chunks = await self._store.get(pack.key(self._org), start=start, length=end - start)
        if chunks is None:
            raise SnapshotDamagedError("The pack has gone meanwhile")
        return b"".join([chunk async for chunk in chunks])


def index_bytes(index: PackIndex) -> int:
    """How long the index is in its pack."""
    return 20 + 16 * len(index.frames) + 36 * len(index.sizes) + 32 + 8


def packs_of(packed: Packed) -> dict[PackId, PackRef]:
    """The packs that a head names."""
    named = {PackId.of("data", ref): ref for ref in packed.packs}
    return named | {PackId.of("tree", ref): ref for ref in packed.trees}
