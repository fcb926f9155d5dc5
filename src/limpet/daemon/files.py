"""Routes on files: read, write, edit, unlink, mkdir, rename, glob.

Writes are contained in the workspace (paths.py) and atomic: a reader sees the old file or the new
one. All disk work runs in threads.
"""

import asyncio
import base64
import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
from starlette.requests import Request

from limpet.daemon.context import DaemonContext
from limpet.daemon.gate import gate
from limpet.daemon.ownership import give_new
from limpet.daemon.paths import Workspace, exists, is_folder
from limpet.daemon.patterns import PRUNED, walk_matching
from limpet.daemon.routes import Route
from limpet.errors import InvalidInputError

MAX_IMAGE_BYTES = 5 * 1024 * 1024
MAX_TEXT_BYTES = 16 * 1024 * 1024
PROBE_BYTES = 8192
DEFAULT_GLOB_LIMIT = 1000
TEMPORARY_PREFIX = ".limpet-"


class ReadInput(msgspec.Struct):
    """`offset` and `limit` count lines, from 1; `full` gives all; `raw` leaves numbers out."""

    path: str
    offset: int = 1
    limit: int = 2000
    full: bool = False
    raw: bool = False


class TextFile(msgspec.Struct, rename="camel", tag="text", tag_field="kind"):
    """A text's lines, each as `number<TAB>line` unless raw was asked for."""

    content: str
    line_count: int


class ImageFile(msgspec.Struct, rename="camel", tag="image", tag_field="kind"):
    """An image's bytes."""

    media_type: str
    size: int
    base64: str


class WriteInput(msgspec.Struct):
    """The whole new content."""

    path: str
    content: str


class Written(msgspec.Struct, rename="camel"):
    """How many bytes the file has now."""

    ok: bool
    bytes_written: int


class EditInput(msgspec.Struct):
    """`old_string` must be there once, or `replace_all` be said."""

    path: str
    old_string: str
    new_string: str
    replace_all: bool = False


class Edited(msgspec.Struct):
    """How often it was replaced, and the file as it is now."""

    ok: bool
    replacements: int
    content: str


class UnlinkInput(msgspec.Struct):
    """A folder goes only with `recursive`."""

    path: str
    recursive: bool = False


class Unlinked(msgspec.Struct):
    """Whether there was anything."""

    ok: bool
    existed: bool


class MkdirInput(msgspec.Struct):
    """A folder, with its parents."""

    path: str


class RenameInput(msgspec.Struct):
    """From where to where."""

    from_: str = msgspec.field(name="from")
    to: str


class Done(msgspec.Struct):
    """It is done."""

    ok: bool


class GlobInput(msgspec.Struct):
    """`*`, `?`, `[...]`, `{a,b}` and `**`; `path` is where it starts (the repo)."""

    pattern: str
    path: str | None = None
    limit: int = DEFAULT_GLOB_LIMIT


class GlobResult(msgspec.Struct):
    """Paths relative to the repo, sorted."""

    files: list[str]


def workspace_of(ctx: DaemonContext) -> Workspace:
    """The clamp of every path of this sandbox."""
    return Workspace(ctx.settings.app_root, ctx.settings.repo)


async def read(ctx: DaemonContext, given: ReadInput, _: Request) -> TextFile | ImageFile:
    """A text's lines or an image."""
    if given.offset < 1 or given.limit < 1:
        raise InvalidInputError("offset and limit begin at 1")
    path = workspace_of(ctx).readable(given.path)
    return await asyncio.to_thread(_read, path, given)


async def write(ctx: DaemonContext, given: WriteInput, _: Request) -> Written:
    """Replace or make a file."""
    data = given.content.encode(errors="surrogateescape")
    with gate.writing():
        await asyncio.to_thread(write_file, ctx, given.path, data)
    ctx.watcher.note(workspace_of(ctx).relative(given.path))
    return Written(ok=True, bytes_written=len(data))


async def edit(ctx: DaemonContext, given: EditInput, _: Request) -> Edited:
    """Replace a piece of a file, by its letters."""
    if not given.old_string:
        raise InvalidInputError("old_string is empty")
    if given.old_string == given.new_string:
        raise InvalidInputError("old_string and new_string are equal")
    with gate.writing():
        count, content = await asyncio.to_thread(_edit, ctx, given)
    ctx.watcher.note(workspace_of(ctx).relative(given.path))
    return Edited(ok=True, replacements=count, content=content)


