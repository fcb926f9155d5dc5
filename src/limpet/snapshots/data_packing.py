"""Frames of data that arrived, gathered into packs: each blob once, none that the org has already.

Pure. A frame whose blobs are all new is stored as it came; of one that is partly known the rest is
framed anew.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, cast

from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.frame import DecodedFrame
from limpet.snapshots.pack import TARGET_PACK_BYTES, FinishedPack, PackName, PackRef
from limpet.snapshots.pack_maker import PackMaker

# What is kept of each blob is one number, since there may be a million of them: the number of its
# pack, its size, and in the last bit whether the tree names it.
_PACK_SHIFT: Final = 22
_BELOW_PACK: Final = (1 << _PACK_SHIFT) - 1
_SIZES: Final = _BELOW_PACK >> 1
_DOUBLED: Final = (2).__mul__
_REUSED: Final = 1 << 32
"""Numbers from here on are those of packs that were there already."""


class ArrivedFrame(NamedTuple):
    """A frame as it came, and what was found in it."""

    frame: bytes
    decoded: DecodedFrame


class DataPacking:
    """Every data blob of one save: where it lies, and whether the tree names it."""

    def __init__(self) -> None:
        self._blobs: dict[BlobHash, int] = {}
        self._sent_bytes = 0
        self._used_bytes = 0
        self._maker = PackMaker("data", self._lies_in)
        self._made: list[PackRef] = []
        self._reused: dict[PackName, int] = {}
        self._reused_packs: list[PackRef] = []

    @property
    def blob_count(self) -> int:
        """How many different blobs came."""
        return len(self._blobs)

    def unmet(self, frames: Iterable[ArrivedFrame]) -> list[BlobHash]:
        """The blobs in these frames that did not come before, each once."""
        met = self._blobs
        return list({name for one in frames for name in one.decoded.hashes if name not in met})

    def add(
        self, frames: Iterable[ArrivedFrame], known: Mapping[BlobHash, PackRef]
    ) -> list[FinishedPack]:
        """Take frames in; gives the packs that are full now.

        `known` are those of their blobs that the org surely has, and in which pack.
        """
        for frame, decoded in frames:
            if self._all_new(decoded, known):
                self._maker.add_frame(frame, decoded.hashes, decoded.sizes)
                continue
            fresh = [
                index
                for index, name in enumerate(decoded.hashes)
                if self._first_met(name, decoded.sizes[index], known)
            ]
            if len(fresh) == len(decoded.hashes):
                self._maker.add_frame(frame, decoded.hashes, decoded.sizes)
                continue
            for index in fresh:
                self._maker.add_blob(decoded.hashes[index], decoded.blob(index))
        return self._finished()

    def use(self, name: BlobHash) -> int | None:
        """Mark a blob as one that the tree names; its size, or None when it did not come."""
        told = self._blobs.get(name)
        if told is None:
            return None
        if not told & 1:
            self._blobs[name] = told | 1
            self._used_bytes += told >> 1 & _SIZES
        return told >> 1 & _SIZES

    def use_all(self, names: Sequence[BlobHash], sizes: Sequence[int]) -> bool:
        """As `use` for each, when all came and are of these sizes; else False, and none is marked.

        A blob may be named several times.
        """
        told = list(map(self._blobs.get, names))
        if None in told:
            return False
        known = cast("list[int]", told)
        if [number >> 1 & _SIZES for number in known] != list(sizes):
            return False
        new = {name: one | 1 for name, one in zip(names, known, strict=True) if not one & 1}
        self._blobs.update(new)
        self._used_bytes += sum(number >> 1 & _SIZES for number in new.values())
        return True

    def finish(self) -> list[FinishedPack]:
        """The last packs, without the frames of which the tree names nothing."""
        self._maker.drop(lambda name: bool(self._blobs[name] & 1))
        return self._finished(last=True)

    def used_packs(self) -> list[PackRef]:
        """The packs in which the blobs lie that the tree names: the reused ones, then the new."""
        numbers = sorted({told >> _PACK_SHIFT for told in self._blobs.values() if told & 1})
        reused = [self._reused_packs[n - _REUSED] for n in numbers if n >= _REUSED]
        return reused + [self._made[n] for n in numbers if n < _REUSED]

    def wasteful_packs(self) -> dict[PackRef, frozenset[BlobHash]]:
        """Finished packs of which the tree names less than half, and what it names of them."""
        if self._sent_bytes - self._used_bytes < TARGET_PACK_BYTES // 2:
            return {}
        sizes: Counter[int] = Counter()
        used: Counter[int] = Counter()
        for told in self._blobs.values():
            sizes[told >> _PACK_SHIFT] += told >> 1 & _SIZES
            used[told >> _PACK_SHIFT] += (told >> 1 & _SIZES) * (told & 1)
        wasteful = {n for n in range(len(self._made)) if 0 < used[n] < sizes[n] / 2}
        names: dict[int, list[BlobHash]] = {number: [] for number in wasteful}
        for name, told in self._blobs.items():
            if told & 1 and told >> _PACK_SHIFT in wasteful:
                names[told >> _PACK_SHIFT].append(name)
        return {self._made[number]: frozenset(names[number]) for number in sorted(wasteful)}

    # -- inside --------------------------------------------------------------------------------

    def _finished(self, *, last: bool = False) -> list[FinishedPack]:
        finished = self._maker.take_finished(last=last)
        self._made += [pack.ref for pack in finished]
        return finished

    def _all_new(self, decoded: DecodedFrame, known: Mapping[BlobHash, PackRef]) -> bool:
        """Take all blobs of a frame in, when each comes for the first time and nobody has it."""
        names = decoded.hashes
        if (
            len(set(names)) < len(names)
            or any(map(known.__contains__, names))
            or any(map(self._blobs.__contains__, names))
        ):
            return False
        self._blobs.update(zip(decoded.hashes, map(_DOUBLED, decoded.sizes), strict=True))
        self._sent_bytes += len(decoded.raw)
        return True

    def _first_met(self, name: BlobHash, size: int, known: Mapping[BlobHash, PackRef]) -> bool:
        """Whether the blob must be stored: it comes for the first time and nobody has it."""
        if name in self._blobs:
            return False
        pack = known.get(name)
        number = 0 if pack is None else _REUSED + self._number_of(pack)
        self._blobs[name] = number << _PACK_SHIFT | size << 1
        self._sent_bytes += size
        return pack is None

    def _number_of(self, pack: PackRef) -> int:
        number = self._reused.setdefault(pack.name, len(self._reused_packs))
        if number == len(self._reused_packs):
            self._reused_packs.append(pack)
        return number

    def _lies_in(self, names: Sequence[BlobHash], number: int) -> None:
        place = number << _PACK_SHIFT
        for name in names:
            self._blobs[name] = place | self._blobs[name] & _BELOW_PACK
