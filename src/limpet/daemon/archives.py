"""A folder as a tar or a zip, made in a thread of its own while somebody takes it.

The thread writes into a pipe, so it is never further ahead than a pipe holds; when the taker goes
away the pipe breaks and the thread ends.
"""

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from typing import IO, Literal, NamedTuple

from limpet.daemon import names

READ_BYTES = 256 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Archive:
    """One archive under way. `close` ends it, whatever was taken of it."""

    def __init__(self, path: str, form: Literal["tar", "zip"]) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self._error: BaseException | None = None
        self._path = path
        self._make = _tar if form == "tar" else _zip
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The archive's bytes; `OSError` at the end when something could not be read."""
        self._thread.start()
        while chunk := await self._chunk():
            yield chunk
        self._thread.join()  # it has closed the pipe: there is nothing to wait for
        if self._error is not None:
            raise OSError(f"the archive broke off: {self._error}") from self._error

    async def _chunk(self) -> bytes:
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._read, READ_BYTES)
            except BlockingIOError:
                ready = loop.create_future()
                loop.add_reader(self._read, _done, ready)
                try:
                    await ready
                finally:
                    loop.remove_reader(self._read)

    def close(self) -> None:
        """Let go of it; a thread that still writes finds its pipe broken."""
        os.close(self._read)

    def _run(self) -> None:
        try:
            with os.fdopen(self._write, "wb") as out:
                self._make(self._path, out)
        except BrokenPipeError:
            pass
        except Exception as error:  # noqa: BLE001 - handed on to who takes the archive
            self._error = error


def _done(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


class _Found(NamedTuple):
    path: str
    folder: int
    name: str
    status: os.stat_result


def _walk(root: str) -> Iterator[_Found]:
    """Folders (before what is in them), files and links below `root`, sorted, none followed."""
    todo = [""]
    while todo:
        prefix = todo.pop()
        try:
            folder = os.open(f"{root}/{prefix}", _FOLDER)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            below = []
            for name in sorted(os.listdir(folder)):
                try:
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield _Found(prefix + name, folder, name, status)
                if stat.S_ISDIR(status.st_mode):
                    below.append(f"{prefix}{name}/")
            todo.extend(reversed(below))
        finally:
            os.close(folder)


def _tar(root: str, out: IO[bytes]) -> None:
    import tarfile

    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for found in _walk(root):
            member = tarfile.TarInfo(found.path)
            member.mode = stat.S_IMODE(found.status.st_mode)
            member.mtime = found.status.st_mtime
            if stat.S_ISDIR(found.status.st_mode):
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            elif stat.S_ISLNK(found.status.st_mode):
                member.type = tarfile.SYMTYPE
                member.linkname = os.readlink(found.name, dir_fd=found.folder)
                tar.addfile(member)
            elif stat.S_ISREG(found.status.st_mode):
                with os.fdopen(os.open(found.name, _FILE, dir_fd=found.folder), "rb") as file:
                    member.size = os.fstat(file.fileno()).st_size
                    tar.addfile(member, file)


def _zip(root: str, out: IO[bytes]) -> None:
    import shutil
    import time
    import zipfile

    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for found in _walk(root):
            mode = found.status.st_mode
            when = max(time.localtime(found.status.st_mtime)[:6], (1980, 1, 1, 0, 0, 0))
            folder = stat.S_ISDIR(mode)
            name = names.shown(found.path) + ("/" if folder else "")
            member = zipfile.ZipInfo(name, min(when, (2107, 12, 31, 23, 59, 58)))
            member.external_attr = mode << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            if folder:
                member.external_attr |= 0x10
                archive.writestr(member, b"")
            elif stat.S_ISLNK(mode):
                archive.writestr(member, os.fsencode(os.readlink(found.name, dir_fd=found.folder)))
            elif stat.S_ISREG(mode):
                with (
                    os.fdopen(os.open(found.name, _FILE, dir_fd=found.folder), "rb") as file,
                    archive.open(member, "w", force_zip64=True) as into,
                ):
                    shutil.copyfileobj(file, into, READ_BYTES)
