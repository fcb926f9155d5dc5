"""The sandbox's folders at start: what a crash left is put right, what is missing is made."""

import contextlib
import os
from pathlib import Path

from limpet.daemon.moves import MOVING, ended
from limpet.snapshots.root import SandboxRoot

TEMPORARY_PREFIX = ".limpet-"
"""Begins the names of what is on its way into the workspace; it lies in `scratch/`."""
TEMPORARY_PREFIXES = (TEMPORARY_PREFIX, "rescue-")


def recovered(root: SandboxRoot) -> tuple[str, tuple[Path, ...]]:
    """Make every folder, and end a restore that was cut off: how it was rolled, what to delete.

    Raises what `limpet.snapshots.swap.recover` does; it is imported only where it has work.
    """
    root.prepare()
    left = (
        *(ended(root.state, root.staging) if any(root.state.glob(f"{MOVING}*")) else ()),
        *(root.staging / name for name in sorted(os.listdir(root.staging))),
        *(path for path in root.scratch.iterdir() if path.name.startswith(TEMPORARY_PREFIXES)),
    )
    if not os.path.lexists(root.journal):
        return "none", left
    from limpet.snapshots.swap import recover

    report = recover(root, delete=False)
    return report.rolled, (*report.trash, *left)


def make_folders(workspace: Path) -> None:
    """The folders that commands need: made where they are missing, the top's times kept."""
    before = workspace.stat()
    for name in ("repo", "home", "tmp"):
        with contextlib.suppress(FileExistsError):
            (workspace / name).mkdir()
    os.utime(workspace, ns=(before.st_atime_ns, before.st_mtime_ns))
