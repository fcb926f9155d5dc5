"""Repair: whatever of an org's snapshots is whole stays, or becomes, usable; nothing is deleted.

In this order, so that a repair that is cut short has only added things and can be done again:

1. A damaged pack whose bytes can be made again, as its name proves, is put back.
2. What is whole of any other damaged pack is packed anew.
3. A head whose blobs are all somewhere is pointed there: the same snapshot, found elsewhere.
4. Of a head that lost something a note is kept; it stays in the history and lookups pass it by.
   The rest of it, when no newer snapshot is whole or a user named it, becomes a side lineage.
5. Damaged packs and tars are moved away, so that no save and no lookup comes upon them.

Nobody else may write to the org's snapshots meanwhile (docs/decisions/0010-check-and-repair.md).
"""

from dataclasses import dataclass, field
from typing import Final

from anyio import CancelScope, from_thread, to_thread
from blake3 import blake3

from limpet.ids import OrgId
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.check import Checking, OnProgress
from limpet.snapshots.check_packs import PackFolder, PackId, packs_of
from limpet.snapshots.condemned import CondemnedObjects
from limpet.snapshots.damaged_space import DamagedSpace, HeadNote
from limpet.snapshots.faults import reach
from limpet.snapshots.findings import PATHS_LISTED, Finding, SnapshotPlace
from limpet.snapshots.lineage import Head, Lineage, Packed
from limpet.snapshots.pack import PackRef
from limpet.snapshots.pack_maker import PackMaker
from limpet.snapshots.pack_survey import made_again, survey_pack
from limpet.snapshots.repair_heads import HeadRepair
from limpet.snapshots.salvage import lost_of, salvage
from limpet.snapshots.sound_packs import Needed, SoundPacks, needed
from limpet.snapshots.stored_heads import StoredHead, read_heads
from limpet.snapshots.tar_format import show
from limpet.snapshots.tars import stored_tar_key
from limpet.stores.base import SandboxStore

REPAIR_STEPS: Final = (
    "repair-pack-put-back", "repair-pack-made", "repair-copy-kept", "repair-head-pointed",
    "repair-side-created", "repair-note-kept", "repair-moved",
)  # fmt: skip
"""Every point where a repair can be made to die (`LIMPET_FAULT=<point>:kill`)."""


@dataclass(slots=True)
class RepairReport:
    """What a repair did; keys, where nothing else is said. Empty when there was nothing to do."""

    put_back: list[str] = field(default_factory=list)
    """Packs whose bytes could be made again."""
    made: list[str] = field(default_factory=list)
    """New packs, of what was whole in damaged ones."""
    whole_again: list[SnapshotPlace] = field(default_factory=list)
    """Snapshots that lay in what was damaged and are whole."""
    incomplete: list[HeadNote] = field(default_factory=list)
    """Snapshots that cannot be whole any more, and where the rest of each is."""
    moved: list[str] = field(default_factory=list)
    """Damaged packs and tars that were moved away."""
    left: list[Finding] = field(default_factory=list)
    """Damage that nothing can be done about: tars of the older layout."""


async def repair(
    store: SandboxStore, org: OrgId, *, on_progress: OnProgress | None = None
) -> RepairReport:
    """Repair what is damaged of an org's snapshots; everything is read for that.

    Nobody else may write to them meanwhile. A repair that was cut short is to be done again, and
    one that finds no damage changes nothing. May raise `StoreUnavailableError` or
    `NotEnoughSpaceError`.
    """
    sound = await to_thread.run_sync(lambda: SoundPacks(store, org))
    try:
        return await _Repairing(store, org, sound, on_progress).run()
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(sound.close)


