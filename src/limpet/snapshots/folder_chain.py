"""Folders opened one after another in the order of a walk: each in its parent's descriptor."""

import os
from typing import Final, Self

from limpet.snapshots.survey import open_below
from limpet.snapshots.tree import OPEN_FOLDER

_KEPT_OPEN: Final = 32


class FolderChain:
    """Keeps the way down to the last folder open, so that its neighbours are near. Close it.

    No link is followed on the way.
    """

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._names: list[bytes] = []
        self._fds: list[int] = []

    def open(self, path: bytes, *, below: bool = True) -> int:
        """A descriptor of its own of the folder at a relative path; raises `OSError`.

        `below` is whether folders below it will be asked for.
        """
        names = path.split(b"/") if path else []
        if len(names) > _KEPT_OPEN:
            return open_below(self._root_fd, path)
        last = names.pop() if names and not below else None
        common = 0
        for one, other in zip(names, self._names, strict=False):
            if one != other:
                break
            common += 1
        self._cut(common)
        for name in names[common:]:
            above = self._fds[-1] if self._fds else self._root_fd
            self._fds.append(os.open(name, OPEN_FOLDER, dir_fd=above))
            self._names.append(name)
        here = self._fds[-1] if self._fds else self._root_fd
        return os.dup(here) if last is None else os.open(last, OPEN_FOLDER, dir_fd=here)

    def close(self) -> None:
        """Close what is open; what `open` gave is the caller's."""
        self._cut(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cut(self, depth: int) -> None:
        while len(self._fds) > depth:
            os.close(self._fds.pop())
        del self._names[depth:]
