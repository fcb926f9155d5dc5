"""What a workspace holds now, as a snapshot would tell it: where a patch begins.

One scan with the stat cache that fits best; nothing is compressed or sent. What it finds is kept as
the stat cache of the present state, so that a second look costs what changed since the first.
"""

import contextlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from limpet.errors import ConflictError
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.native import EntryStat, parse_records, scan_folder
from limpet.snapshots.node import Root
from limpet.snapshots.outgoing import Outgoing
from limpet.snapshots.scan import Scan
from limpet.snapshots.statcache import CachedFolder, EntryContent, StatCache, StatCaches
from limpet.snapshots.survey import open_below, open_workspace
from limpet.snapshots.tree import NOT_SAVED, RESERVED

LEFT_OUT: Final = frozenset(os.fsencode(name) for name in (*NOT_SAVED, RESERVED))


class _Nowhere(Outgoing):
    """Takes what a scan would send; nobody wants it."""

    def data(self, blob: bytes | memoryview, name: BlobHash) -> None:
        """Not sent."""

    def tree(self, blob: bytes, name: BlobHash) -> None:
        """Not sent."""


class Present:
    """A workspace as it was looked at. Close it.

    `linked` tells of each further name of a file the first one, as a walk of the tree meets them;
    `strays`, by folder, what no snapshot carries: sockets, FIFOs, devices, what cannot be read,
    and what the ignore files that lie there leave out.
    """

    def __init__(
        self, root: Root, cache: StatCache, workspace_fd: int, left_out: Collection[bytes]
    ) -> None:
        self.root = root
        self._cache = cache
        self.linked: dict[bytes, bytes] = {}
        self.further_names: dict[bytes, list[bytes]] = {}
        self.strays: dict[bytes, list[EntryStat]] = {}
        self._look_closer(workspace_fd, left_out)

    def close(self) -> None:
        """Let go of the cache."""
        self._cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def folder(self, path: bytes) -> CachedFolder | None:
        """A folder that is there, by its relative path."""
        return self._cache.folder(path)

    def folders(self) -> Iterator[tuple[bytes, CachedFolder]]:
        """Every folder with its path."""
        return self._cache.folders()

    def _look_closer(self, workspace_fd: int, left_out: Collection[bytes]) -> None:
        """At folders of which no listing tells all, and those where rules leave something out."""
        names: dict[tuple[int, int], list[bytes]] = {}
        for path, folder in self._cache.folders():
            if not folder.always_look and path not in left_out:
                continue
            known = parse_records(folder.records)
            for entry in known:
                if entry.nlink > 1 and not stat.S_ISDIR(entry.mode):
                    where = join(path, entry.name)
                    names.setdefault((entry.dev, entry.ino), []).append(where)
            strays = _strays(workspace_fd, path, known)
            if strays:
                self.strays[path] = strays
        for together in names.values():
            first, *others = sorted(together, key=walk_order)
            if others:
                self.further_names[first] = others
                self.linked.update(dict.fromkeys(others, first))


def look(workspace: Path, caches: StatCaches, base: str | None) -> Present:
    """Look at the workspace; `base` is the root digest of the cache to begin with, if any.

    Raises `OSError`, and `ConflictError` when something in it cannot be read.
    """
    known = caches.open(base) if base else None
    outgoing = _Nowhere(known)
    workspace_fd = open_workspace(workspace)
    with contextlib.ExitStack() as opened:
        opened.callback(os.close, workspace_fd)
        opened.callback(outgoing.close)
        if known is not None:
            opened.enter_context(known)
        scan = Scan(workspace_fd, LEFT_OUT, known, outgoing)
        for _ in scan.run():
            pass
        if scan.remarks.counts["unreadable"]:
            raise ConflictError(
                f"{scan.remarks.counts['unreadable']} entries of the workspace cannot be read."
            )
        scan.write_cache(caches)
        cache = caches.open(scan.root.digest)
        if cache is None:
            raise ConflictError("The stat cache that was just written cannot be read.")
        left_out = {folder.path for folder in scan.folders if folder.left_out}
        return Present(scan.root, cache, workspace_fd, left_out)


def entries_of(folder: CachedFolder) -> dict[bytes, tuple[EntryStat, EntryContent]]:
    """A folder's entries by name, with their contents."""
    stats = parse_records(folder.records)
    return {one.name: (one, content) for one, content in zip(stats, folder.contents(), strict=True)}


def join(folder: bytes, name: bytes) -> bytes:
    """The path of a name in a folder; the top folder is empty."""
    return folder + b"/" + name if folder else name


def walk_order(path: bytes) -> tuple[list[bytes], bytes]:
    """Sorts the paths of files as a walk of the tree meets them."""
    folder, _, name = path.rpartition(b"/")
    return folder.split(b"/") if folder else [], name


def _strays(workspace_fd: int, path: bytes, known: Sequence[EntryStat]) -> list[EntryStat]:
    try:
        fd = open_below(workspace_fd, path)
    except OSError:
        return []
    try:
        found = parse_records(scan_folder(fd).records)
    finally:
        os.close(fd)
    names = {entry.name for entry in known}
    if not path:
        names |= LEFT_OUT
    return [entry for entry in found if entry.name not in names]
