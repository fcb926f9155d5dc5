"""What a save sends: blobs that the other side does not have, in frames, compressed by threads.

Order is kept, each blob is sent once, and only so much waits that memory stays flat.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from typing import Final, TypeVar

from limpet.snapshots.blobs import BlobHash, BlobKind
from limpet.snapshots.frame import (
    MAX_FRAME_BLOBS,
    MAX_FRAME_RAW_BYTES,
    TARGET_RAW_BYTES,
    encode_runs,
)
from limpet.snapshots.statcache import StatCache

WORKERS: Final = 2
_WAITING: Final = 8
T = TypeVar("T")


class _Draft:
    """The next frame: blobs of these sizes, one after another in `runs`."""

    def __init__(self) -> None:
        self.runs: list[bytes | memoryview] = []
        self.sizes: list[int] = []
        self.raw_bytes = 0


class Outgoing:
    """Gathers blobs into frames. `base` says what the other side has already. Close it."""

    def __init__(self, base: StatCache | None) -> None:
        self._base = base
        self._known_data: set[bytes] | None = None
        self._known_trees: set[bytes] | None = None
        self._drafts: dict[BlobKind, _Draft] = {"data": _Draft(), "tree": _Draft()}
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

    def data_run(self, run: memoryview, sizes: Sequence[int], names: Sequence[BlobHash]) -> None:
        """As `data` for each of the blobs of these sizes that lie in `run`, one after another."""
        known = self._data()
        new = set(names)
        if len(new) == len(names) and known.isdisjoint(new):
            known |= new
            self._add_run("data", run, sizes)
            return
        at = 0
        for size, name in zip(sizes, names, strict=True):
            if name not in known:
                known.add(name)
                self._add("data", run[at : at + size])
            at += size

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
        size = len(blob)
        if draft.raw_bytes + size < TARGET_RAW_BYTES and len(draft.sizes) + 1 < MAX_FRAME_BLOBS:
            draft.runs.append(blob)
            draft.sizes.append(size)
            draft.raw_bytes += size
        else:
            self._add_run(kind, blob, (size,))

    def _add_run(self, kind: BlobKind, run: bytes | memoryview, sizes: Sequence[int]) -> None:
        """Put blobs into frames; one is closed once its blobs come to what a frame should hold."""
        ends = list(accumulate(sizes))
        first = at = 0
        while first < len(sizes):
            draft = self._drafts[kind]
            full = bisect_left(ends, at + TARGET_RAW_BYTES - draft.raw_bytes) + 1
            fits = bisect_right(ends, at + MAX_FRAME_RAW_BYTES - draft.raw_bytes)
            last = min(full, fits, first + MAX_FRAME_BLOBS - len(draft.sizes), len(sizes))
            if last > first:
                end = ends[last - 1]
                draft.runs.append(run if end - at == len(run) else run[at:end])
                draft.sizes += sizes[first:last]
                draft.raw_bytes += end - at
                first, at = last, end
            if (
                first < len(sizes)
                or draft.raw_bytes >= TARGET_RAW_BYTES
                or len(draft.sizes) == MAX_FRAME_BLOBS
            ):
                self._close_draft(kind)

    def _close_draft(self, kind: BlobKind) -> None:
        draft = self._drafts[kind]
        if draft.sizes:
            self._encoding.append(self._pool.submit(encode_runs, kind, draft.runs, draft.sizes))
            self._drafts[kind] = _Draft()

    def _data(self) -> set[bytes]:
        """Looked up only when there is something to send."""
        if self._known_data is None:
            self._known_data = self._base.data_blobs() if self._base is not None else set()
        return self._known_data
