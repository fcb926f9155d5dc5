"""What comes after all files: links, then modes and times of folders, innermost first.

Nothing follows a symlink: links are made by folder descriptors, and every folder is closed to
further names before anything above it gets its mode.
"""

import contextlib
import os
from typing import Final

from limpet.snapshots.faults import reach
from limpet.snapshots.folder_descriptors import FolderDescriptors
from limpet.snapshots.judge import HardLink, JudgedTree
from limpet.snapshots.restore_tables import ROOT

_OWN: Final = 0o700
"""A folder needs these while it is filled."""
_PROBE: Final = b".limpet-probe"


def lost_mode_bits(folder_fd: int) -> int:
    """Which bits of a new folder's mode do not come out as asked for in this one.

    A umask, a default ACL or an inherited set-gid bit may be in the way: made, looked at, removed.
    """
    os.mkdir(_PROBE, 0o777, dir_fd=folder_fd)
    try:
        mode = os.stat(_PROBE, dir_fd=folder_fd, follow_symlinks=False).st_mode
    finally:
        os.rmdir(_PROBE, dir_fd=folder_fd)
    differs = mode & 0o7777 ^ 0o777
    return 0o1777 if differs & ~0o777 else differs | 0o1000


def make_folders(root_fd: int, tree: JudgedTree, lost_bits: int) -> None:
    """Make every folder of the tree below the top one, parents first."""
    folders = tree.folders
    with contextlib.closing(FolderDescriptors(root_fd, folders)) as opened:
        for folder in range(1, len(folders)):
            mode = folders.modes[folder]
            if not _made_so(mode, lost_bits):
                mode = _OWN
            os.mkdir(folders.names[folder], mode, dir_fd=opened.open(folders.parents[folder]))


def make_links(root_fd: int, tree: JudgedTree) -> None:
    """Hard links of files, symlinks, hard links of symlinks."""
    with contextlib.closing(FolderDescriptors(root_fd, tree.folders)) as opened:
        for link in tree.hard_links:
            if not link.to_symlink:
                _hard_link(link, opened)
        symlinks = tree.symlinks
        for number in range(len(symlinks)):
            folder_fd = opened.open(symlinks.folders[number])
            name, mtime_ns = symlinks.names[number], symlinks.mtimes[number]
            os.symlink(symlinks.targets[number], name, dir_fd=folder_fd)
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=folder_fd, follow_symlinks=False)
        for link in tree.hard_links:
            if link.to_symlink:
                _hard_link(link, opened)
    reach("restore-links")


def finish_folders(root_fd: int, tree: JudgedTree, lost_bits: int) -> None:
    """Every folder's mode and time, the top folder's last."""
    folders = tree.folders
    with contextlib.closing(FolderDescriptors(root_fd, folders)) as opened:
        for folder in range(len(folders) - 1, ROOT, -1):
            name, mode = folders.names[folder], folders.modes[folder]
            mtime_ns = folders.mtimes[folder]
            parent_fd = opened.open(folders.parents[folder])
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=parent_fd, follow_symlinks=False)
            if not _made_so(mode, lost_bits):
                os.fchmod(opened.open(folder), mode)
    os.fchmod(root_fd, folders.modes[ROOT])
    os.utime(root_fd, ns=(folders.mtimes[ROOT], folders.mtimes[ROOT]))
    reach("restore-looks")


def _made_so(mode: int, lost_bits: int) -> bool:
    """Whether a folder can have its mode from the start."""
    return mode & _OWN == _OWN and not mode & lost_bits


def _hard_link(link: HardLink, opened: FolderDescriptors) -> None:
    to_fd = opened.pin(link.to_folder)
    folder_fd = opened.pin(link.folder)
    os.link(
        link.to_name, link.name, src_dir_fd=to_fd, dst_dir_fd=folder_fd, follow_symlinks=False
    )  # fmt: skip
    opened.unpin_all()
