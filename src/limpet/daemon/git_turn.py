"""What every route on the repository has in common: when there is one, whose turn it is, paths."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from limpet.branches import check_branch, is_synthetic
from limpet.daemon import git, names
from limpet.daemon.context import DaemonContext
from limpet.daemon.gate import gate
from limpet.daemon.routes import RouteError
from limpet.errors import InvalidInputError

MAX_PATHS: Final = 10_000
LITERAL: Final = {"GIT_LITERAL_PATHSPECS": "1"}
_lock = asyncio.Lock()


def ready(ctx: DaemonContext) -> None:
    """409 `notReady` before there is a repository."""
    if not git.is_repository(ctx.repo) or ctx.setup.phase == "cloning":
        raise RouteError("there is no repository yet", status=409, notReady=True)


@contextlib.asynccontextmanager
async def changing(ctx: DaemonContext, *, in_the_middle: bool = False) -> AsyncIterator[None]:
    """One change of the repository at a time, none during a restore.

    None either in the middle of a rebase or merge of the user's, unless `in_the_middle` is fine.
    """
    ready(ctx)
    async with _lock:
        with gate.writing():
            middle = None if in_the_middle else git.under_way(ctx.repo)
            if middle is not None:
                raise RouteError(f"the repository is in {middle}: finish it first", status=409)
            try:
                yield
            finally:
                await ctx.setup.refresh_branch()


def inside(ctx: DaemonContext, paths: Sequence[str]) -> list[str]:
    """Paths relative to the repository; `InvalidInputError` where one leads out or into `.git`."""
    if not 0 < len(paths) <= MAX_PATHS:
        raise InvalidInputError(f"filepaths must name from 1 to {MAX_PATHS} files")
    return [_inside(ctx, path) for path in paths]


def _inside(ctx: DaemonContext, path: str) -> str:
    if not path or "\0" in path:
        raise InvalidInputError("filepaths holds an empty or broken path")
    whole = os.path.normpath(ctx.repo / names.meant(path))
    relative = os.path.relpath(whole, ctx.repo)
    parts = Path(relative).parts
    if relative == "." or parts[0] == ".." or ".git" in parts:
        raise InvalidInputError(f"Path escapes the repository: {path[:200]}")
    return relative


def from_stdin(paths: Sequence[str]) -> tuple[list[str], bytes]:
    """Arguments and input that name paths to git by their letters."""
    listed = b"\0".join(os.fsencode(path) for path in paths)
    return ["--pathspec-from-file=-", "--pathspec-file-nul"], listed


def branch_name(name: str) -> str:
    """The name of a git branch, or `InvalidInputError`."""
    if is_synthetic(name):
        raise InvalidInputError(f"{name[:80]!r} is not a branch of git")
    return check_branch(name)
