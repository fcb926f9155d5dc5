"""`/edit`: exact replacements in a file, all of them or none."""

import asyncio
import os
import stat
import threading
from typing import Any

import msgspec
from starlette.requests import Request

from limpet.daemon.context import DaemonContext
from limpet.daemon.edits import EditError, Replacement, apply
from limpet.daemon.files import replace_file, workspace_of
from limpet.daemon.gate import gate
from limpet.daemon.paths import told
from limpet.daemon.routes import Route, RouteError
from limpet.errors import ConflictError, InvalidInputError

MAX_EDITED_BYTES = 64 * 1024 * 1024
MAX_EDITS = 1000
ATTEMPTS = 5
_turn = threading.Lock()


class OneEdit(msgspec.Struct):
    """One replacement: `old_string` must be there once, or `replace_all` be said."""

    old_string: str
    new_string: str
    replace_all: bool = False


class EditInput(msgspec.Struct):
    """One replacement, or several in `edits`: each is looked for in what those before it made."""

    path: str
    old_string: str | None = None
    new_string: str | None = None
    replace_all: bool = False
    edits: list[OneEdit] | None = None


class Edited(msgspec.Struct):
    """How many places were replaced, and the file as it is now."""

    ok: bool
    replacements: int
    content: str


async def edit(ctx: DaemonContext, given: EditInput, _: Request) -> Edited:
    """Replace pieces of a file, by their letters."""
    edits = _edits(given)
    with gate.writing():
        try:
            count, content = await asyncio.to_thread(_edit, ctx, given.path, edits)
        except EditError as error:
            told_more: dict[str, Any] = {"code": error.code, **error.details}
            if error.hint:
                told_more["hint"] = error.hint
            raise RouteError(error.message, **told_more) from error
    ctx.watcher.note(workspace_of(ctx).relative(given.path))
    return Edited(ok=True, replacements=count, content=content)


def _edits(given: EditInput) -> list[Replacement]:
    if given.edits is not None:
        if given.old_string is not None or given.new_string is not None:
            raise InvalidInputError("give either edits, or old_string and new_string")
        if not 1 <= len(given.edits) <= MAX_EDITS:
            raise InvalidInputError(f"edits must hold from 1 to {MAX_EDITS}")
        return [Replacement(e.old_string, e.new_string, e.replace_all) for e in given.edits]
    if given.old_string is None or given.new_string is None:
        raise InvalidInputError("old_string and new_string are needed, or edits")
    return [Replacement(given.old_string, given.new_string, given.replace_all)]


def _edit(ctx: DaemonContext, path: str, edits: list[Replacement]) -> tuple[int, str]:
    """Read, replace, write; anew when somebody else has changed the file meanwhile."""
    with _turn, told(path):
        for _ in range(ATTEMPTS):
            with workspace_of(ctx).parent_of(path) as (folder, name):
                text, before = _contents(folder, name, path)
                text, count = apply(text, edits, path)
                data = text.encode(errors="surrogateescape")
                if _state(os.stat(name, dir_fd=folder, follow_symlinks=False)) == before:
                    replace_file(ctx, folder, name, path, data)
                    return count, data.decode(errors="replace")
    raise ConflictError(f"{path} changes all the time", hint="Try again when it is at rest.")


State = tuple[int, int, int]


def _contents(folder: int, name: str, path: str) -> tuple[str, State]:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        raise InvalidInputError(f"File not found: {path}") from None
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInputError(f"Not a regular file: {path}")
        if status.st_size > MAX_EDITED_BYTES:
            raise InvalidInputError(
                f"{path} is larger than {MAX_EDITED_BYTES} bytes",
                hint="Use a command such as sed.",
            )
        return file.read().decode(errors="surrogateescape"), _state(status)


def _state(status: os.stat_result) -> State:
    return status.st_ino, status.st_size, status.st_mtime_ns


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    return [
        Route(
            ("POST",),
            "/edit",
            edit,
            EditInput,
            Edited,
            statuses=(409, 507),
            summary="Replace pieces of a file",
        )
    ]
