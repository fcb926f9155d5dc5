"""Stale locks of git: what a kill leaves behind, and what would block every later command.

By rule, in every repository of a tree that no process works on: `*.lock` right in the git folder
(index, HEAD, config, packed-refs, shallow...), below `refs/`, in `objects/` and `reftable/`, the
same in worktrees and submodules. No ref can be named `*.lock`; git refuses it.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from limpet.snapshots.tar_format import show
from limpet.snapshots.tree import Folder, walk

_MARKS = frozenset({"objects", "refs"})
_SEEN_INSIDE = {b"objects": {"info"}, b"objects/info": {"commit-graphs"}}


def heal_locks(workspace: Path) -> list[str]:
    """Remove stale git locks; gives their paths relative to the workspace, for the receipt.

    Only for a tree that nothing works on. Of `node_modules` it sees the packages, not what is in
    them.
    """
    healed = []
    inside: list[bytes] = []
    for folder in walk(workspace, on_error=lambda _path, _error: None):
        git = _git_part(folder, inside)
        if git is None:
            _steer(folder)
            continue
        if git == b"":
            inside.append(folder.path)
        for name in _locks(folder, git):
            os.unlink(name, dir_fd=folder.fd)
            healed.append(show(folder.path_of(name)))
    return healed


def _git_part(folder: Folder, inside: list[bytes]) -> bytes | None:
    """Where the folder lies within its git folder (empty: it is one), or None outside of any."""
    if _is_git_folder(folder):
        return b""
    while inside:
        top = inside[-1]
        if not top or folder.path.startswith(top + b"/"):
            return folder.path[len(top) + 1 :] if top else folder.path
        inside.pop()
    return None


def _is_git_folder(folder: Folder) -> bool:
    """A repository's git folder, bare or not, or one of a worktree."""
    names = {entry.name for entry in folder.entries}
    if "HEAD" not in names and "HEAD.lock" not in names:
        return False
    return set(folder.folders) >= _MARKS or "commondir" in names


def _locks(folder: Folder, git: bytes) -> Iterator[str]:
    top = git.partition(b"/")[0]
    if top == b"objects":
        seen = _SEEN_INSIDE.get(git, set())
        folder.folders[:] = [name for name in folder.folders if name in seen]
    for entry in folder.entries:
        if not entry.name.endswith(".lock") or top not in {b"", b"refs", b"objects", b"reftable"}:
            continue
        if stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            yield entry.name


def _steer(folder: Folder) -> None:
    """In `node_modules` look at the packages, `@scope/` too, for a `.git`, and at nothing else."""
    parts = folder.path.split(b"/")
    if b"node_modules" not in parts:
        return
    depth = parts[::-1].index(b"node_modules")
    scope = depth == 1 and parts[-1].startswith(b"@")
    if depth and not scope:
        folder.folders[:] = [name for name in folder.folders if name == ".git"]
