"""Which snapshot the workspace grew from, and whether it holds work that no snapshot has.

Kept in `state/origin.json`, outside of what is saved. Within one boot the activity counter tells
of unsaved work; after a restart the file system does: every entry's change time is compared with
the moment of the last save or restore.
"""

import asyncio
from pathlib import Path

import msgspec

from limpet.daemon.activity import Activity
from limpet.snapshots.durable import write_durably
from limpet.snapshots.tree import changed_since, is_empty, settled_clock_ns

ORIGIN = "origin.json"
KEPT_SAVES = 8


class Save(msgspec.Struct):
    """A save that was begun: what `committed` will name it by, and when it was."""

    boot_id: str
    seq: int
    clock_ns: int


class Record(msgspec.Struct):
    """What origin.json holds. `clock_ns` is of the file system's clock; 0 where unknown."""

    snapshot: str | None = None
    generation: int | None = None
    detached: bool = False
    pinned: str | None = None
    clock_ns: int = 0
    saves: list[Save] = []


class Origin(msgspec.Struct):
    """What `GET /snapshot/origin` answers."""

    snapshot: str | None
    generation: int | None
    unsaved: bool
    empty: bool
    detached: bool
    pinned: str | None


class OriginStore:
    """Owns origin.json. Disk work runs in threads; two calls at once take turns."""

    def __init__(self, path: Path, workspace: Path, boot_id: str, activity: Activity) -> None:
        self._path = path
        self._workspace = workspace
        self._boot_id = boot_id
        self._activity = activity
        self._lock = asyncio.Lock()
        self._record = Record()
        self._saved_seq = 0
        self._unsaved_before: bool | None = None

    def load(self) -> None:
        """Read what an earlier boot left; something unreadable counts as nothing. Blocking."""
        try:
            self._record = msgspec.json.decode(self._path.read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError):
            self._record = Record()

    @property
    def snapshot(self) -> str | None:
        """The snapshot that the workspace grew from."""
        return self._record.snapshot

    async def now(self) -> Origin:
        """How things stand. The first call after a start looks at the whole tree."""
        async with self._lock:
            empty = await asyncio.to_thread(is_empty, self._workspace)
            unsaved = self._activity.seq > self._saved_seq
            if not unsaved:
                if self._unsaved_before is None:
                    self._unsaved_before = await asyncio.to_thread(self._changed)
                unsaved = self._unsaved_before
            record = self._record
            return Origin(
                snapshot=record.snapshot,
                generation=record.generation,
                unsaved=unsaved and not (empty and record.snapshot is None),
                empty=empty,
                detached=record.detached,
                pinned=record.pinned,
            )

    async def saving(self, seq: int) -> None:
        """A save begins, with the counter at `seq`: what changes from now on is not in it."""
        async with self._lock:
            clock_ns = await asyncio.to_thread(settled_clock_ns, self._path.parent)
            saves = [*self._record.saves, Save(self._boot_id, seq, clock_ns)][-KEPT_SAVES:]
            await self._write(msgspec.structs.replace(self._record, saves=saves))

    async def committed(
        self, snapshot: str, generation: int | None, seq: int, boot_id: str
    ) -> None:
        """The save that began at `seq` of `boot_id` is durable, as `snapshot`."""
        async with self._lock:
            save = next(
                (s for s in self._record.saves if (s.boot_id, s.seq) == (boot_id, seq)), None
            )
            clock_ns = save.clock_ns if save is not None else 0
            await self._write(
                msgspec.structs.replace(
                    self._record, snapshot=snapshot, generation=generation, clock_ns=clock_ns
                )
            )
            if boot_id == self._boot_id:
                self._saved_seq = max(self._saved_seq, seq)
                self._unsaved_before = False
            else:
                self._unsaved_before = None

    async def restored(
        self, snapshot: str | None, generation: int | None, *, detached: bool
    ) -> None:
        """The workspace is this snapshot now, and nothing else is in it."""
        async with self._lock:
            clock_ns = await asyncio.to_thread(settled_clock_ns, self._path.parent)
            await self._write(
                Record(
                    snapshot=snapshot,
                    generation=generation,
                    detached=detached,
                    clock_ns=clock_ns,
                )
            )
            self._saved_seq = self._activity.seq
            self._unsaved_before = snapshot is None

    async def detach(self, *, detached: bool, pinned: str | None) -> None:
        """Whether the sandbox runs without the snapshot that it should have had."""
        async with self._lock:
            await self._write(
                msgspec.structs.replace(self._record, detached=detached, pinned=pinned)
            )

    def _changed(self) -> bool:
        if self._record.snapshot is None or not self._record.clock_ns:
            return True
        return changed_since(self._workspace, self._record.clock_ns)

    async def _write(self, record: Record) -> None:
        await asyncio.to_thread(write_durably, self._path, msgspec.json.encode(record))
        self._record = record
