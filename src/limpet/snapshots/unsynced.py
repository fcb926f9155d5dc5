"""Marks of a workspace that is in use before all of it is on the disk.

Where there was nothing before, a restored tree need not wait for the disk: were the machine to lose
power meanwhile, a restore brings all of it back. So first comes a mark, on the disk; then the swap,
then the sync, and last the mark goes (docs/decisions/0033-synced-after-the-swap.md). A mark from an
earlier run of the machine says that what lies in the workspace may be torn: it counts as empty, as
it was before.
"""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from limpet.snapshots.durable import write_durably
from limpet.snapshots.faults import reach
from limpet.snapshots.kernel import boot_id, sync_file_system, sync_folder
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.tree import RESERVED, delete_tree

MARK: Final = "unsynced-"
"""Begins the names of marks in `state/`; one holds `boot_id` of when it was made."""
SYNC_STEPS: Final = ("late-synced", "late-ended")
FORGET_STEPS: Final = ("forget-begun", "forget-moved", "forget-ended")


def mark_unsynced(root: SandboxRoot) -> Path | None:
    """A mark, on the disk when this returns; None where a machine's runs cannot be told apart."""
    now = boot_id()
    if now is None:
        return None
    mark = root.state / f"{MARK}{secrets.token_hex(8)}"
    write_durably(mark, now)  # half a mark would tell of a power cut
    return mark


def sync_sandbox(root: SandboxRoot) -> None:
    """All of the sandbox is on the disk when this returns, and no mark is left. Raises `OSError`.

    Marks that are made meanwhile stay: what they speak of may have come too late for this sync.
    """
    marks = _marks(root)
    sync_file_system(root.staging)
    if marks:
        reach("late-synced")
        remove_marks(root, marks)
        reach("late-ended")


def remove_marks(root: SandboxRoot, marks: Iterable[Path]) -> None:
    """What they speak of is settled."""
    for mark in marks:
        mark.unlink(missing_ok=True)
    sync_folder(root.state)


def is_unsynced(root: SandboxRoot) -> bool:
    """Whether a sync is still to be done."""
    return bool(_marks(root))


def is_torn(root: SandboxRoot) -> bool:
    """Whether the machine began anew while the workspace was not on the disk.

    A mark that cannot be read counts.
    """
    now = boot_id()
    return any(_content(mark, now) != now for mark in _marks(root))


def forget_workspace(root: SandboxRoot) -> None:
    """Make the workspace an empty one; what was in it lies in `root.staging`, to be deleted.

    May be done again after a crash at any point: the marks go last. Raises `OSError`.
    """
    marks = _marks(root)
    reach("forget-begun")
    root.journal.unlink(missing_ok=True)  # what it would finish is forgotten too
    if root.mode != "rename":  # the sandbox lies elsewhere now
        for name in set(os.listdir(root.workspace)) - {RESERVED}:
            delete_tree(root.workspace / name)
    elif root.workspace.is_dir():
        root.workspace.rename(root.staging / f"torn-{secrets.token_hex(8)}")
    reach("forget-moved")
    root.prepare()
    for folder in (root.state, root.workspace.parent, root.staging):
        sync_folder(folder)
    reach("forget-ended")
    remove_marks(root, marks)


def _marks(root: SandboxRoot) -> list[Path]:
    return [root.state / name for name in os.listdir(root.state) if name.startswith(MARK)]


def _content(mark: Path, removed: bytes | None) -> bytes | None:
    try:
        return mark.read_bytes()
    except FileNotFoundError:  # a sync has ended meanwhile
        return removed
    except OSError:
        return None
