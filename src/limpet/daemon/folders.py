"""The sandbox's folders at start: what a crash left is put right, what is missing is made."""

import contextlib
import os
from pathlib import Path

from limpet.daemon.moves import MOVING, ended
from limpet.daemon.origin import ORIGIN
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.unsynced import forget_workspace, is_torn

TEMPORARY_PREFIX = ".limpet-"
"""Begins the names of what is on its way into the workspace; it lies in `scratch/`."""
TEMPORARY_PREFIXES = (TEMPORARY_PREFIX, "rescue-")


def recovered(root: SandboxRoot) -> tuple[str, tuple[Path, ...]]:
    """Make every folder, and end a restore that was cut off: what was done, what to delete.

    What was done is in words; empty: nothing. Raises what `limpet.snapshots.swap.recover` does; it
    is imported only where it has work.
    """
    root.prepare()
    done = ""
    if is_torn(root):
        # Before the workspace: an empty one that grew from a snapshot would be somebody's wish.
        (root.state / ORIGIN).unlink(missing_ok=True)
        forget_workspace(root)
        done = "the machine stopped before a restore was on its disk: the workspace begins empty"
    left = (
        *(ended(root.state, root.staging) if any(root.state.glob(f"{MOVING}*")) else ()),
        *(root.staging / name for name in sorted(os.listdir(root.staging))),
        *(path for path in root.scratch.iterdir() if path.name.startswith(TEMPORARY_PREFIXES)),
    )
    if not os.path.lexists(root.journal):
        return done, left
    from limpet.snapshots.swap import recover

    report = recover(root, delete=False)
    return f"a restore that was cut off was rolled {report.rolled}", (*report.trash, *left)


def make_folders(workspace: Path) -> None:
    """The folders that commands need: made where they are missing, the top's times kept."""
    before = workspace.stat()
    for name in ("repo", "home", "tmp"):
        with contextlib.suppress(FileExistsError):
            (workspace / name).mkdir()
    os.utime(workspace, ns=(before.st_atime_ns, before.st_mtime_ns))
