"""Which packs a new snapshot may build upon: those that are there and are not going to be deleted.

The order of the two looks matters. Prune deletes a pack first and its record last; so who reads the
records first and then asks for the pack misses neither (docs/decisions/0017-prune.md).
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from limpet.errors import ConflictError
from limpet.snapshots.blobs import BlobKind
from limpet.snapshots.condemned import CondemnedObjects
from limpet.snapshots.pack import PackRef
from limpet.snapshots.pack_store import PackStore

_KINDS: Final[tuple[BlobKind, BlobKind]] = ("data", "tree")
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class PackGoneError(ConflictError):
    """A pack that a save builds upon has gone, or will; the save can be made again."""

    code = "pack_gone"


def awake_or_asleep_s() -> float:
    """Seconds since some moment, those included in which the machine slept."""
    return time.clock_gettime(_CLOCK)


class ReusablePacks:
    """The packs of an org and of the templates. May raise `StoreUnavailableError`."""

    def __init__(
        self, packs: PackStore, own: CondemnedObjects, templates: CondemnedObjects
    ) -> None:
        self._packs = packs
        self._own = own
        self._templates = templates

    async def look(self) -> None:
        """Read what is condemned, for `barred`."""
        await self._own.keys()
        await self._templates.keys()

    def barred(self, kind: BlobKind, ref: PackRef) -> bool:
        """Whether the pack was going to be deleted when that was looked at last."""
        condemned = self._templates if ref.shared else self._own
        return self._packs.key(kind, ref) in condemned.seen

    async def unfit(
        self, reused: Mapping[BlobKind, Sequence[PackRef]]
    ) -> dict[BlobKind, list[PackRef]]:
        """Those of these packs that nothing new may build upon, as of now."""
        every = [ref for refs in reused.values() for ref in refs]
        if any(not ref.shared for ref in every):
            await self._own.keys()
        if any(ref.shared for ref in every):
            await self._templates.keys()
        return {
            kind: unfit
            for kind, refs in reused.items()
            if (
                unfit := [
                    *(ref for ref in refs if self.barred(kind, ref)),
                    *await self._packs.missing(
                        kind, [ref for ref in refs if not self.barred(kind, ref)]
                    ),
                ]
            )
        }

    async def barred_of(self, packs: Iterable[PackRef], trees: Iterable[PackRef]) -> int:
        """How many of these packs are going to be deleted, as of now."""
        await self.look()
        return sum(
            self.barred(kind, ref)
            for kind, refs in zip(_KINDS, (packs, trees), strict=True)
            for ref in refs
        )


def gone(count: int) -> PackGoneError:
    """So many packs are not to be built upon."""
    what = (
        "1 pack that the save builds upon is"
        if count == 1
        else (f"{count} packs that the save builds upon are")
    )
    return PackGoneError(
        f"{what} gone or about to be deleted",
        hint="Save again: what is missing is sent then.",
    )