class _Repairing:
    def __init__(
        self, store: SandboxStore, org: OrgId, sound: SoundPacks, on_progress: OnProgress | None
    ) -> None:
        self._report = RepairReport()
        self._sound = sound
        self._store = store
        self._org = org
        self._folder = PackFolder(store, org)
        self._damaged = DamagedSpace(store, org)
        self._heads = HeadRepair(store, org, sound)
        self._checking = Checking(store, org, read_data=True, on_progress=on_progress)
        self._on_progress = on_progress
        self._bad: dict[str, Finding] = {}
        """What is wrong with heads and tars, by their keys."""
        self._lost_of: set[str] = set()
        """Heads of snapshots that were not whole when this began."""
        self._sound_before: dict[PackId, PackRef] = {}
        self._nothing_newer = True

    async def run(self) -> RepairReport:
        if not await self._look():
            return self._report
        await self._spare_packs()
        states = self._checking.states
        for pack, state in states.items():
            if state.sound and state.seen is not None:
                await self._sound.add(pack, state.seen.size_bytes)
        self._sound_before = dict(self._sound.refs)
        damaged = [pack for pack, state in states.items() if state.seen and not state.sound]
        damaged = [pack for pack in damaged if not await self._put_back(pack)]
        for pack in damaged:
            await self._pack_what_is_whole(pack)
        await self._repair_heads()
        for pack in damaged:
            # One of the templates' is repaired with the templates.
            if not pack.shared and pack not in self._sound.refs:
                await self._move(pack.key(self._org))
        for key, finding in self._bad.items():
            if finding.kind == "tar-damaged":
                await self._move(key)
        return self._report

    async def _look(self) -> bool:
        """Whether there is anything to be done."""
        async for one in self._checking.run():
            if one.kind in {"snapshot-incomplete", "snapshot-set-aside"}:
                self._lost_of.add(one.key)
            elif one.kind == "tar-damaged" and not one.snapshots:
                self._report.left.append(one)
            elif one.damage:
                self._bad[one.key] = one
        return bool(self._bad or self._lost_of)

    async def _spare_packs(self) -> None:
        """Packs that nothing named may be what a damaged snapshot is made whole from."""
        condemned = CondemnedObjects(self._store, self._org)
        for record in await condemned.records():
            if record.why == "unnamed":
                await condemned.drop(record)

    # -- packs ---------------------------------------------------------------------------------

    async def _put_back(self, pack: PackId) -> bool:
        """Put the pack's own bytes in their place again, when they can be made."""
        data = await self._folder.bytes_of(pack)
        if data is None:
            return False
        survey = await to_thread.run_sync(survey_pack, data, pack.kind, pack.name)

        def find(name: BlobHash) -> bytes | None:
            return from_thread.run(self._sound.blob, pack.kind, name)

        made = await to_thread.run_sync(made_again, survey, data, find)
        if made is None:
            return False
        await self._sound.put(made, shared=pack.shared)
        reach("repair-pack-put-back")
        self._report.put_back.append(pack.key(self._org))
        return True

    async def _pack_what_is_whole(self, pack: PackId) -> None:
        """Pack the frames that are whole anew, whoever needs them."""
        survey = await self._folder.survey(pack)
        maker = PackMaker(pack.kind, marked=False)
        for frame in survey.frames if survey is not None else ():
            maker.add_frame(frame.data, frame.hashes, frame.sizes)
        for made in maker.take_finished(last=True):
            if await self._sound.put(made):
                reach("repair-pack-made")
                self._report.made.append(PackId.of(pack.kind, made.ref).key(self._org))

    # -- heads ---------------------------------------------------------------------------------

    async def _repair_heads(self) -> None:
        """Newest first in each lineage: once one is whole, or the rest of one is kept, the rest of
        older ones is of no use to anybody who did not name it.
        """
        lineage, done, keys = "", 0, self._checking.head_keys
        noted = await self._damaged.noted()
        async for stored in read_heads(self._store, reversed(keys)):
            done += 1
            if self._on_progress is not None:
                self._on_progress("repairs", done, len(keys))
            if stored.key.rpartition("/")[0] != lineage:
                lineage = stored.key.rpartition("/")[0]
                self._nothing_newer = True
            note = None
            if stored.key in noted:
                note = await self._damaged.note_of(stored.key, stored.body)
            if await self._is_whole(stored, note):
                self._nothing_newer = False
            elif note is not None:
                self._nothing_newer = self._nothing_newer and note.kept_in is None

    async def _is_whole(self, stored: StoredHead, note: HeadNote | None) -> bool:
        """Whether the snapshot is whole, or is so now; when not, there is a note of it now."""
        head = stored.head
        if head is None:
            bad = self._bad.get(stored.key)
            what = bad.what if bad is not None else "The head cannot be used"
        elif head.packed is not None:
            return await self._is_whole_tree(stored, head, head.packed, note)
        else:
            bad = self._bad.get(stored_tar_key(head))
            if bad is None and stored.key not in self._lost_of:
                return True
            what = f"Its tar cannot be used: {bad.what}" if bad is not None else ""
        if note is None:
            await self._note(stored, what, (), None)
        return False

    async def _is_whole_tree(
        self, stored: StoredHead, head: Head, packed: Packed, note: HeadNote | None
    ) -> bool:
        packs = packs_of(packed)
        was_lost = stored.key in self._lost_of
        if not was_lost and packs.items() <= self._sound_before.items():
            return True
        if was_lost or not packs.items() <= self._sound.refs.items():
            found = await needed(packed, self._sound)
            if found.lost:
                if note is None:
                    await self._set_aside(stored, head, found)
                return False
            if found.packs != packs:
                await self._heads.point_at(stored, head, found)
        self._report.whole_again.append(SnapshotPlace.of(head))
        return True

    async def _set_aside(self, stored: StoredHead, head: Head, found: Needed) -> None:
        assert head.packed is not None
        root, rest = head.packed.root, None
        if self._nothing_newer or head.name is not None:
            rest = await to_thread.run_sync(salvage, root, found)
        dropped = rest.dropped if rest else await to_thread.run_sync(lost_of, root, found)
        entries = "1 entry is" if len(dropped) == 1 else f"{len(dropped):,} entries are"
        what = f"Of its content {entries} lost"
        kept_in: Lineage | None = None
        if rest is not None:
            kept_in = await self._heads.keep_rest(head, found, rest)
            what += f"; the rest is kept as {kept_in}"
            self._nothing_newer = False
        await self._note(stored, what, dropped, kept_in)

    async def _note(
        self, stored: StoredHead, what: str, lost: tuple[bytes, ...], kept_in: Lineage | None
    ) -> None:
        note = HeadNote(
            key=stored.key,
            head_blake3=blake3(stored.body).hexdigest(),
            what=what,
            lost=len(lost),
            paths=tuple(map(show, lost[:PATHS_LISTED])),
            kept_in=kept_in,
        )
        await self._damaged.note(note)
        reach("repair-note-kept")
        self._report.incomplete.append(note)

    async def _move(self, key: str) -> None:
        if await self._store.head(key) is not None:
            await self._damaged.take_away(key)
            reach("repair-moved")
            self._report.moved.append(key)