async def unlink(ctx: DaemonContext, given: UnlinkInput, _: Request) -> Unlinked:
    """Delete a file, a link or, when told, a folder."""
    with gate.writing():
        existed = await asyncio.to_thread(_unlink, ctx, given)
    if existed:
        ctx.watcher.note(workspace_of(ctx).relative(given.path))
    return Unlinked(ok=True, existed=existed)


async def mkdir(ctx: DaemonContext, given: MkdirInput, _: Request) -> Done:
    """Make a folder with its parents; one that is there is fine."""
    with gate.writing():
        await asyncio.to_thread(_mkdir, ctx, given.path)
    return Done(ok=True)


async def rename(ctx: DaemonContext, given: RenameInput, _: Request) -> Done:
    """Move within the workspace; parents of the new place are made."""
    with gate.writing():
        await asyncio.to_thread(_rename, ctx, given)
    workspace = workspace_of(ctx)
    ctx.watcher.note(workspace.relative(given.from_))
    ctx.watcher.note(workspace.relative(given.to))
    return Done(ok=True)


async def glob(ctx: DaemonContext, given: GlobInput, _: Request) -> GlobResult:
    """Files whose path matches."""
    workspace = workspace_of(ctx)
    start = workspace.readable(given.path) if given.path else ctx.repo
    limit = max(1, min(given.limit, 100_000))

    def find() -> list[str]:
        if not start.is_dir():
            raise InvalidInputError(f"Not a folder: {given.path}")
        asked = f"{given.path or ''}/{given.pattern}".split("/")
        prune = PRUNED.difference(asked)
        found = walk_matching(start, given.pattern, prune=prune, limit=limit)
        return [workspace.shown(path) for path in found]

    return GlobResult(files=await asyncio.to_thread(find))


def _read(path: Path, given: ReadInput) -> TextFile | ImageFile:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidInputError(f"File not found: {given.path}") from None
    except OSError as error:
        raise InvalidInputError(f"Cannot read {given.path}: {error.strerror}") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        what = "Is a folder" if stat.S_ISDIR(status.st_mode) else "Not a regular file"
        raise InvalidInputError(f"{what}: {given.path}")
    with os.fdopen(fd, "rb") as file:
        head = file.read(PROBE_BYTES)
        media_type = _image_type(head)
        if media_type is not None:
            if status.st_size > MAX_IMAGE_BYTES:
                raise InvalidInputError(f"Image is larger than {MAX_IMAGE_BYTES} bytes")
            data = head + file.read(MAX_IMAGE_BYTES)
            return ImageFile(media_type, len(data), base64.b64encode(data).decode())
        if b"\0" in head:
            raise InvalidInputError(f"{given.path} appears to be binary")
        file.seek(0)
        first = 1 if given.full or given.raw else given.offset
        last = None if given.full or given.raw else given.offset + given.limit - 1
        wanted: list[bytes] = []
        size = 0
        count = 0
        ends_with_newline = True
        for count, line in enumerate(file, start=1):
            ends_with_newline = line.endswith(b"\n")
            if count >= first and (last is None or count <= last):
                size += len(line)
                if size > MAX_TEXT_BYTES:
                    raise InvalidInputError(
                        f"More than {MAX_TEXT_BYTES} bytes were asked for",
                        hint="Ask for fewer lines with offset and limit.",
                    )
                wanted.append(line)
    if given.raw:
        return TextFile(b"".join(wanted).decode(errors="replace"), count + ends_with_newline)
    if ends_with_newline:  # the empty line after the last newline counts
        count += 1
        if count >= first and (last is None or count <= last):
            wanted.append(b"")
    lines = [line.removesuffix(b"\n").decode(errors="replace") for line in wanted]
    numbered = [f"{number}\t{line}" for number, line in enumerate(lines, start=first)]
    return TextFile("\n".join(numbered), count)


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


def write_file(ctx: DaemonContext, path: str, data: bytes) -> None:
    """Put `data` in place of the file at `path`, whole or not at all; its mode stays."""
    with workspace_of(ctx).parent_of(path, make_parents=True) as (folder, name):
        _replace(ctx, folder, name, path, data)


def _replace(ctx: DaemonContext, folder: int, name: str, given: str, data: bytes) -> None:
    with fresh_file(ctx, folder, name, given) as fd:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


