"""What a save sends: blobs that the other side does not have, in frames, compressed by threads.

Order is kept, each blob is sent once, and only so much waits that memory stays flat.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from limpet.snapshots.blobs import BlobHash, BlobKind
from limpet.snapshots.frame import FrameDraft, encode_frame
from limpet.snapshots.statcache import StatCache

WORKERS: Final = 2
_WAITING: Final = 8
T = TypeVar("T")


class Outgoing:
    """Gathers blobs into frames. `base` says what the other side has already. Close it."""

    def __init__(self, base: StatCache | None) -> None:
        self._base = base
        self._known_data: set[bytes] | None = None
        self._known_trees: set[bytes] | None = None
        self._drafts: dict[BlobKind, FrameDraft] = {
            "data": FrameDraft("data"),
            "tree": FrameDraft("tree"),
        }
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="limpet-save")
        self._encoding: deque[Future[bytes]] = deque()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Do something else in one of the threads."""
        return self._pool.submit(work)

    def data(self, blob: bytes | memoryview, name: BlobHash) -> None:
        """Send a data blob, unless it is there. A view must stay valid until it is sent."""
        known = self._data()
        if name not in known:
            known.add(name)
            self._add("data", blob)

    def tree(self, blob: bytes, name: BlobHash) -> None:
        """Send a tree blob, unless it is there."""
        if self._known_trees is None:
            self._known_trees = self._base.tree_blobs() if self._base is not None else set()
        if name not in self._known_trees:
            self._known_trees.add(name)
            self._add("tree", blob)

    def ready(self) -> Iterator[bytes]:
        """Frames, in order, until no more than a few wait."""
        while len(self._encoding) > _WAITING:
            yield self._encoding.popleft().result()
        while self._encoding and self._encoding[0].done():
            yield self._encoding.popleft().result()

    def drain(self) -> Iterator[bytes]:
        """All frames that are left."""
        for kind in self._drafts:
            self._close_draft(kind)
        while self._encoding:
            yield self._encoding.popleft().result()

    def close(self) -> None:
        """Let go of the threads; nothing more will be asked for."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _add(self, kind: BlobKind, blob: bytes | memoryview) -> None:
        draft = self._drafts[kind]
        if not draft.fits(len(blob)):
            self._close_draft(kind)
            draft = self._drafts[kind]
        draft.add(blob)
        if draft.full:
            self._close_draft(kind)

    def _close_draft(self, kind: BlobKind) -> None:
        draft = self._drafts[kind]
        if draft.blobs:
            blobs = draft.blobs
            self._encoding.append(self._pool.submit(lambda: encode_frame(kind, blobs)))
            self._drafts[kind] = FrameDraft(kind)

    def _data(self) -> set[bytes]:
        """Looked up only when there is something to send."""
        if self._known_data is None:
            self._known_data = self._base.data_blobs() if self._base is not None else set()
        return self._known_data
