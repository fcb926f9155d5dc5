"""A packed snapshot into a fresh folder: one `restore` stream in, a verified tree out.

All trees are judged before anything is made. Then folders; then, frame by frame as they come, the
files; then links, and last what folders look like. Whoever calls swaps the folder in afterwards: an
error leaves nothing behind.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from limpet.errors import InvalidInputError
from limpet.snapshots.faults import reach
from limpet.snapshots.filling import FillingThreads
from limpet.snapshots.finishing import (
    finish_folders,
    lost_mode_bits,
    make_folders,
    make_links,
)
from limpet.snapshots.incoming import Incoming
from limpet.snapshots.judge import JudgedTree, RestoreLimits
from limpet.snapshots.placing import Placing
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.seeding import Seeding
from limpet.snapshots.space import full_error, is_full, require_space
from limpet.snapshots.tar_format import Progress
from limpet.snapshots.tree import OPEN_FOLDER, delete_tree

RESTORE_STEPS: Final = (
    "restore-judged", "restore-folders", "restore-frame", "restore-files", "restore-links",
    "restore-looks",
)  # fmt: skip
"""Every point where a restore can be made to die (`LIMPET_FAULT=<point>:kill`)."""


def restore_stream(
    chunks: Iterable[bytes],
    into: Path,
    *,
    expect_root: str | None = None,
    limits: RestoreLimits | None = None,
    on_progress: Progress | None = None,
    on_restored: Callable[[Seeding], None] = lambda _: None,
) -> Receipt:
    """Restore a snapshot into `into`, which must not exist; gives the receipt.

    `chunks` is one stream of flow `restore`, in pieces of any size; `expect_root` the root digest
    (hex) that it must have; `on_progress` is told of bytes of the stream and entries of the tree;
    `on_restored` gets at the end what lets a stat cache know the files.
    Raises `SnapshotDamagedError` (`StreamBrokenError`, `BadNodeError`), `TooMuchError`,
    `NotEnoughSpaceError`, `InvalidInputError` or `OSError`; then `into` is gone again.
    """
    started = time.monotonic()
    incoming = Incoming(chunks, "restore", limits or RestoreLimits(), on_progress)
    tree = incoming.judged_tree(expect_root)
    reach("restore-judged")
    try:
        require_space(into.parent, tree.disk_bytes, tree.entries)
        into.mkdir(mode=0o700)
    except FileExistsError as error:
        raise InvalidInputError(f"{into} is there already.") from error
    except OSError as error:
        raise (full_error(error) if is_full(error) else error) from error
    try:
        _make(tree, incoming, into)
    except BaseException as error:
        with contextlib.suppress(OSError):
            delete_tree(into)
        if isinstance(error, OSError) and is_full(error):
            raise full_error(error) from error
        raise
    on_restored(Seeding(tree.root, incoming.trees))
    return Receipt(
        "restore",
        entries=tree.entries,
        files=len(tree.files),
        bytes=tree.bytes,
        size_bytes=incoming.size_bytes,
        blake3=tree.root.digest,
        duration_ms=int((time.monotonic() - started) * 1000),
        complete=True,
        counts=_counts(tree),
        live=False,
    )


def _make(tree: JudgedTree, incoming: Incoming, into: Path) -> None:
    root_fd = os.open(into, OPEN_FOLDER)
    try:
        lost_bits = lost_mode_bits(root_fd)
        make_folders(root_fd, tree, lost_bits)
        reach("restore-folders")
        placing = Placing(root_fd, tree.folders, tree.files)
        placing.begin()
        with FillingThreads(placing) as threads:
            incoming.read_data(threads.feed)
        placing.finish()
        reach("restore-files")
        make_links(root_fd, tree)
        finish_folders(root_fd, tree, lost_bits)
    finally:
        os.close(root_fd)


def _counts(tree: JudgedTree) -> dict[str, int]:
    found = {"symlinks": len(tree.symlinks), "hard_links": len(tree.hard_links)}
    return {what: number for what, number in found.items() if number}
