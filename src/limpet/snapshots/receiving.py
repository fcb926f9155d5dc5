"""A save stream as it arrives: verified frame by frame, its data gathered into packs.

Sans I/O, blocking, for one worker thread at a time. What comes from a sandbox is believed in
nothing: frames are decompressed and hashed here, and only what was hashed here gets a name. The
trees are kept until the end, when `judge_save` has seen all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from limpet.errors import InvalidInputError
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.data_packing import ArrivedFrame, DataPacking
from limpet.snapshots.frame import decode_frame, read_frame_header
from limpet.snapshots.judge import RestoreLimits, TooMuchError
from limpet.snapshots.lineage import root_of
from limpet.snapshots.node import Root
from limpet.snapshots.pack import FinishedPack, PackRef
from limpet.snapshots.trees import TreeBlobs
from limpet.snapshots.wire import (
    StreamBrokenError,
    StreamEnd,
    StreamFrame,
    StreamHeader,
    StreamReader,
    StreamRecord,
)

MAX_BOOT_ID: Final = 200
MAX_TREES_HELD_BYTES: Final = 128 << 20
"""Of tree frames as they came, which are kept in memory until the end: a million entries need some
half of it."""
MAX_RATIO: Final = 200
"""What is sent may unpack to so many times as much, once that is over a GiB."""
_RATIO_FROM_BYTES: Final = 1 << 30
_GROUP_BYTES: Final = 4 << 20
_MORE_BLOBS_THAN_ENTRIES: Final = 1 << 18
"""Large files are several blobs each."""


class ForeignBaseError(InvalidInputError):
    """A save builds upon a state that the control plane did not give it."""

    code = "foreign_base"


@dataclass(frozen=True, slots=True)
class SaveHeader:
    """The first record of a save stream."""

    base: str | None
    activity_seq: int
    boot_id: str


class Receiving:
    """`feed` it a piece of the stream, `store` what `frames` gives until that is nothing, and so
    on; then `finish`.

    `base` is the root digest that the stream may build upon, or None.
    """

    def __init__(self, base: str | None, limits: RestoreLimits | None = None) -> None:
        self.trees = TreeBlobs()
        self.used_trees: set[BlobHash] = set()
        self.sent_bytes = 0
        self._base = base
        self._limits = limits or RestoreLimits()
        self._reader = StreamReader("save")
        self._records: Iterator[StreamRecord] = iter(())
        self._header: SaveHeader | None = None
        self._end: StreamEnd | None = None
        self._raw_bytes = 0
        self._trees_held_bytes = 0
        self._packing = DataPacking()

    @property
    def header(self) -> SaveHeader:
        """What the stream said first."""
        if self._header is None:
            raise StreamBrokenError("The stream was cut off", hint="Try again.")
        return self._header

    def feed(self, data: bytes) -> None:
        """Take in a piece of the stream; `frames` must have given all of the one before.

        Raises `TooMuchError` when the stream is too long.
        """
        self.sent_bytes += len(data)
        if self.sent_bytes > self._limits.max_stream_bytes:
            raise TooMuchError(f"The stream is over {self._limits.max_stream_bytes:,} bytes.")
        self._records = self._reader.feed(data)

    def frames(self) -> tuple[list[ArrivedFrame], list[BlobHash]]:
        """Some frames of data, and which blobs are new in them; no frame when no more has come.

        However little is sent may unpack to much: so no more than some megabytes at a time. Raises
        `StreamBrokenError`, `SnapshotDamagedError` or `InvalidInputError` for what cannot be,
        `TooMuchError` beyond the limits.
        """
        frames: list[ArrivedFrame] = []
        raw_bytes = 0
        for record in self._records:
            frame = self._take(record)
            if frame is not None:
                frames.append(frame)
                raw_bytes += len(frame.decoded.raw)
                if raw_bytes >= _GROUP_BYTES:
                    break
        return frames, self._packing.unmet(frames)

    def store(
        self, frames: Sequence[ArrivedFrame], known: Mapping[BlobHash, PackRef]
    ) -> list[FinishedPack]:
        """Gather frames into packs, without what is `known`; gives the packs that are full now."""
        return self._packing.add(frames, known)

    def finish(self) -> tuple[Root, dict[str, Any]]:
        """The stream has ended: the root that it claims, and the receipt's JSON.

        Raises `StreamBrokenError` when it did not end as it should.
        """
        self._reader.finish()
        assert self._end is not None
        receipt = self._end.fields.get("receipt")
        try:
            root = root_of(self._end.fields["root"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StreamBrokenError("The stream does not say which state it holds") from error
        if not isinstance(receipt, dict):
            raise StreamBrokenError("The stream ends without a receipt")
        return root, receipt

    # -- what the tree is judged with ----------------------------------------------------------

    def use_data(self, name: BlobHash) -> int | None:
        """See `judge_save.SentBlobs`."""
        return self._packing.use(name)

    def use_all_data(self, names: Sequence[BlobHash], sizes: Sequence[int]) -> bool:
        """See `judge_save.SentBlobs`."""
        return self._packing.use_all(names, sizes)

    def use_tree(self, name: BlobHash) -> bool:
        """See `judge_save.SentBlobs`."""
        if name not in self.trees:
            return False
        self.used_trees.add(name)
        return True

    def last_packs(self) -> list[FinishedPack]:
        """What is left to be put, once the tree was judged; what it does not name is dropped."""
        return self._packing.finish()

    def data_packs(self) -> list[PackRef]:
        """The packs that hold what the tree names of what was sent, after `last_packs`."""
        return self._packing.used_packs()

    def wasteful_packs(self) -> dict[PackRef, frozenset[BlobHash]]:
        """Those of the data packs of which the tree names little, and what it names."""
        return self._packing.wasteful_packs()

    # -- inside --------------------------------------------------------------------------------

    def _take(self, record: StreamRecord) -> ArrivedFrame | None:
        """Take one record in; gives a frame of data, decoded."""
        if isinstance(record, StreamFrame):
            if read_frame_header(record.data).kind == "tree":
                self.trees.add_frame(record.data)
                self._trees_held_bytes += len(record.data)
                self._keep_within_limits()
                return None
            decoded = decode_frame(record.data)
            self._raw_bytes += len(decoded.raw)
            self._keep_within_limits()
            return ArrivedFrame(record.data, decoded)
        if isinstance(record, StreamHeader):
            self._header = _header(record.fields)
            if self._header.base not in {None, self._base}:
                raise ForeignBaseError(
                    "The save builds upon another state than the one that it may build upon",
                    hint="Save again in full.",
                )
        elif isinstance(record, StreamEnd):
            self._end = record
        else:
            raise StreamBrokenError("The stream holds a record that cannot be there")
        return None

    def _keep_within_limits(self) -> None:
        """What is held in memory of a stream is bounded, whatever it holds."""
        limits = self._limits
        raw_bytes = self._raw_bytes + self.trees.raw_bytes
        if raw_bytes > max(_RATIO_FROM_BYTES, MAX_RATIO * self.sent_bytes):
            raise TooMuchError(f"The save unpacks to over {MAX_RATIO} times what is sent.")
        most_blobs = limits.max_entries + _MORE_BLOBS_THAN_ENTRIES
        for what, found, most in (
            ("bytes of data", self._raw_bytes, limits.max_bytes),
            ("pieces of content", self._packing.blob_count, most_blobs),
            ("bytes of folders", self.trees.raw_bytes, limits.max_tree_bytes),
            ("bytes of packed folders", self._trees_held_bytes, MAX_TREES_HELD_BYTES),
            ("folders", len(self.trees), most_blobs),
        ):
            if found > most:
                raise TooMuchError(f"The save sends more than {most:,} {what}.")


def _header(fields: dict[str, Any]) -> SaveHeader:
    base, activity_seq, boot_id = (fields.get(n) for n in ("base", "activity_seq", "boot_id"))
    if (
        not (base is None or isinstance(base, str))
        or type(activity_seq) is not int
        or not 0 <= activity_seq < 1 << 63
        or not isinstance(boot_id, str)
        or len(boot_id) > MAX_BOOT_ID
    ):
        raise StreamBrokenError("The stream's header is none of a save")
    return SaveHeader(base, activity_seq, boot_id)
