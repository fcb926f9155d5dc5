"""Blobs and frames made into packs, one after another.

Into each pack goes a blob of random bytes that nothing names. So no two packs that were made apart
have one name, and a pack that is going to be deleted never comes back under its old one
(docs/decisions/0017-prune.md).
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Final

from blake3 import blake3

from limpet.snapshots.blobs import BlobHash, BlobKind
from limpet.snapshots.frame import FrameDraft, encode_frame
from limpet.snapshots.pack import FinishedPack, PackBuilder

Stored = Callable[[Sequence[BlobHash], int], None]
"""Told which blobs lie in the pack of which number, the first one being 0."""

_MARK_BYTES: Final = 16


class PackMaker:
    """Takes whole frames as they are, and single blobs, which it frames; in the order given.

    Packs that are full wait in `finished` until `take_finished`. Without being `marked` they are
    the same for the same content: for repairs, which are cut short and done again.
    """

    def __init__(
        self, kind: BlobKind, stored: Stored | None = None, *, marked: bool = True
    ) -> None:
        self._kind: BlobKind = kind
        self._stored = stored
        self._marked = marked
        self._builder = PackBuilder(kind)
        self._number = 0
        self._draft = FrameDraft(kind)
        self._draft_names: list[BlobHash] = []
        self._finished: list[FinishedPack] = []

    def add_frame(self, frame: bytes, names: Sequence[BlobHash], sizes: Sequence[int]) -> None:
        """A frame of this kind and what was found in it."""
        self._builder.add(frame, names, sizes)
        if self._stored is not None:
            self._stored(names, self._number)
        if self._builder.full:
            self._close()

    def add_blob(self, name: BlobHash, blob: bytes) -> None:
        """A blob of 1 byte to 1 MiB."""
        if not self._draft.fits(len(blob)):
            self._flush()
        self._draft.add(blob)
        self._draft_names.append(name)
        if self._draft.full:
            self._flush()

    def drop(self, wanted: Callable[[BlobHash], bool]) -> None:
        """Leave out again what is not wanted, as far as it is in no finished pack.

        A frame of which something is wanted is kept whole.
        """
        draft, names = self._draft, self._draft_names
        builder, self._builder = self._builder, PackBuilder(self._kind)
        self._draft, self._draft_names = FrameDraft(self._kind), []
        for place, frame in zip(builder.frames, builder.parts, strict=True):
            of_frame = builder.names_of(place)
            if any(map(wanted, of_frame)):
                end = place.first_blob + place.blob_count
                self._builder.add(frame, of_frame, builder.sizes[place.first_blob : end])
        for name, blob in zip(names, draft.blobs, strict=True):
            if wanted(name):
                self._draft.add(blob)
                self._draft_names.append(name)

    def take_finished(self, *, last: bool = False) -> list[FinishedPack]:
        """The packs that are full; with `last` also the one that is not. Each is given once."""
        if last:
            self._flush()
            if self._builder.frames:
                self._close()
        finished, self._finished = self._finished, []
        return finished

    def _flush(self) -> None:
        draft, names = self._draft, self._draft_names
        if draft.blobs:
            self._draft, self._draft_names = FrameDraft(self._kind), []
            frame = encode_frame(self._kind, draft.blobs)
            self.add_frame(frame, names, [len(blob) for blob in draft.blobs])

    def _close(self) -> None:
        if self._marked:
            mark = secrets.token_bytes(_MARK_BYTES)
            name = BlobHash(blake3(mark).digest())
            self._builder.add(encode_frame(self._kind, [mark]), [name], [len(mark)])
        self._finished.append(self._builder.finish())
        self._builder = PackBuilder(self._kind)
        self._number += 1
