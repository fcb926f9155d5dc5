"""Whom the workspace's files belong to, where the daemon is root and the sandbox is not.

Whatever the daemon itself puts into the workspace (a restore, an edit, a folder) would be root's:
the sandbox's user could not go on with it. Blocking; nothing happens unless we are root.
"""

import os
import stat
from pathlib import Path

from limpet.daemon.settings import DaemonSettings


def owner_of(settings: DaemonSettings) -> tuple[int, int] | None:
    """The (uid, gid) that the sandbox's files must have; None where they are ours anyway."""
    return settings.drop_to if os.geteuid() == 0 else None


def give_tree(top: Path, owner: tuple[int, int] | None) -> None:
    """Let everything below `top` belong to `owner`; links themselves, never what they point to.

    Set-uid and set-gid bits are none in a workspace, so that giving away takes no mode with it.
    """
    if owner is not None:
        _give_below(top, None, owner)


def _give_below(top: Path | str, folder: int | None, owner: tuple[int, int]) -> None:
    for _, folders, files, fd in os.fwalk(top, dir_fd=folder, follow_symlinks=False):
        _give(fd, owner)
        for name in files:
            _give_name(name, fd, owner)
        for name in folders:  # a link to a folder is listed as one and not walked into
            _give_name(name, fd, owner)


def give_copy(name: str, folder: int, target: int) -> None:
    """Let what the daemon has just copied, and all below, belong to whoever owns `target`."""
    if os.geteuid() == 0:
        status = os.fstat(target)
        owner = (status.st_uid, status.st_gid)
        _give_name(name, folder, owner)
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            _give_below(name, folder, owner)


def give_new(name: str | int, folder: int) -> None:
    """Let what the daemon has just made (a name in `folder`, or a descriptor) belong to whoever
    owns the folder.
    """
    if os.geteuid() != 0:
        return
    status = os.fstat(folder)
    owner = (status.st_uid, status.st_gid)
    if isinstance(name, int):
        _give(name, owner)
    else:
        _give_name(name, folder, owner)


def give_path(path: Path) -> None:
    """Let what the daemon has just made at `path` belong to whoever owns the folder it is in."""
    if os.geteuid() != 0:
        return
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        give_new(path.name, fd)
    finally:
        os.close(fd)


def _give(fd: int, owner: tuple[int, int]) -> None:
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != owner:
        os.fchown(fd, *owner)


def _give_name(name: str, folder: int, owner: tuple[int, int]) -> None:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if (status.st_uid, status.st_gid) != owner:
            os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:  # somebody was quicker
        return
