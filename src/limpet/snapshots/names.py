"""Which names a tar may hold: the rules that keep every entry inside, and the limits. Pure.

A name is a relative path of bytes whose parts are neither empty, `.` nor `..`, hold no NUL and at
most 255 bytes; no name comes twice, and what lies above a name is a folder. A folder that is only
implied by the names below it is made, as every tar does.
"""

from dataclasses import dataclass
from typing import Literal

from limpet.errors import TarUnsafeError
from limpet.snapshots.tar_format import MAX_DEPTH, MAX_PART_BYTES, MAX_PATH_BYTES, show

Kind = Literal["file", "folder", "symlink", "hard-link"]
_Entry = Literal["file", "folder", "symlink", "implied"]


@dataclass(frozen=True, slots=True)
class TarLimits:
    """How much one tar may hold; beyond it the tar is unsafe. Memory grows with the names only."""

    max_entries: int = 1_000_000
    max_bytes: int = 64 << 30
    """Of all data in the tar."""
    max_tar_bytes: int = 80 << 30
    max_sparse_bytes: int = 1 << 40
    """Of all sparse files, holes counted."""
    max_depth: int = MAX_DEPTH
    max_names_bytes: int = 256 << 20


def clean_name(raw: bytes) -> bytes:
    """The relative name without a leading `./` and a final slash; empty for the root.

    Its parts are judged when it is added, or found, in `Names`.
    """
    if raw.startswith(b"./"):
        raw = raw[2:]
    elif raw == b".":
        raw = b""
    elif not raw:
        raise TarUnsafeError("The tar holds an entry without a name.")
    if raw.startswith(b"/"):
        raise TarUnsafeError(f"The tar holds an absolute name: {show(raw)!r}.")
    if b"\0" in raw:
        raise TarUnsafeError(f"The tar holds a name with a NUL in it: {show(raw)!r}.")
    if len(raw) > MAX_PATH_BYTES:
        raise TarUnsafeError(f"The tar holds a name of {len(raw):,} bytes.")
    return raw.removesuffix(b"/")


class Names:
    """Every name of one tar so far, as folders with their children."""

    def __init__(self, limits: TarLimits) -> None:
        self._limits = limits
        self._folders: dict[bytes, dict[bytes, _Entry]] = {b"": {}}
        self._root_seen = False
        self._bytes = 0

    def add(self, name: bytes, kind: Literal["file", "folder", "symlink"]) -> list[bytes]:
        """Take in a clean name; gives the folders that it implies, outermost first.

        Raises `TarUnsafeError` when the name breaks a rule or a limit.
        """
        if not name:
            self._add_root(kind)
            return []
        parent, _, base = name.rpartition(b"/")
        children = self._folders.get(parent)
        implied: list[bytes] = []
        if children is None:
            implied = self._imply(parent)
            children = self._folders[parent]
        if base in {b"", b".", b".."} or len(base) > MAX_PART_BYTES:
            _judge(name)
        existing = children.get(base)
        if existing is not None and not (existing == "implied" and kind == "folder"):
            raise TarUnsafeError(f"The tar holds {show(name)!r} twice.")
        children[base] = kind
        self._bytes += len(base)
        if kind == "folder" and existing is None:
            self._new_folder(name)
        if self._bytes > self._limits.max_names_bytes:
            raise TarUnsafeError("The names in the tar are too large.")
        return implied

    def kind_of(self, name: bytes) -> _Entry | None:
        """What an earlier entry with this clean name is, or None."""
        parent, _, base = name.rpartition(b"/")
        return self._folders.get(parent, {}).get(base)

    def _add_root(self, kind: str) -> None:
        if kind != "folder":
            raise TarUnsafeError("The tar wants to replace the workspace folder itself.")
        if self._root_seen:
            raise TarUnsafeError("The tar holds the workspace folder twice.")
        self._root_seen = True

    def _new_folder(self, name: bytes) -> None:
        if name.count(b"/") >= self._limits.max_depth:
            raise TarUnsafeError(f"The tar is more than {self._limits.max_depth:,} folders deep.")
        self._folders[name] = {}
        self._bytes += len(name)

    def _imply(self, folder: bytes) -> list[bytes]:
        if folder.count(b"/") >= self._limits.max_depth:
            raise TarUnsafeError(f"The tar is more than {self._limits.max_depth:,} folders deep.")
        _judge(folder)
        missing = []
        while folder not in self._folders:
            parent, _, base = folder.rpartition(b"/")
            if base in self._folders.get(parent, {}):
                raise TarUnsafeError(f"In the tar {show(folder)!r} is above a name but no folder.")
            missing.append(folder)
            folder = parent
        for name in reversed(missing):
            parent, _, base = name.rpartition(b"/")
            self._new_folder(name)
            self._folders[parent][base] = "implied"
        return missing[::-1]


def _judge(name: bytes) -> None:
    for part in name.split(b"/"):
        if part in {b"", b".", b".."}:
            raise TarUnsafeError(f"The tar holds a name that leads elsewhere: {show(name)!r}.")
        if len(part) > MAX_PART_BYTES:
            raise TarUnsafeError(f"The tar holds a name part of {len(part):,} bytes.")
