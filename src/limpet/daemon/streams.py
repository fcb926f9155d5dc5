"""`/upload` and `/download`: files of any size as raw bodies, folders as an archive.

An upload takes the place of the old file when its last byte has come, never before. A download
answers ranges and conditions; a file that changes while it is sent breaks the stream off.
"""

import asyncio
import email.utils
import os
from contextlib import ExitStack
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from limpet.daemon import names
from limpet.daemon.archives import Archive
from limpet.daemon.context import DaemonContext
from limpet.daemon.files import fresh_file, workspace_of, write_all
from limpet.daemon.gate import gate
from limpet.daemon.paths import exists, told
from limpet.daemon.reading import open_to_read
from limpet.daemon.routes import Route, RouteError, chunks_of
from limpet.errors import ConflictError

CHUNK_BYTES = 256 * 1024
BINARY = "application/octet-stream"
FORMS = {"tar": "application/x-tar", "zip": "application/zip"}


class UploadQuery(msgspec.Struct):
    """Where to; `mode` is the file's permissions, in octal digits."""

    path: str
    mode: Annotated[str, msgspec.Meta(pattern="^[0-7]{3}$")] | None = None


class Uploaded(msgspec.Struct):
    """How many bytes the file has, and what names this state of it."""

    ok: bool
    size: int
    etag: str


class DownloadQuery(msgspec.Struct):
    """What; `format` is what a folder comes as."""

    path: str
    format: Literal["tar", "zip"] = "tar"


async def upload(ctx: DaemonContext, given: UploadQuery, request: Request) -> Uploaded:
    """Make or replace a file by the body; a body that breaks off changes nothing."""
    gate.check()
    turn = gate.turn
    workspace = workspace_of(ctx)
    size = 0
    with told(given.path), ExitStack() as held:
        folder, name = held.enter_context(workspace.parent_of(given.path, make_parents=True))
        _check_conditions(request, exists(folder, name))
        with fresh_file(ctx, folder, name, given.path) as fd:
            async for chunk in chunks_of(request):
                size += len(chunk)
                await asyncio.to_thread(write_all, fd, chunk)
            if given.mode is not None:
                os.fchmod(fd, int(given.mode, 8))
            etag = etag_of(os.fstat(fd))
            held.enter_context(gate.writing())
            if gate.turn != turn:
                raise ConflictError("the workspace was restored while the file came")
            _check_conditions(request, exists(folder, name))
    ctx.watcher.note(workspace.relative(given.path))
    return Uploaded(ok=True, size=size, etag=etag)


def _check_conditions(request: Request, there: os.stat_result | None) -> None:
    """`If-Match` and `If-None-Match: *`, as RFC 9110 has them for PUT; 412."""
    etag = etag_of(there) if there is not None else None
    wanted, unwanted = request.headers.get("if-match"), request.headers.get("if-none-match")
    if wanted is not None and not _matches(wanted, etag):
        raise RouteError("the file is not what If-Match says", status=412, etag=etag)
    if unwanted is not None and _matches(unwanted, etag):
        raise RouteError("the file is there already", status=412, etag=etag)


def etag_of(status: os.stat_result) -> str:
    """What names a state of a file: it changes with every replacement and every write."""
    return f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'


def _matches(header: str, etag: str | None) -> bool:
    if etag is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags


async def download(ctx: DaemonContext, given: DownloadQuery, request: Request) -> Response:
    """A file's bytes, or a range of them; a folder as an archive."""
    path = str(workspace_of(ctx).readable(given.path))
    name = names.shown(os.path.basename(path)) or "workspace"  # noqa: PTH119 - not always a path
    if await asyncio.to_thread(os.path.isdir, path):
        return ArchiveResponse(path, given.format, f"{name}.{given.format}", request)
    fd = await asyncio.to_thread(open_to_read, path, given.path)
    try:
        return FileResponse(fd, name, request)
    except BaseException:
        os.close(fd)
        raise


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """The first and the last byte of the one range that is asked for; None: send everything.

    `RouteError` 416 when no byte of it is there. Several ranges at once are not given. An empty
    file is sent whatever the range: whoever bounds each of its requests by one is to get it, too.
    """
    if size == 0:
        return None
    unit, _, spec = header.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip().lower() != "bytes" or not dash or "," in spec:
        return None
    if not all(_is_number(part) for part in (first, last) if part):
        return None
    if first:
        begin, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < begin:
            return None
    elif last:
        begin, end = max(0, size - int(last)), size - 1
        if int(last) == 0:
            begin = size
    else:
        return None
    if begin >= size:
        raise RouteError("no byte of that range is there", status=416, size=size)
    return begin, end


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


