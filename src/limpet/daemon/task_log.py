"""A task's log on disk: appended by a worker thread, never more than 10 MiB, mode 0600."""

import asyncio
import contextlib
import os
import re
from pathlib import Path

MAX_LOG_BYTES = 10 * 1024 * 1024
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_TOO_LONG = "\n[the log is full; what follows is not kept]\n"


class TaskLog:
    """Appends to one file. A log that cannot be written is given up silently: it is a copy."""

    def __init__(self, path: Path, header: str) -> None:
        name = _UNSAFE.sub("_", path.name).lstrip(".")[:128] or "task"
        self.path = path.with_name(name)
        self._waiting: list[str] = []
        self._size = 0
        self._full = False
        self._flushing = False
        self._fd: int | None = None
        self._gone = False
        self._closed = False
        self.write(f"$ {header}\n")

    def write(self, text: str) -> None:
        """Add text; returns at once."""
        if self._full or self._gone:
            return
        self._size += len(text) if text.isascii() else len(text.encode(errors="replace"))
        if self._size > MAX_LOG_BYTES:
            self._full = True
            text = _TOO_LONG
        self._waiting.append(text)
        self._flush_soon()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._flush_soon()

    def delete(self) -> None:
        """Remove the file."""
        self._gone = True
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _flush_soon(self) -> None:
        if self._flushing:
            return
        self._flushing = True
        loop = asyncio.get_running_loop()
        text, self._waiting = "".join(self._waiting), []
        loop.run_in_executor(None, self._append, text).add_done_callback(self._flushed)

    def _flushed(self, _: "asyncio.Future[None]") -> None:
        self._flushing = False
        if self._waiting:
            self._flush_soon()
        elif self._closed and self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _append(self, text: str) -> None:
        try:
            if self._fd is None:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._fd = os.open(self.path, flags, 0o600)
            if text:
                os.write(self._fd, text.encode(errors="replace"))
        except OSError:
            self._gone = True
