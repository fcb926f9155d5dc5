"""Routes that look at the repository and change nothing: status, diff, log, branches, commits."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from starlette.requests import Request

from limpet.daemon import git, names
from limpet.daemon.context import DaemonContext
from limpet.daemon.git_turn import LITERAL, inside, ready
from limpet.daemon.routes import Route, RouteError
from limpet.errors import InvalidInputError

MAX_DIFF_CHARACTERS: Final = 2 * 1024 * 1024
MAX_LOG: Final = 500
MAX_PATCH: Final = 64 * 1024 * 1024
"""Of git's output that is kept in memory for a moment; the answer has much less."""
_FIELDS: Final = "%H%x1f%P%x1f%an%x1f%ae%x1f%aI%x1f%D%x1f%s%x1f%b%x1e"


class ChangedFile(msgspec.Struct):
    """One changed file, with git's letters for index and working tree; `from` when renamed."""

    path: str
    index: str
    working_dir: str
    from_: str | msgspec.UnsetType = msgspec.field(name="from", default=msgspec.UNSET)


class GitStatus(msgspec.Struct, rename="camel"):
    """The branch and every changed file; counts are null where the history does not tell."""

    current: str | None
    base: str | None
    head_sha: str | None
    ahead: int | None
    behind: int | None
    unpushed: int | None
    clean: bool
    under_way: str | None
    files: list[ChangedFile]


class DiffQuery(msgspec.Struct):
    """`against` a commit; or of the index (`staged`) or the working tree (`unstaged`) alone."""

    against: str = "HEAD"
    what: Literal["all", "staged", "unstaged"] = "all"
    path: str | None = None


class GitDiff(msgspec.Struct):
    """A patch a file; `files` names all that differ, also those that were too much."""

    diffs: dict[str, str]
    truncated: bool
    files: list[str]


class LogQuery(msgspec.Struct):
    """How many commits, from which on, of which branch or commit, and those of one path."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LOG)] = 50
    skip: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    ref: str = "HEAD"
    path: str | None = None


class Author(msgspec.Struct):
    """Who wrote it."""

    name: str
    email: str


class GitCommit(msgspec.Struct):
    """One commit."""

    sha: str
    parents: list[str]
    author: Author
    date: str
    refs: list[str]
    subject: str
    body: str


class GitLog(msgspec.Struct):
    """Commits, newest first; `more` when there are older ones."""

    commits: list[GitCommit]
    more: bool


class ShowQuery(msgspec.Struct):
    """Which commit."""

    sha: str = "HEAD"


class ShownCommit(GitCommit):
    """A commit with its patch."""

    patch: str
    truncated: bool


class GitBranch(msgspec.Struct):
    """A branch here, or (`remote`) as it was at the remote when that was last asked."""

    name: str
    remote: bool
    sha: str
    date: str


class GitBranches(msgspec.Struct):
    """The branches; `default` is the remote's."""

    current: str | None
    default: str | None
    branches: list[GitBranch]


async def status(ctx: DaemonContext, _: object, __: Request) -> GitStatus:
    """The branch and every changed file, with git's letters for index and working tree."""
    ready(ctx)
    args = ["status", "--porcelain=v1", "--branch", "-z", "--untracked-files=all"]
    fields = await _parts(ctx, args)
    files: list[ChangedFile] = []
    rest = iter(fields[1:])
    for field in rest:
        if len(field) < 4:
            continue
        one = ChangedFile(names.shown(field[3:]), field[0], field[1])
        if field[0] in "RC":
            one.from_ = names.shown(next(rest, ""))
        files.append(one)
    meta: dict[str, Any] = await git.branch_meta(ctx.settings, ctx.repo) or {}
    return GitStatus(
        current=meta.get("branch"),
        base=meta.get("base"),
        head_sha=meta.get("headSha"),
        ahead=meta.get("aheadOfBase"),
        behind=meta.get("behindBase"),
        unpushed=meta.get("unpushed"),
        clean=not files,
        under_way=git.under_way(ctx.repo),
        files=files,
    )


async def diff(ctx: DaemonContext, given: DiffQuery, _: Request) -> GitDiff:
    """What differs, a patch a file; new files included, but among what is staged."""
    ready(ctx)
    settings, repo = ctx.settings, ctx.repo
    args = ["diff", "--no-renames", "--no-color", "--no-ext-diff"]
    paths = [] if given.path is None else inside(ctx, [given.path])
    if given.what == "unstaged":
        against: list[str] = []
    else:
        against = [await _tree(ctx, given.against)]
    if given.what == "staged":
        args.append("--cached")
    async with _scratch_index(ctx) as env:
        if given.what != "staged":
            await git.checked(settings, ["add", "--all", "--intent-to-add", "."], cwd=repo, env=env)
        env |= LITERAL
        tail = [*against, "--", *paths]
        found = [p for p in await _parts(ctx, [*args, "--name-only", "-z", *tail], env) if p]
        patch = await git.checked(settings, [*args, *tail], cwd=repo, env=env, limit=MAX_PATCH)
    parts = ("\n" + patch).split("\ndiff --git ")[1:]
    diffs: dict[str, str] = {}
    size = 0
    for name, part in zip(found, parts, strict=False):
        size += len(part)
        if size > MAX_DIFF_CHARACTERS:
            break
        diffs[names.shown(name)] = f"diff --git {part}\n"
    return GitDiff(diffs, len(diffs) < len(found), [names.shown(name) for name in found])