class FileResponse(Response):
    """Streams an open file, and closes it. Whole, a range, or 304 where the client has it."""

    def __init__(self, fd: int, name: str, request: Request) -> None:
        status = os.fstat(fd)
        self._fd = fd
        self._only_head = request.method == "HEAD"
        self._begin, self._end = 0, status.st_size - 1
        etag = etag_of(status)
        modified = email.utils.formatdate(status.st_mtime, usegmt=True)
        headers = {
            "ETag": etag,
            "Last-Modified": modified,
            "Accept-Ranges": "bytes",
            "Cache-Control": "no-cache",
            "Content-Disposition": _attachment(name),
            "X-Content-Type-Options": "nosniff",
        }
        code = 200
        if _unchanged(request, etag, int(status.st_mtime)):
            code, self._end = 304, -1
        elif request.headers.get("if-range") in {None, etag, modified}:
            found = parse_range(request.headers.get("range", ""), status.st_size)
            if found is not None:
                code = 206
                self._begin, self._end = found
                headers["Content-Range"] = f"bytes {found[0]}-{found[1]}/{status.st_size}"
        super().__init__(status_code=code, headers=headers, media_type=BINARY)
        if code == 304:
            del self.headers["content-length"]
        else:
            self.headers["content-length"] = str(self._end - self._begin + 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send chunk by chunk; a file that shrank breaks the stream off."""
        start = {"status": self.status_code, "headers": self.raw_headers}
        left = 0 if self._only_head else self._end - self._begin + 1
        try:
            await send({"type": "http.response.start", **start})
            place = self._begin
            while left > 0:
                wanted = min(CHUNK_BYTES, left)
                chunk = await asyncio.to_thread(os.pread, self._fd, wanted, place)
                if not chunk:
                    raise OSError("the file shrank while it was sent")
                place += len(chunk)
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            os.close(self._fd)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class ArchiveResponse(Response):
    """Streams a folder as an archive, made while it is sent."""

    def __init__(self, path: str, form: Literal["tar", "zip"], name: str, request: Request) -> None:
        headers = {"Content-Disposition": _attachment(name), "Cache-Control": "no-store"}
        super().__init__(headers=headers, media_type=FORMS[form])
        del self.headers["content-length"]
        self._path, self._form = path, form
        self._only_head = request.method == "HEAD"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send as it is made; what cannot be read breaks the stream off."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if not self._only_head:
            archive = Archive(self._path, self._form)
            try:
                async for chunk in archive.chunks():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            finally:
                archive.close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _unchanged(request: Request, etag: str, mtime_s: int) -> bool:
    known = request.headers.get("if-none-match")
    if known is not None:
        return _matches(known, etag)
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return email.utils.parsedate_to_datetime(since).timestamp() >= mtime_s
    except (ValueError, OverflowError):
        return False


def _attachment(name: str) -> str:
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    return [
        Route(
            ("POST", "PUT"),
            "/upload",
            upload,
            output=Uploaded,
            query=UploadQuery,
            headers=("If-Match", "If-None-Match"),
            body=(BINARY,),
            statuses=(408, 409, 412, 507),
            summary="Make or replace a file by the raw body",
        ),
        Route(
            ("GET",),
            "/download",
            download,
            query=DownloadQuery,
            headers=("Range", "If-Range", "If-None-Match", "If-Modified-Since"),
            media=(BINARY, *FORMS.values()),
            statuses=(206, 304, 416),
            summary="A file's bytes, or a folder as an archive",
        ),
    ]
