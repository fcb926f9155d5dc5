"""`/read`: lines of a text, an image, or bytes of anything, in memory that does not grow with it.

A text is gone through in blocks: lines that were not asked for are counted, never kept.
"""

import asyncio
import base64
import os
import stat
from io import BufferedReader

import msgspec
from starlette.requests import Request

from limpet.daemon.context import DaemonContext
from limpet.daemon.files import workspace_of
from limpet.daemon.paths import told
from limpet.daemon.routes import Route
from limpet.errors import InvalidInputError

MAX_IMAGE_BYTES = 5 * 1024 * 1024
MAX_READ_BYTES = 16 * 1024 * 1024
PROBE_BYTES = 8192
BLOCK_BYTES = 1024 * 1024


class ReadInput(msgspec.Struct):
    """`offset` and `limit` count lines, from 1; `full` gives all; `raw` leaves numbers out.

    With `start` or `length` bytes are read instead of lines; a negative start counts from the end.
    """

    path: str
    offset: int = 1
    limit: int = 2000
    full: bool = False
    raw: bool = False
    start: int | None = None
    length: int | None = None


class TextFile(msgspec.Struct, rename="camel", tag="text", tag_field="kind"):
    """A text's lines, each as `number<TAB>line` unless raw was asked for."""

    content: str
    line_count: int


class ImageFile(msgspec.Struct, rename="camel", tag="image", tag_field="kind"):
    """An image's bytes."""

    media_type: str
    size: int
    base64: str


class BytesOfFile(msgspec.Struct, tag="bytes", tag_field="kind"):
    """The bytes from `start` on; `size` is the whole file's."""

    start: int
    size: int
    base64: str


async def read(
    ctx: DaemonContext, given: ReadInput, _: Request
) -> TextFile | ImageFile | BytesOfFile:
    """A text's lines, an image, or a range of bytes."""
    if given.offset < 1 or given.limit < 1:
        raise InvalidInputError("offset and limit begin at 1")
    if given.length is not None and not 1 <= given.length <= MAX_READ_BYTES:
        raise InvalidInputError(f"length must be from 1 to {MAX_READ_BYTES}")
    path = workspace_of(ctx).readable(given.path)
    return await asyncio.to_thread(_read, str(path), given)


def open_to_read(path: str, given: str) -> int:
    """A descriptor of the regular file at `path`; `InvalidInputError` for anything else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidInputError(f"File not found: {given}") from None
    except OSError as error:
        raise InvalidInputError(f"Cannot read {given[:200]}: {error.strerror}") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        what = "Is a folder" if stat.S_ISDIR(status.st_mode) else "Not a regular file"
        raise InvalidInputError(f"{what}: {given}")
    return fd


def _read(path: str, given: ReadInput) -> TextFile | ImageFile | BytesOfFile:
    with told(given.path), os.fdopen(open_to_read(path, given.path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if given.start is not None or given.length is not None:
            return _bytes(file, size, given.start or 0, given.length or BLOCK_BYTES)
        head = file.read(PROBE_BYTES)
        media_type = _image_type(head)
        if media_type is not None:
            if size > MAX_IMAGE_BYTES:
                raise InvalidInputError(
                    f"Image is larger than {MAX_IMAGE_BYTES} bytes",
                    hint="Read parts of it with start and length, or download it.",
                )
            data = head + file.read(MAX_IMAGE_BYTES)
            return ImageFile(media_type, len(data), base64.b64encode(data).decode())
        if b"\0" in head:
            raise InvalidInputError(
                f"{given.path} appears to be binary",
                hint="Read its bytes with start and length.",
            )
        file.seek(0)
        return _text(file, given)


def _bytes(file: BufferedReader, size: int, start: int, length: int) -> BytesOfFile:
    begin = max(0, size + start) if start < 0 else min(start, size)
    file.seek(begin)
    return BytesOfFile(begin, size, base64.b64encode(file.read(length)).decode())


def _text(file: BufferedReader, given: ReadInput) -> TextFile:
    whole = given.full or given.raw
    lines = _Lines(1 if whole else given.offset, None if whole else given.limit)
    while block := file.read(BLOCK_BYTES):
        lines.take(block)
    content = b"".join(lines.kept)
    if given.raw:
        return TextFile(content.decode(errors="replace"), lines.count)
    text = content.decode(errors="replace").split("\n") if lines.count >= lines.first else []
    numbered = [f"{number}\t{line}" for number, line in enumerate(text, start=lines.first)]
    return TextFile("\n".join(numbered), lines.count)


class _Lines:
    """Keeps the lines from `first` on, `limit` of them, and counts all of a file's."""

    def __init__(self, first: int, limit: int | None) -> None:
        self.first = first
        self.kept: list[bytes] = []
        self.count = 1
        self._last = None if limit is None else first + limit - 1
        self._size = 0

    def take(self, block: bytes) -> None:
        newlines = block.count(b"\n")
        begin, end = 0, len(block)
        if self.count < self.first:
            begin = _after(block, self.first - self.count) if newlines else end
        if self._last is not None and self.count + newlines > self._last:
            past = self._last + 1 - self.count
            end = max(begin, _after(block, past) - 1) if past > 0 else begin
        self.count += newlines
        if end > begin:
            self._size += end - begin
            if self._size > MAX_READ_BYTES:
                raise InvalidInputError(
                    f"More than {MAX_READ_BYTES} bytes were asked for",
                    hint="Ask for fewer lines with offset and limit, or bytes with start.",
                )
            self.kept.append(block[begin:end])


def _after(block: bytes, number: int) -> int:
    """The place after the newline with that number, from 1; the block's end when it has fewer."""
    place = 0
    for _ in range(number):
        found = block.find(b"\n", place)
        if found < 0:
            return len(block)
        place = found + 1
    return place


def _image_type(head: bytes) -> str | None:
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    return [
        Route(
            ("POST",),
            "/read",
            read,
            ReadInput,
            TextFile | ImageFile | BytesOfFile,
            summary="Read a text, an image or bytes",
        )
    ]
