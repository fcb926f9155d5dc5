"""Where things lie in a sandbox: the workspace and its siblings on one file system.

`workspace/` is saved, `staging/` holds what is being restored, `state/` what outlives a restore,
`scratch/` what nobody misses. Where the workspace is a mount point of its own, or its parent is not
ours to write, the siblings that must share its file system lie inside it, in `.limpet-root/`, which
is never saved.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, Self

from limpet.snapshots.kernel import mount_of
from limpet.snapshots.tree import NOT_SAVED, RESERVED

Mode = Literal["rename", "journalled"]
JOURNAL_NAME: Final = "swap.json"
_STANDARD_NAME: Final = "workspace"


class SandboxRoot:
    """The folders of one sandbox. Call `prepare` (or `limpet.snapshots.swap.recover`) first.

    `workspace` may be missing, or a symlink, which is resolved once.
    """

    def __init__(self, root: Path, workspace: Path) -> None:
        self.root = root.resolve()
        self.workspace = workspace.resolve()

    @classmethod
    def for_workspace(cls, workspace: Path, root: Path | None = None) -> Self:
        """The root of a workspace when none was configured.

        The parent for `<somewhere>/workspace`; beside any other name a hidden folder of its own, so
        that two workspaces in one folder never share a root; inside the workspace when the parent
        cannot be written or lies on another file system.
        """
        workspace = workspace.resolve()
        if root is not None:
            return cls(root, workspace)
        parent = workspace.parent
        if not _movable(workspace):
            return cls(workspace / RESERVED, workspace)
        if workspace.name == _STANDARD_NAME:
            return cls(parent, workspace)
        return cls(parent / f".{workspace.name}.limpet", workspace)

    @cached_property
    def mode(self) -> Mode:
        """How a restore gets in: by renaming the workspace, or entry by entry under a journal."""
        inside = self.workspace in {self.root, *self.root.parents}
        if inside or not _movable(self.workspace):
            return "journalled"
        root = _existing(self.root)
        same_mount = mount_of(root) == mount_of(_existing(self.workspace.parent))
        return "rename" if same_mount and os.access(root, os.W_OK) else "journalled"

    @property
    def staging(self) -> Path:
        """Restores grow here, old trees wait here to be deleted; on the workspace's file system."""
        if self.mode == "rename":
            return self.root / "staging"
        return self.workspace / RESERVED / "staging"

    @property
    def state(self) -> Path:
        """The daemon's config without secrets, logs, journals; never saved."""
        return self.root / "state"

    @property
    def scratch(self) -> Path:
        """For anything that may be lost."""
        return self.root / "scratch"

    @property
    def journal(self) -> Path:
        """Says how far a swap has come; there only while one is under way."""
        return self.state / JOURNAL_NAME

    @property
    def exclude_top(self) -> frozenset[str]:
        """Top-level entries of the workspace that are never saved."""
        return NOT_SAVED | {RESERVED}

    def prepare(self) -> None:
        """Make every folder that is missing; not the workspace while a swap waits for recovery."""
        self.state.mkdir(parents=True, exist_ok=True)
        if not self.journal.exists():
            self.workspace.mkdir(parents=True, exist_ok=True)
        for folder in (self.staging, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)


def _existing(folder: Path) -> Path:
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _movable(workspace: Path) -> bool:
    """Whether the workspace can be renamed in its parent; a missing one is judged by the parent."""
    parent = _existing(workspace.parent)
    if not os.access(parent, os.W_OK | os.X_OK):
        return False
    return not workspace.is_dir() or mount_of(workspace) == mount_of(parent)
