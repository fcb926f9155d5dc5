"""Watches the workspace: files that anyone changes are told, gathered for 300 ms, and are work.

Linux: inotify, one watch a folder, none in `.git`, `node_modules` and the usual caches, which is
where nearly all folders are. Elsewhere watchfiles; on a Linux without inotify it looks every 2 s.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from limpet.daemon.activity import Activity
from limpet.daemon.capabilities import has
from limpet.daemon.events import Broadcaster
from limpet.daemon.files import TEMPORARY_PREFIX

DEBOUNCE_S = 0.3
POLL_MS = 2000
MAX_PATHS_A_FLUSH = 500
READ_BYTES = 64 * 1024
UNWATCHED = frozenset(
    {
        ".git", "node_modules", ".venv", "__pycache__", ".limpet-root",
        ".next", ".nuxt", ".svelte-kit", ".astro", ".turbo", ".cache", ".parcel-cache", ".vite",
        ".pytest_cache", ".mypy_cache", ".ruff_cache", ".npm", ".pnpm-store", ".yarn", ".bun",
        ".deno", ".cargo", ".rustup", ".gradle", ".m2", ".nvm", ".corepack",
    }
)  # fmt: skip

_IN_MODIFY, _IN_ATTRIB, _IN_CLOSE_WRITE = 0x2, 0x4, 0x8
_IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x40, 0x80, 0x100, 0x200
_IN_OVERFLOW, _IN_IGNORED = 0x4000, 0x8000
_IN_ONLYDIR, _IN_DONT_FOLLOW, _IN_EXCL_UNLINK = 0x1000000, 0x2000000, 0x4000000
_IN_ISDIR = 0x40000000
_INTEREST = (
    _IN_MODIFY | _IN_ATTRIB | _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE
    | _IN_DELETE | _IN_ONLYDIR | _IN_DONT_FOLLOW | _IN_EXCL_UNLINK
)  # fmt: skip
_EVENT = struct.Struct("iIII")

OnChange = Callable[[str], None]


def watched(path: str) -> bool:
    """Whether a change at `path` (relative to the workspace) is anybody's business."""
    parts = path.split("/")
    return (
        parts[0] != "tmp"
        and not UNWATCHED.intersection(parts)
        and not parts[-1].startswith(TEMPORARY_PREFIX)
    )


class Watcher:
    """Owns the watch and tells what it sees: `file-changed` events, activity."""

    def __init__(self, workspace: Path, events: Broadcaster, activity: Activity) -> None:
        self._workspace = workspace
        self._events = events
        self._activity = activity
        self._changed: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._inotify: _Inotify | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch; what changed before is not told."""
        if has("inotify"):
            try:
                self._inotify = await asyncio.to_thread(_Inotify, self._workspace, self._seen)
            except OSError as error:
                self._events.log("daemon", f"files are not watched: {error}\n")
                return
            if self._inotify.incomplete:
                self._events.log("daemon", f"not all is watched: {self._inotify.incomplete}\n")
            self._inotify.listen()
        else:
            self._task = asyncio.create_task(self._with_watchfiles())

    async def stop(self) -> None:
        """Watch no more; what was gathered is forgotten."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._changed.clear()
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def note(self, path: str) -> None:
        """`path` (relative to the workspace) was changed, by a route of ours for instance."""
        self._changed[path] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(DEBOUNCE_S, self._flush)

    def _seen(self, path: str) -> None:
        if watched(path):
            self.note(path)

    def _flush(self) -> None:
        self._timer = None
        changed, self._changed = list(self._changed), {}
        self._activity.touch("files changed")
        inside = [p.removeprefix("repo/") for p in changed if p.startswith("repo/")]
        for path in inside[:MAX_PATHS_A_FLUSH]:
            self._events.publish("file-changed", {"path": path})
        if len(inside) > MAX_PATHS_A_FLUSH:
            self._events.publish("file-changed", {"path": "."})

    async def _with_watchfiles(self) -> None:
        try:
            await self._poll()
        except (OSError, RuntimeError, ImportError) as error:
            self._events.log("daemon", f"files are not watched: {error}\n")

    async def _poll(self) -> None:
        from watchfiles import Change, awatch

        def wanted(_: object, path: str) -> bool:
            return watched(os.path.relpath(path, self._workspace))

        async for changes in awatch(
            self._workspace,
            watch_filter=wanted,
            step=50,
            force_polling=sys.platform == "linux",
            poll_delay_ms=POLL_MS,
        ):
            for kind, path in changes:
                if kind == Change.modified and Path(path).is_dir():
                    continue
                self._seen(os.path.relpath(path, self._workspace))


class _Inotify:
    """An inotify descriptor and what its watches stand for. Made in a thread, used on the loop."""

    def __init__(self, root: Path, on_change: OnChange) -> None:
        self.incomplete = ""
        self._root = root
        self._on_change = on_change
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._folders: dict[int, str] = {}
        self._add_tree("")

    def listen(self) -> None:
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _add_tree(self, top: str, found: OnChange | None = None) -> None:
        todo = [top]
        while todo:
            folder = todo.pop()
            if not self._add(folder):
                continue
            try:
                with os.scandir(self._root / folder) as entries:
                    for entry in entries:
                        path = f"{folder}/{entry.name}" if folder else entry.name
                        if entry.is_dir(follow_symlinks=False):
                            if watched(path):
                                todo.append(path)
                        elif found is not None:
                            found(path)
            except OSError:  # gone meanwhile, or not ours to read
                continue

    def _add(self, folder: str) -> bool:
        path = os.fsencode(self._root / folder)
        wd: int = self._libc.inotify_add_watch(self._fd, path, _INTEREST)
        if wd < 0:
            number = ctypes.get_errno()
            if number == errno.ENOSPC:
                self.incomplete = "the limit fs.inotify.max_user_watches is reached"
            return False
        self._folders[wd] = folder
        return True

    def _read(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            wd, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length
            self._one(wd, mask, name)

    def _one(self, wd: int, mask: int, name: str) -> None:
        if mask & _IN_OVERFLOW:
            self._add_tree("")
            self._on_change("repo/.")
            return
        if mask & _IN_IGNORED:
            self._folders.pop(wd, None)
            return
        folder = self._folders.get(wd)
        if folder is None or not name:
            return
        path = f"{folder}/{name}" if folder else name
        if mask & _IN_ISDIR:
            if mask & (_IN_CREATE | _IN_MOVED_TO) and watched(path):
                self._add_tree(path, self._on_change)
            elif mask & _IN_ATTRIB:
                return
        self._on_change(path)
