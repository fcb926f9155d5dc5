"""Putting a restored tree in the workspace's place, so that a crash leaves the old one or the new.

A swap renames where it can: in one step where the kernel exchanges names, else in two under a
journal. A workspace that cannot be renamed gets its entries moved (limpet.snapshots.journal). Where
nothing was in the workspace the disk is waited for later (limpet.snapshots.unsynced).
The daemon calls `recover` before it says that it is ready, `swap` with every process stopped, and
`delete_tree` on what `swap` gives back whenever it likes.
"""

import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from limpet.errors import ConflictError
from limpet.snapshots.faults import reach
from limpet.snapshots.journal import (
    JOURNAL_STEPS,
    end_journal,
    read_journal,
    recover_entries,
    swap_entries,
    write_journal,
)
from limpet.snapshots.kernel import exchange, sync_folder
from limpet.snapshots.locks import heal_locks
from limpet.snapshots.patch_journal import recover_patch
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.space import free_bytes, require_space
from limpet.snapshots.tree import delete_tree, is_empty
from limpet.snapshots.unsynced import mark_unsynced, remove_marks, sync_sandbox

__all__ = [
    "SWAP_STEPS", "RecoveryReport", "SandboxRoot", "delete_tree", "free_bytes", "heal_locks",
    "new_staging_folder", "recover", "require_space", "swap",
]  # fmt: skip

RENAME_STEPS: Final = ("swap-synced", "swap-exchanged", "swap-folders-synced", "swap-ended")
TWO_RENAMES_STEPS: Final = (
    "swap-synced", "swap-journal-written", "swap-old-moved", "swap-new-moved",
    "swap-folders-synced", "swap-ended",
)  # fmt: skip
UNSYNCED_STEPS: Final = ("swap-marked", "swap-exchanged", "swap-ended")
"""The points of a swap into an empty workspace; its sync has `unsynced.SYNC_STEPS`."""
SWAP_STEPS: Final = tuple(dict.fromkeys((*RENAME_STEPS, *TWO_RENAMES_STEPS, *JOURNAL_STEPS)))
"""Every point where a swap can be made to die (`LIMPET_FAULT=<point>:kill`)."""

_NOT_RENAMED: Final = frozenset({errno.EXDEV, errno.EBUSY})


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What `recover` found. `trash` are old and half-made trees that are still to be deleted."""

    rolled: Literal["none", "forward", "back"]
    trash: tuple[Path, ...]


def new_staging_folder(root: SandboxRoot) -> Path:
    """A name for a tree to be restored into; the folder does not exist yet."""
    return root.staging / f"new-{secrets.token_hex(8)}"


def swap(root: SandboxRoot, staged: Path) -> Path:
    """Make `staged` (a folder right in `root.staging`) the workspace; gives where the old one lies.

    Blocks until the new state is on disk, but not where the workspace was empty: call
    `unsynced.sync_sandbox` afterwards. Stop every process of the sandbox first. Raises `OSError` or
    `ConflictError` with the old workspace in place; `delete_tree` what is returned.
    """
    if staged.parent.resolve() != root.staging.resolve() or staged.is_symlink():
        raise ConflictError(f"{staged} does not lie in the staging folder.")
    if root.journal.exists():
        raise ConflictError("An earlier swap is still to be recovered.", hint="Restart the daemon.")
    old = root.staging / f"old-{secrets.token_hex(8)}"
    if root.mode == "rename" and is_empty(root.workspace) and _swap_unsynced(root, staged, old):
        return old
    sync_sandbox(root)
    reach("swap-synced")
    if root.mode == "rename":
        try:
            _swap_by_rename(root, staged, old)
        except OSError as error:
            if error.errno not in _NOT_RENAMED or not staged.is_dir():
                raise
        else:
            return old
    swap_entries(root, staged, old)
    delete_tree(staged)
    return old


def _swap_unsynced(root: SandboxRoot, staged: Path, old: Path) -> bool:
    """Swap at once, under a mark; False, with nothing touched, where that cannot be."""
    mark = mark_unsynced(root)
    if mark is None:
        return False
    exchanged = False
    try:
        reach("swap-marked")
        exchanged = exchange(staged, root.workspace)
        if exchanged:
            reach("swap-exchanged")
            reach("swap-ended")
            staged.rename(old)
            return True
    except OSError as error:
        if exchanged:
            exchange(staged, root.workspace)
        if error.errno not in _NOT_RENAMED:
            remove_marks(root, [mark])
            raise
    remove_marks(root, [mark])
    return False


def _swap_by_rename(root: SandboxRoot, staged: Path, old: Path) -> None:
    if not exchange(staged, root.workspace):
        _two_renames(root, staged, old)
        return
    try:
        reach("swap-exchanged")
        _sync_folders(root)
        reach("swap-ended")
        staged.rename(old)
    except OSError:
        exchange(staged, root.workspace)
        raise


def _two_renames(root: SandboxRoot, staged: Path, old: Path) -> None:
    write_journal(root, {"kind": "two-renames", "staged": staged.name, "old": old.name})
    try:
        reach("swap-journal-written")
        root.workspace.rename(old)
        try:
            reach("swap-old-moved")
            staged.rename(root.workspace)
            try:
                reach("swap-new-moved")
                _sync_folders(root)
                reach("swap-ended")
                end_journal(root)
            except OSError:
                root.workspace.rename(staged)
                raise
        except OSError:
            old.rename(root.workspace)
            raise
    except OSError:
        end_journal(root)
        raise


def _sync_folders(root: SandboxRoot) -> None:
    sync_folder(root.workspace.parent)
    sync_folder(root.staging)
    reach("swap-folders-synced")


def recover(root: SandboxRoot, *, delete: bool = True) -> RecoveryReport:
    """Finish or undo a swap that a crash cut off, then see to it that every folder is there.

    Afterwards the workspace is the old one or the new one, whole. With `delete` the staging folder
    is emptied before this returns; without, `trash` names what to `delete_tree` in the background.
    """
    root.prepare()
    content = read_journal(root)
    rolled: Literal["none", "forward", "back"] = "none"
    if content == {}:
        raise ConflictError(
            f"{root.journal} is damaged: nothing was touched.",
            hint="Look at the workspace and the staging folder, then remove the journal.",
        )
    if content is not None:
        if content.get("kind") == "two-renames":
            rolled = _recover_renames(root, str(content["staged"]), str(content["old"]))
        elif content.get("kind") == "patch":
            rolled = recover_patch(root, content)
        else:
            rolled = recover_entries(root, content)
        end_journal(root)
    root.prepare()
    trash = tuple(root.staging / name for name in sorted(os.listdir(root.staging)))
    if delete:
        for path in trash:
            delete_tree(path)
        trash = ()
    return RecoveryReport(rolled, trash)


def _recover_renames(
    root: SandboxRoot, staged: str, old: str
) -> Literal["none", "forward", "back"]:
    new_tree, old_tree = root.staging / staged, root.staging / old
    rolled: Literal["none", "forward", "back"] = "back"
    if root.workspace.is_dir():
        rolled = "back" if new_tree.exists() else "forward"
    elif new_tree.is_dir():
        new_tree.rename(root.workspace)
        rolled = "forward"
    else:
        old_tree.rename(root.workspace)
    _sync_folders(root)
    return rolled
