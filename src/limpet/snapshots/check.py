"""Looking for damage in what an org has in a store: all heads, packs and tars, and what they name.

The structure is heads, the listing, packs' indexes and folders; with `read_data` every byte. Memory
does not grow with the number of snapshots: heads are read twice, the first time for which packs and
tars there should be, the second time for what each snapshot needs of them.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal

from anyio import to_thread

from limpet.errors import InvalidInputError, SnapshotDamagedError
from limpet.ids import OrgId
from limpet.snapshots.ahead import each
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.check_packs import PackFolder, PackId, PackState, packs_of
from limpet.snapshots.check_trees import LostEntry, StateWalk
from limpet.snapshots.damaged_space import DamagedSpace, HeadNote
from limpet.snapshots.findings import PATHS_LISTED, Finding, FindingKind, SnapshotPlace, Touched
from limpet.snapshots.lineage import Head
from limpet.snapshots.pack import PackRef
from limpet.snapshots.pack_survey import read_index, survey_pack
from limpet.snapshots.stored_heads import StoredHead, heads_folder, is_head_key, read_heads
from limpet.snapshots.tar_format import show
from limpet.snapshots.tar_read import TarVerifier
from limpet.snapshots.tars import TarStore, stored_tar_key
from limpet.stores.base import SandboxStore, StoredObject
from limpet.stores.keys import safe_org

Phase = Literal["heads", "packs", "snapshots", "tars", "repairs"]
"""Those of a check, and last what a repair does."""
OnProgress = Callable[[Phase, int, int], None]
"""Told how many of how many things of a phase are done."""
_PACKS_AT_ONCE: Final = 2
_LOST_COUNTED: Final = 100_000


async def check(
    store: SandboxStore,
    org: OrgId,
    *,
    read_data: bool = False,
    on_progress: OnProgress | None = None,
) -> AsyncIterator[Finding]:
    """Everything that is to be said of an org's snapshots, damage and information.

    Nothing is changed. May raise `StoreUnavailableError`.
    """
    checking = Checking(store, org, read_data=read_data, on_progress=on_progress)
    async for finding in checking.run():
        yield finding


@dataclass(slots=True)
class _Named:
    """What the heads name: packs with the sizes that they tell, and tars."""

    packs: dict[PackId, set[PackRef]] = field(default_factory=lambda: defaultdict(set))
    """Without refs when only snapshots that were set aside name it."""
    tars: set[str] = field(default_factory=set)


class Checking:
    """One check. `states` says afterwards what is known of each pack."""

    def __init__(
        self,
        store: SandboxStore,
        org: OrgId,
        *,
        read_data: bool,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.states: dict[PackId, PackState] = {}
        self.head_keys: list[str] = []
        self._named = _Named()
        self._set_aside: dict[str, HeadNote] = {}
        self._store = store
        self._org = org
        self._read_data = read_data
        self._on_progress = on_progress
        self._folder = PackFolder(store, org)
        self._damaged = DamagedSpace(store, org)
        self._touched: dict[PackId, Touched] = {}

    async def run(self) -> AsyncIterator[Finding]:
        """All findings."""
        async for finding in self._heads():
            yield finding
        async for finding in self._packs():
            yield finding
        async for finding in self._snapshots():
            yield finding
        for finding in self._pack_findings():
            yield finding
        async for finding in self._tars():
            yield finding

    # -- heads ---------------------------------------------------------------------------------

    async def _heads(self) -> AsyncIterator[Finding]:
        async for one in self._store.list(heads_folder(self._org)):
            if is_head_key(one.key):
                self.head_keys.append(one.key)
            else:
                yield Finding("unknown-object", one.key, "No head can lie here")
        there = set(self.head_keys)
        noted = await self._damaged.noted()
        done = 0
        async for stored in read_heads(self._store, self.head_keys):
            done += 1
            self._tell("heads", done, len(self.head_keys))
            if stored.key in noted:
                note = await self._damaged.note_of(stored.key, stored.body)
                if note is not None:
                    self._set_aside[stored.key] = note
            if stored.head is not None:
                self._take_names(stored.head, set_aside=stored.key in self._set_aside)
            elif stored.key in self._set_aside:
                yield self._aside(stored.key, ())
            else:
                yield _bad_head(stored, there)

    def _take_names(self, head: Head, *, set_aside: bool) -> None:
        if head.packed is None:
            self._named.tars.add(stored_tar_key(head))
            return
        for pack, ref in packs_of(head.packed).items():
            told = self._named.packs[pack]
            if not set_aside:
                told.add(ref)

    def _aside(self, key: str, places: tuple[SnapshotPlace, ...]) -> Finding:
        note = self._set_aside[key]
        return Finding(
            "snapshot-set-aside", key, note.what, places, len(places), note.paths, note.lost
        )

    # -- packs ---------------------------------------------------------------------------------

    async def _packs(self) -> AsyncIterator[Finding]:
        named = self._named.packs
        listed, others = await self._folder.listing()
        for one in others:
            yield Finding("unknown-object", one.key, "No pack can lie here")
        packs = sorted({*named, *(pack for pack in listed if not pack.shared)})
        done = 0

        async def judge(pack: PackId) -> PackState:
            nonlocal done
            told = named.get(pack, ())
            state = await self._folder.state(pack, listed.get(pack), told, whole=self._read_data)
            done += 1
            self._tell("packs", done, len(packs))
            return state

        states = await each(packs, judge, at_once=_PACKS_AT_ONCE)
        self.states = dict(zip(packs, states, strict=True))
        self._touched = {pack: Touched() for pack in packs if not self.states[pack].fine}

    def _pack_findings(self) -> Iterator[Finding]:
        for pack, state in self.states.items():
            key = pack.key(self._org)
            touched = self._touched.get(pack)
            if touched is not None:
                if not touched.count and (state.seen is None or pack.shared):
                    continue  # pruned meanwhile, or only snapshots that were set aside name it
                kind: FindingKind = "pack-missing" if state.seen is None else "pack-damaged"
                faults = dict.fromkeys((*state.misnamed, *state.faults))
                what = "; ".join(faults) or "it is not there"
                what = f"{what[0].upper()}{what[1:]}"
                yield Finding(kind, key, what, tuple(touched.first), touched.count)
            elif pack not in self._named.packs:
                yield Finding("pack-unnamed", key, "No head names this pack")

    # -- snapshots -----------------------------------------------------------------------------

    async def _snapshots(self) -> AsyncIterator[Finding]:
        walk = StateWalk(SoundParts(self._folder, self.states))
        done = 0
        async for stored in read_heads(self._store, self.head_keys):
            done += 1
            self._tell("snapshots", done, len(self.head_keys))
            head = stored.head
            if head is None or head.packed is None:
                continue
            aside = stored.key in self._set_aside
            for pack in packs_of(head.packed):
                if pack in self._touched and not aside:
                    self._touched[pack].add(head)
            lost = await walk.lost(head.packed)
            if lost is None:
                continue
            if aside:
                yield self._aside(stored.key, (SnapshotPlace.of(head),))
            else:
                count, paths = await to_thread.run_sync(counted, lost)
                what = (
                    f"Of its content {count:,} {'entry is' if count == 1 else 'entries are'} lost"
                )
                places = (SnapshotPlace.of(head),)
                yield Finding("snapshot-incomplete", stored.key, what, places, 1, paths, count)

    # -- tars ----------------------------------------------------------------------------------

    async def _tars(self) -> AsyncIterator[Finding]:
        named = self._named
        prefix = f"v1/{safe_org(self._org)}/tars/"
        listed: dict[str, StoredObject] = {}
        async for one in self._store.list(prefix):
            listed[one.key] = one
            if one.key not in named.tars:
                yield Finding("tar-unnamed", one.key, "No head names this tar")
        done = 0
        tars = TarStore(self._store)
        async for stored in read_heads(self._store, self.head_keys if named.tars else ()):
            head = stored.head
            if head is None or head.packed is not None:
                continue
            done += 1
            self._tell("tars", done, len(named.tars))
            seen = listed.get(stored_tar_key(head))
            found = await self._tar(tars, head, seen)
            if found is None:
                continue
            if stored.key in self._set_aside:
                yield self._aside(stored.key, (SnapshotPlace.of(head),))
            if seen is not None or stored.key not in self._set_aside:
                yield found
        async for finding in self._older_tars():
            yield finding

    async def _tar(self, tars: TarStore, head: Head, seen: StoredObject | None) -> Finding | None:
        key, places = stored_tar_key(head), (SnapshotPlace.of(head),)
        if seen is None:
            return Finding("tar-missing", key, "It is not there", places, 1)
        if seen.size_bytes != head.size_bytes:
            what = f"It has {seen.size_bytes:,} bytes, not {head.size_bytes:,}"
            return Finding("tar-damaged", key, what, places, 1)
        if self._read_data:
            try:
                async for _ in await tars.open(head):
                    pass
            except SnapshotDamagedError:
                what = "Its bytes are not what its head says"
                return Finding("tar-damaged", key, what, places, 1)
        return None

    async def _older_tars(self) -> AsyncIterator[Finding]:
        """Tars of the older layout, which have no heads: only reading them tells."""
        if not self._read_data:
            return
        async for one in self._store.list(f"{safe_org(self._org)}/"):
            chunks = await self._store.get(one.key)
            if chunks is None or not one.key.endswith(".tar"):
                continue
            verifier = TarVerifier()
            try:
                async for chunk in chunks:
                    await to_thread.run_sync(verifier.feed, chunk)
                await to_thread.run_sync(verifier.finish)
            except (SnapshotDamagedError, InvalidInputError) as error:
                yield Finding("tar-damaged", one.key, error.message)

    def _tell(self, phase: Phase, done: int, total: int) -> None:
        if self._on_progress is not None:
            self._on_progress(phase, done, total)


def _bad_head(stored: StoredHead, there: set[str]) -> Finding:
    if stored.belongs in there:
        return Finding("head-repeated", stored.key, f"It repeats the head at {stored.belongs}")
    if stored.belongs is not None:
        return Finding("head-elsewhere", stored.key, f"It belongs at {stored.belongs}")
    return Finding("head-unreadable", stored.key, f"The head cannot be used: {stored.why}")


class SoundParts:
    """What is whole of packs: all of a sound one, the frames that decode of a damaged one."""

    def __init__(self, folder: PackFolder, states: dict[PackId, PackState]) -> None:
        self._folder = folder
        self._states = states

    async def tree_frames(self, pack: PackId) -> AsyncIterator[bytes]:
        """See `check_trees.WholeBlobs`."""
        state = self._states.get(pack)
        data = await self._folder.bytes_of(pack)
        if state is None or data is None:
            return
        if state.sound:
            index = await to_thread.run_sync(read_index, data)
            for place in index.frames:
                yield bytes(data[place.offset : place.offset + place.length])
            return
        survey = await to_thread.run_sync(survey_pack, data, pack.kind, pack.name)
        for frame in survey.frames:
            yield frame.data

    async def data_names(self, pack: PackId) -> Iterable[BlobHash]:
        """See `check_trees.WholeBlobs`."""
        state = self._states.get(pack)
        if state is None or state.seen is None:
            return ()
        if state.sound:
            try:
                index = await self._folder.index(pack, state.seen.size_bytes)
            except SnapshotDamagedError:
                return ()
            return (index.hash(number) for number in range(len(index.sizes)))
        survey = await self._folder.survey(pack)
        return survey.names if survey is not None else ()


def counted(lost: Iterator[LostEntry]) -> tuple[int, tuple[str, ...]]:
    """How many entries are lost (so many at most), and the paths of the first."""
    first = list(islice(lost, PATHS_LISTED))
    more = sum(1 for _ in islice(lost, _LOST_COUNTED))
    return len(first) + more, tuple(show(one.path) or "." for one in first)
