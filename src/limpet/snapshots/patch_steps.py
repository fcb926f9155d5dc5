"""The steps of a patch: what moves out of the workspace, what moves in, and what looks change.

Plain data, written to disk before the first step and read again by whoever finishes what a crash
cut off. Folders are numbered as in `FolderTable`: each after the one that it lies in, 0 the top.
"""

import json
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from blake3 import blake3

from limpet.snapshots.node import FOLDER, Entry

_FORMAT: Final = 1


class Looks(NamedTuple):
    """A mode and a time."""

    mode: int
    mtime_ns: int


class ChangedFolder(NamedTuple):
    """A folder that is there before and after, and in which something changes."""

    parent: int
    name: bytes
    old: Looks
    new: Looks


class Out(NamedTuple):
    """An entry that goes to the undo folder, under its number. `old_mode` is -1 but for folders."""

    folder: int
    name: bytes
    old_mode: int
    mtime_ns: int


class In(NamedTuple):
    """Item `staged` of the plan folder goes here; `mode` is -1 but for folders."""

    folder: int
    name: bytes
    staged: int
    mode: int
    mtime_ns: int


class Relooked(NamedTuple):
    """A file that stays, and looks otherwise afterwards."""

    folder: int
    name: bytes
    old: Looks
    new: Looks


@dataclass(slots=True)
class PatchSteps:
    """Everything that one patch does, in this order; `plan` and `undo` are names in staging."""

    plan: str
    undo: str
    folders: list[ChangedFolder] = field(default_factory=list)
    outs: list[Out] = field(default_factory=list)
    ins: list[In] = field(default_factory=list)
    relooked: list[Relooked] = field(default_factory=list)

    def add_in(self, folder: int, entry: Entry, staged: int) -> None:
        """Item `staged` becomes this entry."""
        mode = entry.mode if entry.kind == FOLDER else -1
        self.ins.append(In(folder, entry.name, staged, mode, entry.mtime_ns))

    def encode(self) -> bytes:
        """As bytes that end with their own hash."""
        told = {
            "format": _FORMAT,
            "plan": self.plan,
            "undo": self.undo,
            "folders": [(p, n.hex(), *old, *new) for p, n, old, new in self.folders],
            "outs": [(f, n.hex(), *rest) for f, n, *rest in self.outs],
            "ins": [(f, n.hex(), *rest) for f, n, *rest in self.ins],
            "relooked": [(f, n.hex(), *old, *new) for f, n, old, new in self.relooked],
        }
        body = json.dumps(told, separators=(",", ":")).encode()
        return body + b"\n" + blake3(body).hexdigest().encode()

    @classmethod
    def decode(cls, data: bytes) -> "PatchSteps":
        """What `encode` gave; `ValueError` for anything else."""
        body, _, digest = data.rpartition(b"\n")
        if blake3(body).hexdigest().encode() != digest:
            raise ValueError("the steps of the patch are damaged")
        told = json.loads(body)
        if told["format"] != _FORMAT:
            raise ValueError("the steps of the patch are of another version")
        name = bytes.fromhex
        return cls(
            told["plan"],
            told["undo"],
            [
                ChangedFolder(p, name(n), Looks(m, t), Looks(new_m, new_t))
                for p, n, m, t, new_m, new_t in told["folders"]
            ],
            [Out(f, name(n), mode, mtime_ns) for f, n, mode, mtime_ns in told["outs"]],
            [In(f, name(n), *rest) for f, n, *rest in told["ins"]],
            [
                Relooked(f, name(n), Looks(m, t), Looks(new_m, new_t))
                for f, n, m, t, new_m, new_t in told["relooked"]
            ],
        )
