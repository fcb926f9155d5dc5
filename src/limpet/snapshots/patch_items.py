"""What a patch moves in, made whole beside the workspace: items by number, in the plan folder.

An item is one entry of the target tree: a file, a symlink, or a folder with all that lies below it.
They are made by the same hands as a whole restore. What their files hold comes from files of the
workspace, read and hashed, and for the rest from the control plane.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import compress
from pathlib import Path
from typing import Final

from limpet.snapshots.blobs import HASH_BYTES, BlobHash, hash_of, names_in
from limpet.snapshots.filling import FillingThreads
from limpet.snapshots.finishing import (
    finish_folders,
    lost_mode_bits,
    make_folders,
    make_links,
)
from limpet.snapshots.frame import DecodedFrame
from limpet.snapshots.judge import JudgedTree, Judging, RestoreLimits
from limpet.snapshots.kernel import sync_file_system
from limpet.snapshots.native import EntryStat, parse_records, read_files
from limpet.snapshots.node import FOLDER, Entry, Root
from limpet.snapshots.patch_compare import Comparing
from limpet.snapshots.patch_journal import ITEMS
from limpet.snapshots.placing import Filler, Layout, Placing
from limpet.snapshots.present import Present
from limpet.snapshots.reading import OPEN_FILE
from limpet.snapshots.restore_tables import ROOT
from limpet.snapshots.space import require_space
from limpet.snapshots.statcache import Chunks
from limpet.snapshots.survey import open_below
from limpet.snapshots.tree import OPEN_FOLDER
from limpet.snapshots.trees import TreeBlobs

_OWN: Final = 0o700
"""A folder that is to be moved needs these."""
_NO_ROOT: Final = Root(BlobHash(bytes(HASH_BYTES)), _OWN, 0)
_BATCH_BYTES: Final = 1 << 20


class Items:
    """The items of one plan: `gather` and judge, `make`, fill, `finish`. Holds nothing open."""

    def __init__(self, folder: Path, trees: TreeBlobs, limits: RestoreLimits) -> None:
        self.folder = folder
        self.numbers: dict[bytes, int] = {}
        """By the path in the target tree."""
        self.tree = JudgedTree(_NO_ROOT)
        self.whole = False
        """Whether everything is there, with its looks, and on disk."""
        self._trees = trees
        self._limits = limits
        self._lost_bits = 0

    def gather(self, comparing: Comparing) -> None:
        """Take in what the comparison wants anew, and what hard links among it mean.

        Raises what judging the target's tree does.
        """
        while True:
            judging = Judging(JudgedTree(_NO_ROOT), self._trees, self._limits)
            judging.add(ROOT, self._numbered(comparing))
            missing = [one for one in judging.link_targets() if not comparing.is_new(one)]
            if not missing:
                break
            for target in missing:
                if not comparing.is_new(target):
                    comparing.renew(target)
        judging.judge_links(self._place_of)
        self.tree = judging.tree

    def make(self) -> None:
        """Make the folders, and the files that hold nothing; `NotEnoughSpaceError` or `OSError`."""
        require_space(self.folder.parent, self.tree.disk_bytes, self.tree.entries)
        self.folder.mkdir(mode=_OWN)
        (self.folder / ITEMS).mkdir(mode=_OWN)
        with self._opened() as placing:
            self._lost_bits = lost_mode_bits(placing.root_fd)
            make_folders(placing.root_fd, self.tree, self._lost_bits)
            placing.begin()

    def copy_from(self, present: Present, workspace_fd: int) -> None:
        """Fill in what files of the workspace hold; what is not as it was is passed over."""
        files = self.tree.files
        with self._opened() as placing, contextlib.closing(Filler(placing)) as filler:
            for path, folder in present.folders():
                if not files.missing:
                    return
                whole, pieces = [], []
                for index, content in enumerate(folder.contents()):
                    if isinstance(content, Chunks):
                        if any(files.wants(one.name) for one in content.references):
                            pieces.append((index, content))
                    elif isinstance(content, bytes) and files.wants(BlobHash(content)):
                        whole.append(index)
                if not whole and not pieces:
                    continue
                entries = parse_records(folder.records)
                with contextlib.suppress(OSError):
                    folder_fd = open_below(workspace_fd, path)
                    try:
                        for frame in _whole_files(folder_fd, [entries[one] for one in whole]):
                            filler.place(frame)
                        for index, chunks in pieces:
                            for frame in _pieces(folder_fd, entries[index], chunks, files.wants):
                                filler.place(frame)
                    finally:
                        os.close(folder_fd)

    def fill(self, read: Callable[[Callable[[bytes], None]], None]) -> None:
        """Fill in from frames: `read` is given what takes each."""
        with self._opened() as placing, FillingThreads(placing) as threads:
            read(threads.feed)

    def finish(self) -> None:
        """Links and looks, then all of it on disk; raises when a blob is missing."""
        with self._opened() as placing:
            placing.finish()
            make_links(placing.root_fd, self.tree)
            finish_folders(placing.root_fd, self.tree, self._lost_bits)
        sync_file_system(self.folder)
        self.whole = True

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Placing]:
        fd = os.open(self.folder / ITEMS, OPEN_FOLDER)
        try:
            yield Placing(fd, self.tree.folders, self.tree.files)
        finally:
            os.close(fd)

    def _numbered(self, comparing: Comparing) -> list[Entry]:
        """The entries that are to be made, each under its number."""
        entries = []
        for path, new in comparing.result.news.items():
            number = self.numbers.setdefault(path, len(self.numbers))
            entry = new.entry._replace(name=b"%d" % number)
            if entry.kind == FOLDER:
                entry = entry._replace(mode=entry.mode | _OWN)
            entries.append(entry)
        return sorted(entries, key=lambda entry: entry.name)

    def _place_of(self, path: bytes) -> bytes:
        """Where in the items a path of the target tree lies; empty when nowhere."""
        at = path.find(b"/")
        while at >= 0:
            number = self.numbers.get(path[:at])
            if number is not None:
                return b"%d" % number + path[at:]
            at = path.find(b"/", at + 1)
        number = self.numbers.get(path)
        return b"" if number is None else b"%d" % number


def _whole_files(folder_fd: int, entries: Iterable[EntryStat]) -> Iterator[DecodedFrame]:
    """Files of a folder that are still as long as they were, some at a time, hashed."""
    batch: list[EntryStat] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += entry.size
        if size >= _BATCH_BYTES:
            yield _read(folder_fd, batch)
            batch, size = [], 0
    if batch:
        yield _read(folder_fd, batch)


def _read(folder_fd: int, batch: list[EntryStat]) -> DecodedFrame:
    read = read_files(folder_fd, [one.name for one in batch], [one.size for one in batch])
    return DecodedFrame(
        "data",
        bytes(read.data),
        tuple(compress(names_in(read.hashes), read.lengths)),
        tuple(compress(read.offsets, read.lengths)),
        tuple(filter(None, read.lengths)),
    )


def _pieces(
    folder_fd: int, entry: EntryStat, chunks: Chunks, wants: Callable[[BlobHash], bool]
) -> Iterator[DecodedFrame]:
    """The wanted blobs of a large or sparse file, read and hashed."""
    fd = os.open(entry.name, OPEN_FILE, dir_fd=folder_fd)
    try:
        layout = Layout(chunks.segments, entry.size)
        offset = 0
        for blob, length in chunks.references:
            if wants(blob):
                raw = b"".join(os.pread(fd, n, at) for at, n in layout.pieces(offset, length))
                if len(raw) == length:
                    yield DecodedFrame("data", raw, (hash_of(raw),), (0,), (length,))
            offset += length
    finally:
        os.close(fd)
