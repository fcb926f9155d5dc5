"""Routes that change files: write, unlink, mkdir, rename, copy.

Writes are contained in the workspace (paths.py) and atomic: a reader sees the old file or the new
one. All disk work runs in threads.
"""

import asyncio
import contextlib
import os
import secrets
import stat
from collections.abc import Iterator

import msgspec
from starlette.requests import Request

from limpet.daemon.context import DaemonContext
from limpet.daemon.folders import TEMPORARY_PREFIX
from limpet.daemon.gate import gate
from limpet.daemon.moves import noted_move
from limpet.daemon.ownership import give_copy, give_new
from limpet.daemon.paths import Workspace, exists, is_folder, told
from limpet.daemon.placing import Entry, copy_entry, delete_entry, place_entry, same_entry
from limpet.daemon.routes import Done, Route
from limpet.errors import InvalidInputError


class WriteInput(msgspec.Struct):
    """The whole new content."""

    path: str
    content: str


class Written(msgspec.Struct, rename="camel"):
    """How many bytes the file has now."""

    ok: bool
    bytes_written: int


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


class MoveInput(msgspec.Struct):
    """From where to where; with `overwrite` what is there goes, else it is in the way."""

    from_: str = msgspec.field(name="from")
    to: str
    overwrite: bool = False


def workspace_of(ctx: DaemonContext) -> Workspace:
    """The clamp of every path of this sandbox."""
    return Workspace(ctx.settings.app_root, ctx.settings.repo)


async def write(ctx: DaemonContext, given: WriteInput, _: Request) -> Written:
    """Replace or make a file."""
    data = given.content.encode(errors="surrogateescape")
    with gate.writing():
        await asyncio.to_thread(write_file, ctx, given.path, data)
    ctx.watcher.note(workspace_of(ctx).relative(given.path))
    return Written(ok=True, bytes_written=len(data))


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


async def rename(ctx: DaemonContext, given: MoveInput, _: Request) -> Done:
    """Move within the workspace; parents of the new place are made."""
    with gate.writing():
        await asyncio.to_thread(_rename, ctx, given)
    workspace = workspace_of(ctx)
    ctx.watcher.note(workspace.relative(given.from_))
    ctx.watcher.note(workspace.relative(given.to))
    return Done(ok=True)


async def copy(ctx: DaemonContext, given: MoveInput, _: Request) -> Done:
    """Copy a file, a link or a whole folder; the new place has all of it or nothing."""
    with gate.writing():
        await asyncio.to_thread(_copy, ctx, given)
    ctx.watcher.note(workspace_of(ctx).relative(given.to))
    return Done(ok=True)


def write_file(ctx: DaemonContext, path: str, data: bytes) -> None:
    """Put `data` in place of the file at `path`, whole or not at all; its mode stays."""
    with (
        told(path),
        workspace_of(ctx).parent_of(path, make_parents=True) as (folder, name),
    ):
        replace_file(ctx, folder, name, path, data)


def replace_file(ctx: DaemonContext, folder: int, name: str, given: str, data: bytes) -> None:
    """Put `data` in place of the file `name` of a folder; `given` is how people call it."""
    with fresh_file(ctx, folder, name, given) as fd:
        write_all(fd, data)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte, however few the kernel takes at once."""
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


@contextlib.contextmanager
def _set_aside(ctx: DaemonContext, folder: int) -> Iterator[tuple[int, str]]:
    """A place that is nobody's for an entry on its way; what is left there is deleted."""
    where = _scratch(ctx, folder)
    name = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        try:
            yield where, name
        finally:
            delete_entry(where, name)
    finally:
        if where != folder:
            os.close(where)


def _refuse_roots(ctx: DaemonContext, path: str) -> None:
    relative = workspace_of(ctx).relative(path)
    if relative in {".", "repo", "home"} or relative.rsplit("/", 1)[-1] == ".git":
        raise InvalidInputError(f"Refusing to move or delete {path}")


def _unlink(ctx: DaemonContext, given: UnlinkInput) -> bool:
    _refuse_roots(ctx, given.path)
    try:
        with (
            told(given.path),
            workspace_of(ctx).parent_of(given.path, follow_last=False) as (folder, name),
        ):
            status = exists(folder, name)
            if status is None:
                return False
            if name == ".git":
                raise InvalidInputError(f"Refusing to move or delete {given.path}")
            if is_folder(status) and not given.recursive:
                raise InvalidInputError(
                    f"Is a folder: {given.path}", hint="Set recursive to delete it."
                )
            delete_entry(folder, name)
            return True
    except InvalidInputError as error:
        if error.message.startswith("File not found"):
            return False
        raise


def _mkdir(ctx: DaemonContext, path: str) -> None:
    workspace = workspace_of(ctx)
    if workspace.relative(path) == ".":
        return
    with told(path), workspace.parent_of(path, make_parents=True) as (folder, name):
        try:
            os.mkdir(name, dir_fd=folder)
            give_new(name, folder)
        except FileExistsError:
            if not is_folder(exists(folder, name)):
                raise InvalidInputError(f"A file is in the way: {path}") from None


def _rename(ctx: DaemonContext, given: MoveInput) -> None:
    _refuse_roots(ctx, given.from_)
    _refuse_roots(ctx, given.to)
    workspace = workspace_of(ctx)
    with (
        told(f"{given.from_} to {given.to}"),
        workspace.parent_of(given.from_, follow_last=False) as (source, name),
        workspace.parent_of(given.to, make_parents=True, follow_last=False) as (target, new_name),
        _set_aside(ctx, target) as aside,
    ):
        if exists(source, name) is None:
            raise InvalidInputError(f"File not found: {given.from_}")
        _place(ctx, Entry(source, name), Entry(target, new_name), Entry(*aside), given)


def _copy(ctx: DaemonContext, given: MoveInput) -> None:
    _refuse_roots(ctx, given.to)
    workspace = workspace_of(ctx)
    with (
        told(f"{given.from_} to {given.to}"),
        workspace.parent_of(given.from_, follow_last=False) as (source, name),
        workspace.parent_of(given.to, make_parents=True, follow_last=False) as (target, new_name),
        _set_aside(ctx, target) as made,
        _set_aside(ctx, target) as aside,
    ):
        if exists(source, name) is None:
            raise InvalidInputError(f"File not found: {given.from_}")
        copy_entry(Entry(source, name), Entry(*made))
        give_copy(made[1], made[0], target)
        _place(ctx, Entry(*made), Entry(target, new_name), Entry(*aside), given)


def _place(
    ctx: DaemonContext, source: Entry, target: Entry, aside: Entry, given: MoveInput
) -> None:
    if same_entry(source, target):
        return
    with noted_move(ctx.root.state, source, target, aside):
        placed = place_entry(source, target, aside, overwrite=given.overwrite)
    if not placed:
        raise InvalidInputError(
            f"There is something already: {given.to}", hint="Set overwrite to replace it."
        )


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    post, busy = ("POST",), (409, 507)
    return [
        Route(post, "/write", write, WriteInput, Written, statuses=busy, summary="Write a file"),
        Route(post, "/unlink", unlink, UnlinkInput, Unlinked, statuses=busy, summary="Delete"),
        Route(post, "/mkdir", mkdir, MkdirInput, Done, statuses=busy, summary="Make a folder"),
        Route(post, "/rename", rename, MoveInput, Done, statuses=busy, summary="Move"),
        Route(post, "/copy", copy, MoveInput, Done, statuses=busy, summary="Copy"),
    ]
