"""`/list` and `/glob`: what is in a folder, and files by their path."""

import asyncio
import heapq
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from starlette.requests import Request

from limpet.daemon import names
from limpet.daemon.context import DaemonContext
from limpet.daemon.files import workspace_of
from limpet.daemon.paths import told
from limpet.daemon.patterns import PRUNED, walk_matching
from limpet.daemon.routes import Route
from limpet.errors import InvalidInputError

DEFAULT_LIMIT = 1000
MAX_LIMIT = 100_000

Kind = Literal["file", "folder", "link", "other"]


class ListInput(msgspec.Struct):
    """A folder (default: the repo) and how many of its entries come back at most."""

    path: str = "."
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


class ListedEntry(msgspec.Struct, rename="camel"):
    """One entry. `target` is what a link says, `target_kind` what is there, if anything."""

    name: str
    kind: Kind
    size: int
    mtime_ms: int
    executable: bool
    target: str | msgspec.UnsetType = msgspec.UNSET
    target_kind: Kind | msgspec.UnsetType | None = msgspec.UNSET


class Listed(msgspec.Struct):
    """Entries by their names' bytes; `total` is how many there are."""

    entries: list[ListedEntry]
    total: int
    truncated: bool


class GlobInput(msgspec.Struct):
    """`*`, `?`, `[...]`, `{a,b}` and `**`; `path` is where it starts (the repo)."""

    pattern: str
    path: str | None = None
    limit: int = DEFAULT_LIMIT


class GlobResult(msgspec.Struct):
    """Paths relative to the repo, sorted."""

    files: list[str]


async def list_folder(ctx: DaemonContext, given: ListInput, _: Request) -> Listed:
    """The entries of a folder, sorted."""
    path = workspace_of(ctx).readable(given.path)
    return await asyncio.to_thread(_list, path, given)


async def glob(ctx: DaemonContext, given: GlobInput, _: Request) -> GlobResult:
    """Files whose path matches."""
    workspace = workspace_of(ctx)
    start = workspace.readable(given.path) if given.path else ctx.repo
    limit = max(1, min(given.limit, MAX_LIMIT))
    pattern = names.meant(given.pattern)

    def find() -> list[str]:
        if not os.path.isdir(start):  # noqa: PTH112 - Path.is_dir raises for names too long
            raise InvalidInputError(f"Not a folder: {given.path}")
        asked = f"{given.path or ''}/{pattern}".split("/")
        prune = PRUNED.difference(asked)
        found = walk_matching(start, pattern, prune=prune, limit=limit)
        return [workspace.shown(path) for path in found]

    return GlobResult(files=await asyncio.to_thread(find))


def _list(path: Path, given: ListInput) -> Listed:
    with told(given.path):
        total = 0

        def counted(found: Iterator["os.DirEntry[str]"]) -> Iterator[tuple[bytes, str]]:
            nonlocal total
            for entry in found:
                total += 1
                yield os.fsencode(entry.name), entry.name

        with os.scandir(path) as found:
            first = heapq.nsmallest(given.limit, counted(found))
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            entries = [one for _, name in first if (one := _entry(folder, name)) is not None]
        finally:
            os.close(folder)
    return Listed(entries, total, total > given.limit)


def _entry(folder: int, name: str) -> ListedEntry | None:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:  # it went away meanwhile
        return None
    kind = _kind(status.st_mode)
    entry = ListedEntry(
        name=names.shown(name),
        kind=kind,
        size=status.st_size,
        mtime_ms=status.st_mtime_ns // 1_000_000,
        executable=kind == "file" and bool(status.st_mode & 0o111),
    )
    if kind == "link":
        try:
            entry.target = names.shown(os.readlink(name, dir_fd=folder))
            entry.target_kind = _kind(os.stat(name, dir_fd=folder).st_mode)
        except OSError:  # it leads nowhere
            entry.target_kind = None
    return entry


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    post = ("POST",)
    return [
        Route(post, "/list", list_folder, ListInput, Listed, summary="What is in a folder"),
        Route(post, "/glob", glob, GlobInput, GlobResult, summary="Find files by their path"),
    ]
