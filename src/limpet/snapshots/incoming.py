"""A `restore` or `plan` stream while it is read: its header, all trees, then frames of data."""

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.frame import read_frame_header
from limpet.snapshots.judge import JudgedTree, RestoreLimits, TooMuchError, judge_tree
from limpet.snapshots.lineage import root_of
from limpet.snapshots.node import Root
from limpet.snapshots.tar_format import Progress
from limpet.snapshots.trees import TreeBlobs
from limpet.snapshots.wire import (
    StreamBrokenError,
    StreamEnd,
    StreamFrame,
    StreamHeader,
    StreamReader,
    StreamRecord,
)


class Incoming:
    """`judged_tree` or `read_trees` first, then `read_data`, which reads to the end.

    All raise `StreamBrokenError` when the stream breaks off or was changed, `TooMuchError` when
    there is too much of it, and whatever `chunks` raises. `on_progress` is told of bytes of the
    stream and entries of the tree, 0 until they are known.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        flow: Literal["restore", "plan"],
        limits: RestoreLimits,
        on_progress: Progress | None = None,
    ) -> None:
        self.size_bytes = 0
        self.claimed_entries = 0
        self.claimed_bytes = 0
        """What the header says of the whole tree; 0 when it says nothing."""
        self.trees = TreeBlobs()
        self._limits = limits
        self._reader = StreamReader(flow)
        self._on_progress = on_progress
        self._entries = 0
        self._records = self._read(chunks)
        self._first_data: bytes | None = None

    def judged_tree(self, expect_root: str | None = None) -> JudgedTree:
        """Read the trees and judge them; raises what `read_trees` and `judge_tree` do."""
        tree = judge_tree(self.read_trees(expect_root), self.trees, self._limits)
        self._entries = tree.entries
        return tree

    def read_trees(self, expect_root: str | None = None, *, keep: bool = True) -> Root:
        """Read the header and the trees, which land in `trees` unless they are known already.

        `SnapshotDamagedError` when the root digest is not `expect_root` (hex).
        """
        header = next(self._records)
        assert isinstance(header, StreamHeader)
        root = self._root(header.fields, expect_root)
        for frame in self._frames():
            if read_frame_header(frame).kind == "data":
                self._first_data = frame
                break
            if keep:
                self.trees.add_frame(frame)
            if self.trees.raw_bytes > self._limits.max_tree_bytes:
                raise TooMuchError(f"Its folders need over {self._limits.max_tree_bytes:,} bytes.")
        return root

    def read_data(self, take: Callable[[bytes], None]) -> None:
        """Read to the end; `take` gets each frame of data. It raises when a folder comes now."""
        if self._first_data is None:
            return
        take(self._first_data)
        self._first_data = None
        for frame in self._frames():
            if read_frame_header(frame).kind != "data":
                raise SnapshotDamagedError("In the stream a folder comes after the data")
            take(frame)

    def _root(self, fields: dict[str, Any], expect_root: str | None) -> Root:
        try:
            root = root_of(fields["root"])
            claimed = self.claimed_entries = int(fields.get("entries", 0))
            self.claimed_bytes = int(fields.get("bytes", 0))
            digest = root.digest
        except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
            raise StreamBrokenError("The stream does not say which state it holds") from error
        if claimed > self._limits.max_entries:
            raise TooMuchError(
                f"The snapshot holds more than {self._limits.max_entries:,} entries."
            )
        if expect_root is not None and digest != expect_root.lower():
            raise SnapshotDamagedError("The stream holds another state than the one asked for")
        return root

    def _frames(self) -> Iterator[bytes]:
        for record in self._records:
            if isinstance(record, StreamFrame):
                yield record.data
            elif not isinstance(record, StreamEnd):
                raise StreamBrokenError("The stream holds a record that cannot be there")

    def _read(self, chunks: Iterable[bytes]) -> Iterator[StreamRecord]:
        for chunk in chunks:
            self.size_bytes += len(chunk)
            if self.size_bytes > self._limits.max_stream_bytes:
                raise TooMuchError(f"The stream is over {self._limits.max_stream_bytes:,} bytes.")
            yield from self._reader.feed(chunk)
            if self._on_progress is not None:
                self._on_progress(self.size_bytes, self._entries)
        self._reader.finish()