async def _tree(ctx: DaemonContext, against: str) -> str:
    """What a diff is against: a commit, or the empty tree before the first one."""
    settings, repo = ctx.settings, ctx.repo
    if not await _is_commit(ctx, against):
        if against != "HEAD":
            raise InvalidInputError(f"{against[:200]!r} is no commit here")
        done = await git.checked(settings, ["hash-object", "-t", "tree", os.devnull], cwd=repo)
        return done.strip()
    return against


async def _is_commit(ctx: DaemonContext, ref: str) -> bool:
    return (
        not ref.startswith("-")
        and "\0" not in ref
        and len(ref) <= 1000
        and await git.has_ref(ctx.settings, ctx.repo, ref)
    )


async def log(ctx: DaemonContext, given: LogQuery, _: Request) -> GitLog:
    """Commits, newest first, a page at a time."""
    ready(ctx)
    if not await _is_commit(ctx, given.ref):
        if given.ref != "HEAD":
            raise InvalidInputError(f"{given.ref[:200]!r} is no commit here")
        return GitLog([], more=False)
    paths = [] if given.path is None else inside(ctx, [given.path])
    args = [
        "log", f"--max-count={given.limit + 1}", f"--skip={given.skip}", f"--format={_FIELDS}",
        given.ref, "--", *paths,
    ]  # fmt: skip
    said = await git.checked(ctx.settings, args, cwd=ctx.repo, env=LITERAL)
    commits = [GitCommit(**fields) for fields in _commits(said)]
    return GitLog(commits[: given.limit], more=len(commits) > given.limit)


async def branches(ctx: DaemonContext, _: object, __: Request) -> GitBranches:
    """The branches here and those known of the remote."""
    ready(ctx)
    form = "%(refname)%00%(objectname)%00%(committerdate:iso-strict)"
    args = ["for-each-ref", f"--format={form}", "refs/heads", "refs/remotes/origin"]
    said = await git.checked(ctx.settings, args, cwd=ctx.repo, errors="surrogateescape")
    found = []
    for line in said.split("\n"):
        ref, _, more = line.partition("\0")
        sha, _, date = more.partition("\0")
        remote = ref.startswith("refs/remotes/origin/")
        name = ref.removeprefix("refs/remotes/origin/").removeprefix("refs/heads/")
        if name and not (remote and name == "HEAD"):
            found.append(GitBranch(names.shown(name), remote, sha, date))
    return GitBranches(
        await git.current_branch(ctx.settings, ctx.repo),
        await git.default_branch(ctx.settings, ctx.repo),
        found,
    )


async def show_commit(ctx: DaemonContext, given: ShowQuery, _: Request) -> ShownCommit:
    """One commit with its patch."""
    ready(ctx)
    if not await _is_commit(ctx, given.sha):
        raise RouteError(f"no commit {given.sha[:200]!r}", status=404)
    args = ["show", f"--format={_FIELDS}", "--no-color", "--no-ext-diff", "--patch"]
    commit = f"{given.sha}^{{commit}}"
    said = await git.checked(ctx.settings, [*args, commit, "--"], cwd=ctx.repo, limit=MAX_PATCH)
    head, patch = said.split("\x1e", 1)
    [fields] = _commits(head + "\x1e")
    return ShownCommit(
        **fields,
        patch=patch.lstrip("\n")[:MAX_DIFF_CHARACTERS],
        truncated=len(patch) > MAX_DIFF_CHARACTERS,
    )


async def _parts(
    ctx: DaemonContext, args: list[str], env: dict[str, str] | None = None
) -> list[str]:
    """What git lists with NULs between, as names of the file system."""
    said = await git.checked(ctx.settings, args, cwd=ctx.repo, env=env, errors="surrogateescape")
    return said.split("\0")


@contextlib.asynccontextmanager
async def _scratch_index(ctx: DaemonContext) -> AsyncIterator[dict[str, str]]:
    """A copy of the index to play with, as environment."""
    scratch = ctx.root.scratch
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="index-", dir=scratch) as folder:
        index = Path(folder) / "index"
        found = ctx.repo / ".git" / "index"
        if found.exists():
            await asyncio.to_thread(lambda: index.write_bytes(found.read_bytes()))
        yield {"GIT_INDEX_FILE": str(index)}


def _commits(said: str) -> list[dict[str, Any]]:
    found = []
    for record in said.split("\x1e"):
        fields = record.strip("\n").split("\x1f")
        if len(fields) != 8:
            continue
        sha, parents, name, email, date, refs, subject, body = fields
        found.append(
            {
                "sha": sha,
                "parents": parents.split(),
                "author": Author(name, email),
                "date": date,
                "refs": [ref for ref in refs.split(", ") if ref],
                "subject": subject,
                "body": body.strip(),
            }
        )
    return found


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    get, no_repository = ("GET",), (409,)
    return [
        Route(
            get,
            "/git/status",
            status,
            output=GitStatus,
            statuses=no_repository,
            summary="The branch and changed files",
        ),
        Route(
            get,
            "/git/diff",
            diff,
            output=GitDiff,
            query=DiffQuery,
            statuses=no_repository,
            summary="What differs",
        ),
        Route(
            get,
            "/git/log",
            log,
            output=GitLog,
            query=LogQuery,
            statuses=no_repository,
            summary="Commits, newest first",
        ),
        Route(
            get,
            "/git/branches",
            branches,
            output=GitBranches,
            statuses=no_repository,
            summary="Branches here and of the remote",
        ),
        Route(
            get,
            "/git/commit",
            show_commit,
            output=ShownCommit,
            query=ShowQuery,
            statuses=(404, 409),
            summary="One commit and its patch",
        ),
    ]
