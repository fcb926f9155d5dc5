"""Watches the workspace: files that anyone changes are told, gathered for 300 ms, and are work.

Linux: inotify, one watch a folder, none in `.git`, `node_modules` and the usual caches, which is
where nearly all folders are (inotify.py). Where that cannot be had it looks again and again.
"""

import asyncio
import contextlib
import os
import time
from pathlib import Path

from limpet.daemon import names
from limpet.daemon.activity import Activity
from limpet.daemon.capabilities import has
from limpet.daemon.events import Broadcaster
from limpet.daemon.folders import TEMPORARY_PREFIX
from limpet.daemon.inotify import Inotify

DEBOUNCE_S = 0.3
POLL_S = 5.0
POLL_SHARE = 50
MAX_PATHS_A_FLUSH = 500
UNWATCHED = frozenset(
    {
        ".git", "node_modules", ".venv", "__pycache__", ".limpet-root",
        ".next", ".nuxt", ".svelte-kit", ".astro", ".turbo", ".cache", ".parcel-cache", ".vite",
        ".pytest_cache", ".mypy_cache", ".ruff_cache", ".npm", ".pnpm-store", ".yarn", ".bun",
        ".deno", ".cargo", ".rustup", ".gradle", ".m2", ".nvm", ".corepack",
    }
)  # fmt: skip

Seen = dict[str, tuple[int, int, int]]


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

    def __init__(
        self, workspace: Path, events: Broadcaster, activity: Activity, *, poll_s: float = POLL_S
    ) -> None:
        self._workspace = workspace
        self._events = events
        self._activity = activity
        self._poll_s = poll_s
        self._changed: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._inotify: Inotify | None = None
        self._polling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch; what changed before is not told."""
        if has("inotify"):
            try:
                self._inotify = await asyncio.to_thread(
                    Inotify, self._workspace, self._seen, watched
                )
            except OSError as error:
                self._events.log("daemon", f"no inotify ({error}): files are polled\n")
            else:
                if self._inotify.incomplete:
                    self._events.log("daemon", f"not all is watched: {self._inotify.incomplete}\n")
                self._inotify.listen()
                return
        seen = await asyncio.to_thread(scan, self._workspace)
        self._polling = asyncio.create_task(self._poll(seen))

    async def stop(self) -> None:
        """Watch no more; what was gathered is forgotten."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._changed.clear()
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        if self._polling is not None:
            self._polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._polling
            self._polling = None

    def note(self, path: str) -> None:
        """`path` (relative to the workspace) was changed, by a route of ours for instance."""
        self._changed[path] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(DEBOUNCE_S, self._flush)

    def settle(self) -> None:
        """Tell at once what has changed so far: what comes later was done after this."""
        if self._inotify is not None:
            self._inotify.read_all()
        if self._timer is not None:
            self._timer.cancel()
            self._flush()

    def _seen(self, path: str) -> None:
        if watched(path):
            self.note(path)

    def _flush(self) -> None:
        self._timer = None
        changed, self._changed = list(self._changed), {}
        self._activity.touch("files changed")
        inside = [p.removeprefix("repo/") for p in changed if p.startswith("repo/")]
        for path in inside[:MAX_PATHS_A_FLUSH]:
            self._events.publish("file-changed", {"path": names.shown(path)})
        if len(inside) > MAX_PATHS_A_FLUSH:
            self._events.publish("file-changed", {"path": "."})

    async def _poll(self, before: Seen) -> None:
        pause_s = self._poll_s
        while True:
            await asyncio.sleep(pause_s)
            begun_s = time.monotonic()
            now = await asyncio.to_thread(scan, self._workspace)
            pause_s = max(self._poll_s, POLL_SHARE * (time.monotonic() - begun_s))
            for path in now.keys() | before.keys():
                if now.get(path) != before.get(path):
                    self._seen(path)
            before = now


def scan(workspace: Path) -> Seen:
    """Every watched file with what a change of it would change. Blocking."""
    found: Seen = {}
    todo = [""]
    while todo:
        folder = todo.pop()
        try:
            with os.scandir(workspace / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if not watched(path):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(path)
                        continue
                    status = entry.stat(follow_symlinks=False)
                    found[path] = (status.st_ctime_ns, status.st_ino, status.st_size)
        except OSError:  # gone meanwhile, or not ours to read
            continue
    return found
