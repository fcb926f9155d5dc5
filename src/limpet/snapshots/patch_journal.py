"""Doing the steps of a patch, so that a crash at any point leaves the old tree or the new one.

Everything new is whole and on disk in the plan folder before the first step; what goes moves to
the undo folder. Both lie on the workspace's file system, so that every step is a rename or new
looks, and can be done again. The journal says only which way:

    forward   a crash is rolled forward: the steps are done again from the first
    back      after a failure: undone from the last; a crash goes on going back
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

from limpet.errors import ConflictError, LimpetError
from limpet.snapshots.faults import reach
from limpet.snapshots.folder_descriptors import FolderDescriptors
from limpet.snapshots.journal import end_journal, write_journal
from limpet.snapshots.kernel import sync_file_system
from limpet.snapshots.patch_steps import Looks, PatchSteps
from limpet.snapshots.restore_tables import ROOT, FolderTable
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.tree import NOT_SAVED, OPEN_FOLDER, delete_tree
from limpet.snapshots.unsynced import sync_sandbox

PATCH_STEPS: Final = (
    "patch-begun", "patch-journal-written", "patch-folders-ours", "patch-out", "patch-in",
    "patch-relooked", "patch-looks", "patch-synced",
)  # fmt: skip
"""Every point where an apply can be made to die (`LIMPET_FAULT=<point>:kill`)."""
BACK_STEPS: Final = ("patch-back", "patch-back-in", "patch-back-out", "patch-back-looks")

ITEMS: Final = "items"
"""In the plan folder: what moves in, by number."""
_STEPS: Final = "steps"
_OWN: Final = 0o700
_ASIDE_TRIES: Final = 20


def do_patch(root: SandboxRoot, steps: PatchSteps, verify: Callable[[], None]) -> None:
    """Do every step; on disk when this returns. Every process of the sandbox must be stopped.

    `verify` is called when all is in its place. An error half way, or of its, undoes what was done
    and is raised.
    """
    if root.journal.exists():
        raise ConflictError("An earlier swap is still to be recovered.", hint="Restart the daemon.")
    plan = root.staging / steps.plan
    (root.staging / steps.undo).mkdir(mode=0o700)
    with (plan / _STEPS).open("xb") as out:
        out.write(steps.encode())
    sync_sandbox(root)
    reach("patch-begun")
    try:
        _write(root, "forward", steps)
        reach("patch-journal-written")
        _forward(root, steps, verify)
    except (OSError, LimpetError):
        _backward(root, steps)
        raise


def recover_patch(root: SandboxRoot, content: dict[str, object]) -> Literal["forward", "back"]:
    """Finish what a crash cut off; raises `ConflictError` when its steps cannot be read."""
    try:
        steps = PatchSteps.decode((root.staging / str(content["plan"]) / _STEPS).read_bytes())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConflictError(
            f"{root.journal} names a patch whose steps are damaged: nothing was touched.",
            hint="Look at the workspace and the staging folder, then remove the journal.",
        ) from error
    if content.get("phase") == "forward":
        _forward(root, steps)
        return "forward"
    _backward(root, steps)
    return "back"


def _write(root: SandboxRoot, phase: Literal["forward", "back"], steps: PatchSteps) -> None:
    write_journal(root, {"kind": "patch", "phase": phase, "plan": steps.plan})


def _forward(
    root: SandboxRoot, steps: PatchSteps, verify: Callable[[], None] | None = None
) -> None:
    with _opened(root, steps) as patch:
        patch.make_folders_ours()
        for number in range(len(steps.outs)):
            patch.move_out(number)
            reach("patch-out")
        for number in range(len(steps.ins)):
            patch.move_in(number)
            reach("patch-in")
        for folder, name, _, new in steps.relooked:
            set_looks(patch.folder(folder), name, new)
            reach("patch-relooked")
        patch.set_folder_looks(old=False)
        reach("patch-looks")
        for left in patch.left:
            _empty(root.workspace / left)
    if verify is not None:
        verify()
    sync_file_system(root.workspace)
    reach("patch-synced")
    end_journal(root)


def _backward(root: SandboxRoot, steps: PatchSteps) -> None:
    with contextlib.suppress(OSError):  # a crash would roll forward then: as good
        _write(root, "back", steps)
    reach("patch-back")
    with _opened(root, steps) as patch:
        patch.make_folders_ours()
        for folder, name, old, _ in steps.relooked:
            set_looks(patch.folder(folder), name, old)
        for number in reversed(range(len(steps.ins))):
            patch.move_in_back(number)
            reach("patch-back-in")
        for number in reversed(range(len(steps.outs))):
            patch.move_out_back(number)
            reach("patch-back-out")
        patch.set_folder_looks(old=True)
        reach("patch-back-looks")
    sync_file_system(root.workspace)
    end_journal(root)


def _empty(folder: Path) -> None:
    """A mount point cannot be moved out, nor replaced by a link: what lies in it goes."""
    for name in os.listdir(folder):
        delete_tree(folder / name)


@contextlib.contextmanager
def _opened(root: SandboxRoot, steps: PatchSteps) -> "Iterator[_Patch]":
    with contextlib.ExitStack() as stack:
        fds = []
        for path in (root.workspace, root.staging / steps.plan / ITEMS, root.staging / steps.undo):
            fds.append(os.open(path, OPEN_FOLDER))
            stack.callback(os.close, fds[-1])
        patch = _Patch(steps, *fds)
        stack.callback(patch.close)
        yield patch


class _Patch:
    """The single steps. Each may be done again, and undone, however far it came."""

    def __init__(self, steps: PatchSteps, workspace_fd: int, items_fd: int, undo_fd: int) -> None:
        self._steps = steps
        self._workspace_fd = workspace_fd
        self._items_fd = items_fd
        self._undo_fd = undo_fd
        self.left: list[str] = []
        """Mount points that stay, to be emptied."""
        top = steps.folders[ROOT]
        folders = FolderTable(*top.new)
        for one in steps.folders[1:]:
            folders.add(one.parent, one.name, *one.new)
        self._folders = FolderDescriptors(workspace_fd, folders)

    def close(self) -> None:
        """Close the descriptors of folders in the workspace."""
        self._folders.close()

    def folder(self, number: int) -> int:
        """A descriptor of a changed folder."""
        return self._folders.open(number)

    def make_folders_ours(self) -> None:
        """Names may be changed in every folder of the patch, outermost first."""
        for number, one in enumerate(self._steps.folders):
            if number == ROOT:
                mode = stat.S_IMODE(os.fstat(self._workspace_fd).st_mode)
                if mode & _OWN != _OWN:
                    os.fchmod(self._workspace_fd, mode | _OWN)
                continue
            parent_fd = self.folder(one.parent)
            mode = stat.S_IMODE(os.stat(one.name, dir_fd=parent_fd, follow_symlinks=False).st_mode)
            if mode & _OWN != _OWN:
                _chmod(parent_fd, one.name, mode | _OWN)
        reach("patch-folders-ours")

    def set_folder_looks(self, *, old: bool) -> None:
        """Modes and times of all changed folders, innermost first."""
        folders = self._steps.folders
        for number in reversed(range(len(folders))):
            looks = folders[number].old if old else folders[number].new
            fd = self.folder(number)
            os.fchmod(fd, looks.mode)
            os.utime(fd, ns=(looks.mtime_ns, looks.mtime_ns))

    def move_out(self, number: int) -> None:
        """Into the undo folder."""
        out = self._steps.outs[number]
        if _exists(b"%d" % number, self._undo_fd):
            return
        folder_fd = self.folder(out.folder)
        try:
            if out.old_mode >= 0 and out.old_mode & _OWN != _OWN:
                _chmod(folder_fd, out.name, out.old_mode | _OWN)
            os.rename(out.name, b"%d" % number, src_dir_fd=folder_fd, dst_dir_fd=self._undo_fd)
        except FileNotFoundError:
            return  # somebody took it away: it was to go
        except OSError as error:
            name = os.fsdecode(out.name)
            if error.errno != errno.EBUSY or out.folder != ROOT or name not in NOT_SAVED:
                raise
            self.left.append(name)

    def move_out_back(self, number: int) -> None:
        """Out of the undo folder again."""
        out = self._steps.outs[number]
        folder_fd = self.folder(out.folder)
        if _exists(b"%d" % number, self._undo_fd):
            self._rename_to(b"%d" % number, self._undo_fd, out.name, folder_fd)
        elif not _exists(out.name, folder_fd):
            return
        if out.old_mode >= 0:
            set_looks(folder_fd, out.name, Looks(out.old_mode, out.mtime_ns))

    def move_in(self, number: int) -> None:
        """Out of the plan folder to its place."""
        step = self._steps.ins[number]
        folder_fd = self.folder(step.folder)
        if _exists(b"%d" % step.staged, self._items_fd):
            self._rename_to(b"%d" % step.staged, self._items_fd, step.name, folder_fd)
        if step.mode >= 0:
            set_looks(folder_fd, step.name, Looks(step.mode, step.mtime_ns))

    def move_in_back(self, number: int) -> None:
        """Back into the plan folder."""
        step = self._steps.ins[number]
        if _exists(b"%d" % step.staged, self._items_fd):
            return
        folder_fd = self.folder(step.folder)
        if step.mode >= 0 and step.mode & _OWN != _OWN:
            _chmod(folder_fd, step.name, step.mode | _OWN)
        os.rename(
            step.name, b"%d" % step.staged, src_dir_fd=folder_fd, dst_dir_fd=self._items_fd
        )  # fmt: skip

    def _rename_to(self, name: bytes, from_fd: int, to_name: bytes, to_fd: int) -> None:
        """Rename; whatever a stray writer put in its place goes aside."""
        for _ in range(_ASIDE_TRIES):
            self._put_aside(to_name, to_fd)
            try:
                os.rename(name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
            except OSError as error:
                if error.errno not in {
                    errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR,
                }:  # fmt: skip
                    raise
                continue
            return
        raise ConflictError(f"Something keeps writing {to_name!r} into the workspace.")

    def _put_aside(self, name: bytes, folder_fd: int) -> None:
        aside = b"stray-" + secrets.token_hex(8).encode()
        with contextlib.suppress(FileNotFoundError):
            os.rename(name, aside, src_dir_fd=folder_fd, dst_dir_fd=self._undo_fd)


def set_looks(folder_fd: int, name: bytes, looks: Looks) -> None:
    """Give an entry, which is no symlink, its mode and time; nothing is followed."""
    _chmod(folder_fd, name, looks.mode)
    os.utime(name, ns=(looks.mtime_ns, looks.mtime_ns), dir_fd=folder_fd, follow_symlinks=False)


def _chmod(folder_fd: int, name: bytes, mode: int) -> None:
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
    try:
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.ELOOP, "a link is where a file or folder was", name)
        Path(f"/proc/self/fd/{fd}").chmod(mode)
    finally:
        os.close(fd)


def _exists(name: bytes, folder_fd: int) -> bool:
    try:
        os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