@contextlib.contextmanager
def fresh_file(ctx: DaemonContext, folder: int, name: str, given: str) -> Iterator[int]:
    """A descriptor to fill; at the end it takes the place of `name`, on an error it is gone.

    It is made in the root's scratch folder, so that nobody who watches the workspace sees it; in
    the same folder where that is another file system.
    """
    old = exists(folder, name)
    if is_folder(old):
        raise InvalidInputError(f"Is a folder: {given}")
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise InvalidInputError(f"Not a regular file: {given}")
    temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    where = _scratch(ctx, folder)
    try:
        fd = os.open(temporary, flags, 0o666, dir_fd=where)
        try:
            try:
                if old is not None:
                    os.fchmod(fd, stat.S_IMODE(old.st_mode))
                give_new(fd, folder)
                yield fd
            finally:
                os.close(fd)
            os.rename(temporary, name, src_dir_fd=where, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=where)
            raise
    finally:
        if where != folder:
            os.close(where)


def _scratch(ctx: DaemonContext, folder: int) -> int:
    try:
        scratch = os.open(ctx.root.scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return folder
    if os.fstat(scratch).st_dev != os.fstat(folder).st_dev:
        os.close(scratch)
        return folder
    return scratch


def _edit(ctx: DaemonContext, given: EditInput) -> tuple[int, str]:
    with workspace_of(ctx).parent_of(given.path) as (folder, name):
        try:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, dir_fd=folder)
        except FileNotFoundError:
            raise InvalidInputError(f"File not found: {given.path}") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise InvalidInputError(f"Not a regular file: {given.path}")
        with os.fdopen(fd, "rb") as file:
            text = file.read().decode(errors="surrogateescape")
        count = text.count(given.old_string)
        if count == 0:
            raise InvalidInputError(f"old_string not found in {given.path}")
        if count > 1 and not given.replace_all:
            raise InvalidInputError(
                f"old_string is not unique in {given.path}: found {count} times",
                hint="Give more of its surroundings, or set replace_all.",
            )
        text = text.replace(given.old_string, given.new_string)
        _replace(ctx, folder, name, given.path, text.encode(errors="surrogateescape"))
        return count, text.encode(errors="replace").decode(errors="replace")


def _refuse_roots(ctx: DaemonContext, path: str) -> None:
    relative = workspace_of(ctx).relative(path)
    if relative in {".", "repo", "home"} or relative.rsplit("/", 1)[-1] == ".git":
        raise InvalidInputError(f"Refusing to move or delete {path}")


def _unlink(ctx: DaemonContext, given: UnlinkInput) -> bool:
    _refuse_roots(ctx, given.path)
    try:
        with workspace_of(ctx).parent_of(given.path, follow_last=False) as (folder, name):
            status = exists(folder, name)
            if status is None:
                return False
            if name == ".git":
                raise InvalidInputError(f"Refusing to move or delete {given.path}")
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(name, dir_fd=folder)
            elif given.recursive:
                shutil.rmtree(name, dir_fd=folder)
            else:
                raise InvalidInputError(
                    f"Is a folder: {given.path}", hint="Set recursive to delete it."
                )
            return True
    except InvalidInputError as error:
        if error.message.startswith("File not found"):
            return False
        raise


def _mkdir(ctx: DaemonContext, path: str) -> None:
    workspace = workspace_of(ctx)
    if workspace.relative(path) == ".":
        return
    with workspace.parent_of(path, make_parents=True) as (folder, name):
        try:
            os.mkdir(name, dir_fd=folder)
            give_new(name, folder)
        except FileExistsError:
            if not is_folder(exists(folder, name)):
                raise InvalidInputError(f"A file is in the way: {path}") from None


def _rename(ctx: DaemonContext, given: RenameInput) -> None:
    _refuse_roots(ctx, given.from_)
    workspace = workspace_of(ctx)
    with (
        workspace.parent_of(given.from_, follow_last=False) as (source, name),
        workspace.parent_of(given.to, make_parents=True, follow_last=False) as (target, new_name),
    ):
        if exists(source, name) is None:
            raise InvalidInputError(f"File not found: {given.from_}")
        if exists(target, new_name) is not None:
            raise InvalidInputError(f"There is something already: {given.to}")
        try:
            os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
        except OSError as error:
            raise InvalidInputError(f"Cannot rename: {error.strerror}") from error


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    post = ("POST",)
    return [
        Route(post, "/read", read, ReadInput, TextFile, summary="Read a text or an image"),
        Route(post, "/write", write, WriteInput, Written, summary="Write a file"),
        Route(post, "/edit", edit, EditInput, Edited, summary="Replace a piece of a file"),
        Route(post, "/unlink", unlink, UnlinkInput, Unlinked, summary="Delete"),
        Route(post, "/mkdir", mkdir, MkdirInput, Done, summary="Make a folder"),
        Route(post, "/rename", rename, RenameInput, Done, summary="Move"),
        Route(post, "/glob", glob, GlobInput, GlobResult, summary="Find files by their path"),
    ]
