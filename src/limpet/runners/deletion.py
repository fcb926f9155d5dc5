"""Deletes a tree whatever is in it: folders without permissions, any depth, odd names.

It never follows a link and holds two descriptors, however deep the tree: folders inside folders
are moved up to the top one before they are emptied.
"""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ROUNDS_WITHOUT_PROGRESS: Final = 3


def delete_tree(path: Path) -> None:
    """Delete the folder `path` and all in it; a missing one is no error.

    Raises `OSError` when something cannot be deleted, such as a mount point. Nothing else may
    write in the tree meanwhile.
    """
    try:
        top = open_folder(str(path), None)
    except FileNotFoundError:
        return
    mark = f".limpet-{secrets.token_hex(6)}-"
    moved = 0
    failed: OSError | None = None
    try:
        patience = _ROUNDS_WITHOUT_PROGRESS
        while names := os.listdir(top):
            failed = None
            for name in names:
                try:
                    moved = _delete_entry(name, top, mark, moved)
                except OSError as error:
                    failed = error
            patience = patience - 1 if failed else _ROUNDS_WITHOUT_PROGRESS
            if failed and patience == 0:
                raise failed
    finally:
        os.close(top)
    path.rmdir()


def _delete_entry(name: str, top: int, mark: str, moved: int) -> int:
    """Delete one entry of the top folder; a folder's own folders become entries of the top."""
    try:
        _permitted(lambda: os.unlink(name, dir_fd=top), top)
        return moved
    except FileNotFoundError:
        return moved
    except OSError:
        folder = open_folder(name, top)  # says better than unlink why it is no folder either
    try:
        for inner in os.listdir(folder):
            moved = _empty_into(inner, folder, top, mark, moved)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)
    return moved


def _empty_into(inner: str, folder: int, top: int, mark: str, moved: int) -> int:
    try:
        _permitted(lambda: os.unlink(inner, dir_fd=folder), folder)
    except (IsADirectoryError, PermissionError):
        with contextlib.suppress(OSError):
            os.rmdir(inner, dir_fd=folder)
            return moved
        moved += 1
        _open_up(inner, folder)
        os.rename(inner, f"{mark}{moved}", src_dir_fd=folder, dst_dir_fd=top)
    except FileNotFoundError:
        pass
    return moved


def _permitted(act: Callable[[], None], folder: int) -> None:
    """Do `act` in `folder`, made writable if need be."""
    try:
        act()
    except PermissionError:
        os.fchmod(folder, 0o700)
        act()


def open_folder(name: str, parent: int | None) -> int:
    """A descriptor of the folder `name`, made accessible if need be; a link is an error."""
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        _open_up(name, parent)
        return os.open(name, _FOLDER, dir_fd=parent)


def _open_up(name: str, parent: int | None) -> None:
    """Give ourselves all rights to the folder `name`, which is never followed as a link."""
    if not hasattr(os, "O_PATH"):
        os.chmod(name, 0o700, dir_fd=parent, follow_symlinks=False)
        return
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        Path(f"/proc/self/fd/{handle}").chmod(0o700)
    finally:
        os.close(handle)
