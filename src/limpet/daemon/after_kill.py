"""What a daemon that was killed left behind, put right before the next one begins.

Only when the one before did not end in order: a mark in `state/` tells. Locks of git are stale once
no git lives that could hold them.
"""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Final

from limpet.daemon.processes import process_table
from limpet.daemon.settings import DaemonSettings

MARK: Final = "running"
PATIENCE_S: Final = 10.0
"""How long a git that outlived its daemon may take to come to its end."""
_PAUSE_S: Final = 0.05
_HALF_WRITTEN: Final = ("tmp_", ".tmp-")


def begin(settings: DaemonSettings) -> bool:
    """Mark that a daemon runs here; whether the one before it was killed. Blocking."""
    mark = settings.state_dir / MARK
    killed = mark.exists()
    mark.write_text(settings.boot_id)
    return killed


def end(settings: DaemonSettings) -> None:
    """Mark that the daemon has ended in order. Blocking."""
    with contextlib.suppress(OSError):
        (settings.state_dir / MARK).unlink(missing_ok=True)


async def put_right(settings: DaemonSettings) -> list[str]:
    """Heal what the killed daemon's git left; what was done, in words."""
    from limpet.daemon.git_unfinished import resume
    from limpet.snapshots.locks import heal_locks

    if not await _nobody_works(settings.app_root):
        return ["A git that a killed daemon had begun still runs; its locks stay."]
    healed = await asyncio.to_thread(heal_locks, settings.app_root)
    told = [f"Removed a stale lock: {path}" for path in healed]
    await asyncio.to_thread(_forget_half_written, settings.repo / ".git" / "objects")
    done = await resume(settings, locked="repo/.git/index.lock" in healed)
    return [*told, *([f"{done[0].upper()}{done[1:]}."] if done else [])]


async def _nobody_works(workspace: Path) -> bool:
    """Whether no git works in the workspace, or soon none does any more."""
    deadline = time.monotonic() + PATIENCE_S
    while await asyncio.to_thread(_gits, workspace):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_PAUSE_S)
    return True


def _gits(workspace: Path) -> list[int]:
    """Processes of git whose folder is in the workspace."""
    found = []
    for pid, process in process_table().items():
        if process.dead:
            continue
        try:
            name = Path(f"/proc/{pid}/comm").read_text()
            folder = Path(f"/proc/{pid}/cwd").readlink()
        except OSError:  # it ended meanwhile, or is none of ours to look at
            continue
        if name.startswith("git") and folder.is_relative_to(workspace):
            found.append(pid)
    return found


def _forget_half_written(objects: Path) -> None:
    """Delete objects and packs that git had not named yet."""
    for folder in (objects, *objects.glob("??"), objects / "pack"):
        for prefix in _HALF_WRITTEN:
            for path in folder.glob(f"{prefix}*"):
                with contextlib.suppress(OSError):
                    path.unlink()
