"""Descriptors of the folders of a tree that we make ourselves: few at once, whatever its depth.

A folder is opened in its parent's descriptor, one name at a time and never through a link, so that
a path may be longer than PATH_MAX and nothing that lies elsewhere is ever reached.
"""

import os
from collections import OrderedDict
from typing import Final

from limpet.snapshots.restore_tables import ROOT, FolderTable
from limpet.snapshots.tree import OPEN_FOLDER

KEPT_OPEN: Final = 96
PINNED: Final = 64


class FolderDescriptors:
    """Opens folders of a table by number. For one thread; `close` it.

    `root_fd` is the top folder's and stays the caller's. What `open` gives stays open until 96
    others were asked for; what `pin` gives until `unpin_all`, and at most 64 may be pinned.
    """

    def __init__(self, root_fd: int, folders: FolderTable) -> None:
        self._root_fd = root_fd
        self._parents = folders.parents
        self._names = folders.names
        self._open: OrderedDict[int, int] = OrderedDict()
        self._pinned: set[int] = set()

    def open(self, folder: int) -> int:
        """A descriptor of the folder; raises `OSError` when it is none or is not there."""
        if folder == ROOT:
            return self._root_fd
        known = self._open.get(folder)
        if known is not None:
            self._open.move_to_end(folder)
            return known
        missing = [folder]
        above = self._parents[folder]
        while above != ROOT and above not in self._open:
            missing.append(above)
            above = self._parents[above]
        fd = self._root_fd if above == ROOT else self._open[above]
        for number in reversed(missing):
            fd = os.open(self._names[number], OPEN_FOLDER, dir_fd=fd)
            self._open[number] = fd
            if len(self._open) > KEPT_OPEN:
                self._close_one(but=number)
        return fd

    def pin(self, folder: int) -> int:
        """As `open`, and stays open; ask `full` first."""
        fd = self.open(folder)
        if folder != ROOT:
            self._pinned.add(folder)
        return fd

    @property
    def full(self) -> bool:
        """Whether no more may be pinned."""
        return len(self._pinned) >= PINNED

    def unpin_all(self) -> None:
        """Nothing needs the pinned ones any more."""
        self._pinned.clear()

    def close(self) -> None:
        """Close every descriptor but the root's."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _close_one(self, but: int) -> None:
        oldest = next(one for one in self._open if one not in self._pinned and one != but)
        os.close(self._open.pop(oldest))
