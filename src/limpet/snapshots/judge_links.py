"""Judging the hard links of a tree that a save brings: each must mean what is there, and earlier.

A hard link that did not change may mean a path that did, so what the base had and the new tree has
not is gathered, and only when there is such a thing are the links of what did not change looked
through. Pure.
"""

from collections.abc import Iterator
from typing import Final

from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.named import named_blobs
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    LISTED_FILE,
    SYMLINK,
    BadNodeError,
    Entry,
)
from limpet.snapshots.tar_format import show
from limpet.snapshots.trees import TreeBlobs

LINKABLE: Final = frozenset({EMPTY_FILE, FILE, LISTED_FILE, SYMLINK})
"""What a hard link may mean."""


class LinkJudge:
    """Told of what changed while the trees are gone through; judges at the end."""

    def __init__(self) -> None:
        self._lost_names: set[bytes] = set()
        self._lost_folders: set[bytes] = set()
        self._kept_nodes: list[BlobHash] = []
        self._kept_targets: list[bytes] = []
        self._new: dict[bytes, list[tuple[bytes, bytes]]] = {}

    def lose_name(self, path: bytes) -> None:
        """At this path of the base no hard link may mean anything any more."""
        self._lost_names.add(path)

    def lose_folder(self, path: bytes) -> None:
        """The same of everything below this path."""
        self._lost_folders.add(path)

    def keep(self, node: BlobHash) -> None:
        """This folder of the base is where it was."""
        self._kept_nodes.append(node)

    def meet(self, folder: bytes, link: Entry, was: Entry | None) -> None:
        """A hard link in a folder that is new or changed; `was` is what the base has there.

        Raises `BadNodeError` when what it means does not come before it.
        """
        assert link.target is not None
        if link == was:
            self._kept_targets.append(link.target)
            return
        to_folder, _, to_name = link.target.rpartition(b"/")
        if (_order(to_folder), to_name) >= (_order(folder), link.name):
            raise _bad_link(link.target, "does not come before it")
        self._new.setdefault(to_folder, []).append((to_name, link.target))

    def judge_new(self, root: BlobHash, trees: TreeBlobs) -> None:
        """What new hard links mean must be there; each folder is read once.

        Raises `BadNodeError`.
        """
        if not self._new:
            return
        chain = [(b"", _by_name(trees, root))]
        for folder in sorted(self._new, key=_order):
            parts = folder.split(b"/") if folder else []
            shared = 0
            while (
                shared < min(len(chain) - 1, len(parts)) and chain[shared + 1][0] == parts[shared]
            ):
                shared += 1
            del chain[shared + 1 :]
            for part in parts[shared:]:
                entry = chain[-1][1].get(part)
                if entry is None or entry.kind != FOLDER or entry.hash is None:
                    raise _bad_link(self._new[folder][0][1], "lies in no folder")
                chain.append((part, _by_name(trees, entry.hash)))
            for name, target in self._new[folder]:
                meant = chain[-1][1].get(name)
                if meant is None or meant.kind not in LINKABLE:
                    raise _bad_link(target, "is no file or symlink")

    def judge_kept(self, base: TreeBlobs) -> None:
        """What the other hard links mean must still be there. Raises `BadNodeError`."""
        if not self._lost_names and not self._lost_folders:
            return
        for target in self._every_kept_target(base):
            if self._lost(target):
                raise _bad_link(target, "is not there any more")

    def _every_kept_target(self, base: TreeBlobs) -> Iterator[bytes]:
        yield from self._kept_targets
        yield from named_blobs(self._kept_nodes, base).link_targets

    def _lost(self, path: bytes) -> bool:
        if path in self._lost_names:
            return True
        at = path.find(b"/") if self._lost_folders else -1
        while at >= 0:
            if path[:at] in self._lost_folders:
                return True
            at = path.find(b"/", at + 1)
        return False


def join(folder: bytes, name: bytes) -> bytes:
    """The path of a name in a folder; the top folder is empty."""
    return folder + b"/" + name if folder else name


def _order(folder: bytes) -> bytes:
    """Sorts as the path's parts do, since no part holds a NUL."""
    return folder.replace(b"/", b"\0")


def _by_name(trees: TreeBlobs, node: BlobHash) -> dict[bytes, Entry]:
    return {entry.name: entry for entry in trees.entries(node)}


def _bad_link(target: bytes, why: str) -> BadNodeError:
    return BadNodeError(f"A hard link means {show(target)!r}, which {why}")
