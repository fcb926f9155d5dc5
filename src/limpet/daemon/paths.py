"""How a path that somebody gives becomes a place inside the workspace, whatever links say.

Reads may go anywhere the daemon's user can read. Writes go through `Workspace.parent_of`: it walks
folder by folder with descriptors, follows links by its own reading of them, and never steps
outside, so that no link and no race leads a write out.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from limpet.daemon import names
from limpet.daemon.ownership import give_new
from limpet.errors import InvalidInputError

MAX_LINKS = 40
MAX_BYTES = 4095
"""Of a whole path: what lies deeper most programs cannot name, git among them."""
MAX_PARTS = 250
"""Each part of a path holds a descriptor while it is walked."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class PathEscapesError(InvalidInputError):
    """The path leads out of the workspace."""

    code = "path_escapes"


class Workspace:
    """The workspace's folder as the clamp of every write. Blocking: call it in a thread."""

    def __init__(self, root: Path, base: Path) -> None:
        self._root = root
        self._base = base

    def readable(self, path: str) -> Path:
        """Where `path` is read: relative ones start at the repo and stay in the workspace."""
        _check(path)
        if path.startswith("/"):
            return Path(os.path.normpath(names.meant(path)))
        return self._root / self._lexical(path)

    def shown(self, path: Path) -> str:
        """`path` relative to the repo where it lies in it, else absolute."""
        try:
            return names.shown(str(path.relative_to(self._base)))
        except ValueError:
            return names.shown(str(path))

    def relative(self, path: str) -> str:
        """`path` relative to the workspace, by its letters alone; `PathEscapesError`."""
        return str(self._lexical(path))

    def _lexical(self, path: str) -> Path:
        _check(path)
        path = names.meant(path)
        whole = Path(os.path.normpath(path if path.startswith("/") else self._base / path))
        try:
            return whole.relative_to(self._root)
        except ValueError:
            pass
        if path.startswith("/"):  # another name of the workspace, such as /app
            real = Path(os.path.realpath(whole.parent)) / whole.name
            try:
                return real.relative_to(os.path.realpath(self._root))
            except ValueError:
                pass
        raise PathEscapesError(f"Path escapes the workspace: {path}")

    @contextmanager
    def parent_of(
        self, path: str, *, make_parents: bool = False, follow_last: bool = True
    ) -> Iterator[tuple[int, str]]:
        """A descriptor of the folder that holds `path`, and the last name in it.

        With `follow_last` a link at the end is followed to where it points, if that is inside.
        The workspace's own folder has no parent here: `PathEscapesError`.
        """
        walk = _Walk(self._root, make_parents=make_parents)
        try:
            yield walk.to(self._lexical(path).parts, path, follow_last=follow_last)
        finally:
            walk.close()


class _Walk:
    """One way from the workspace's folder down; holds a descriptor for each folder of it."""

    def __init__(self, root: Path, *, make_parents: bool) -> None:
        self._root = root
        self._make = make_parents
        self._fds = [os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)

    def to(self, parts: tuple[str, ...], given: str, *, follow_last: bool) -> tuple[int, str]:
        todo = list(reversed(parts))
        links = 0
        while todo:
            name = todo.pop()
            if name in {"", "."}:
                continue
            if name == "..":
                if len(self._fds) == 1:
                    raise PathEscapesError(f"Path escapes the workspace: {given}")
                os.close(self._fds.pop())
                continue
            here = self._fds[-1]
            last = not any(part not in {"", "."} for part in todo)
            target = self._link(here, name) if not last or follow_last else None
            if target is not None:
                links += 1
                if links > MAX_LINKS:
                    raise InvalidInputError(f"Too many links: {given}")
                todo.extend(reversed(self._from_link(target, given)))
                continue
            if last:
                return here, name
            self._fds.append(self._enter(here, name, given))
        raise PathEscapesError(f"Path escapes the workspace or is the workspace itself: {given}")

    def _from_link(self, target: str, given: str) -> list[str]:
        if not target.startswith("/"):
            return target.split("/")
        try:
            inside = Path(os.path.normpath(target)).relative_to(self._root)
        except ValueError:
            raise PathEscapesError(f"Path escapes the workspace through a link: {given}") from None
        while len(self._fds) > 1:
            os.close(self._fds.pop())
        return list(inside.parts)

    @staticmethod
    def _link(folder: int, name: str) -> str | None:
        try:
            return os.readlink(name, dir_fd=folder)
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.ENOENT, errno.ENOTDIR}:
                return None
            raise

    def _enter(self, folder: int, name: str, given: str) -> int:
        try:
            return os.open(name, _FOLDER, dir_fd=folder)
        except FileNotFoundError:
            if not self._make:
                raise InvalidInputError(f"File not found: {given}") from None
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=folder)
                give_new(name, folder)
            return os.open(name, _FOLDER, dir_fd=folder)
        except NotADirectoryError:
            raise InvalidInputError(f"Not a folder on the way: {given}") from None


@contextmanager
def told(path: str) -> Iterator[None]:
    """What the file system refuses about `path` is `InvalidInputError`, but for want of room."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        raise InvalidInputError(f"{path[:200]}: {error.strerror or error}") from error


def working_folder(base: Path, given: str | None) -> Path:
    """The folder that a command runs in, from `base`; `InvalidInputError` when it is none."""
    path = base if given is None else base / names.meant(given)
    # Path.is_dir raises for names that are too long.
    if "\0" in str(path) or not os.path.isdir(path):  # noqa: PTH112
        raise InvalidInputError(f"cwd is not a folder: {(given or str(path))[:200]}")
    return path


def exists(folder: int, name: str) -> os.stat_result | None:
    """What is there, links not followed; None for nothing."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_folder(status: os.stat_result | None) -> bool:
    """Whether it is a folder."""
    return status is not None and stat.S_ISDIR(status.st_mode)


def _check(path: str) -> None:
    if not path:
        raise InvalidInputError("path is empty")
    if "\0" in path:
        raise InvalidInputError("path holds a NUL byte")
    if len(path.encode()) > MAX_BYTES or path.count("/") > MAX_PARTS:
        raise InvalidInputError(f"path is too long: {path[:100]}...")
