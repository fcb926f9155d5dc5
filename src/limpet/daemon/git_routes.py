"""Routes on the repository: look, commit, discard, publish, rebase. 409 before there is one."""

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.requests import Request

from limpet.branches import check_branch, is_synthetic
from limpet.daemon import git
from limpet.daemon.context import DaemonContext
from limpet.daemon.gate import gate
from limpet.daemon.routes import Route, RouteError
from limpet.errors import InvalidInputError

MAX_DIFF_CHARACTERS: Final = 2 * 1024 * 1024
MAX_LOG: Final = 500
MAX_PATHS: Final = 10_000
NETWORK_TIMEOUT_S: Final = 120.0
DEEPEN: Final = (50, 500, 5000)
_LITERAL: Final = {"GIT_LITERAL_PATHSPECS": "1"}
_FIELDS: Final = "%H%x1f%P%x1f%an%x1f%ae%x1f%aI%x1f%D%x1f%s%x1f%b%x1e"
_lock = asyncio.Lock()


class CommitInput(msgspec.Struct):
    """The commit's message."""

    message: str


class DiscardInput(msgspec.Struct):
    """Files, relative to the repository, whose changes go."""

    filepaths: list[str]


class RebaseInput(msgspec.Struct):
    """The branch of the remote to rebase onto."""

    base: str


async def status(ctx: DaemonContext, _: object, __: Request) -> dict[str, Any]:
    """The branch and every changed file, with git's letters for index and working tree."""
    _ready(ctx)
    args = ["status", "--porcelain=v1", "--branch", "-z", "--untracked-files=all"]
    fields = (await git.checked(ctx.settings, args, cwd=ctx.repo)).split("\0")
    files: list[dict[str, Any]] = []
    rest = iter(fields[1:])
    for field in rest:
        if len(field) < 4:
            continue
        index, tree, path = field[0], field[1], field[3:]
        one: dict[str, Any] = {"path": path, "index": index, "working_dir": tree}
        if index in "RC":
            one["from"] = next(rest, "")
        files.append(one)
    meta = await git.branch_meta(ctx.settings, ctx.repo) or {}
    return {
        "current": meta.get("branch"),
        "base": meta.get("base"),
        "headSha": meta.get("headSha"),
        "ahead": meta.get("aheadOfBase"),
        "behind": meta.get("behindBase"),
        "unpushed": meta.get("unpushed"),
        "clean": not files,
        "underWay": git.under_way(ctx.repo),
        "files": files,
    }


async def diff(ctx: DaemonContext, _: object, request: Request) -> dict[str, Any]:
    """What differs from `?against=` (default `HEAD`), a patch a file; new files included."""
    _ready(ctx)
    against = request.query_params.get("against", "HEAD")
    if against.startswith("-"):
        raise InvalidInputError(f"{against!r} is no commit")
    settings, repo = ctx.settings, ctx.repo
    if not await git.has_ref(settings, repo, against):
        if against != "HEAD":
            raise InvalidInputError(f"{against!r} is no commit here")
        done = await git.checked(settings, ["hash-object", "-t", "tree", os.devnull], cwd=repo)
        against = done.strip()
    async with _scratch_index(ctx) as env:
        await git.checked(settings, ["add", "--all", "--intent-to-add", "."], cwd=repo, env=env)
        args = ["diff", "--no-renames", "--no-color", "--no-ext-diff", against]
        names = await git.checked(settings, [*args, "--name-only", "-z", "--"], cwd=repo, env=env)
        patch = await git.checked(settings, [*args, "--"], cwd=repo, env=env)
    found = [name for name in names.split("\0") if name]
    parts = ("\n" + patch).split("\ndiff --git ")[1:]
    diffs: dict[str, str] = {}
    size = 0
    for name, part in zip(found, parts, strict=False):
        size += len(part)
        if size > MAX_DIFF_CHARACTERS:
            break
        diffs[name] = f"diff --git {part}\n"
    return {"diffs": diffs, "truncated": len(diffs) < len(found), "files": found}


async def log(ctx: DaemonContext, _: object, request: Request) -> dict[str, Any]:
    """The last commits of the branch (`?limit=`, at most 500)."""
    _ready(ctx)
    given = request.query_params.get("limit", "50")
    if not given.isascii() or not given.isdigit() or not 0 < int(given[:6]) <= MAX_LOG:
        raise InvalidInputError(f"limit must be from 1 to {MAX_LOG}")
    if not await git.has_ref(ctx.settings, ctx.repo, "HEAD"):
        return {"commits": []}
    args = ["log", f"--max-count={given}", f"--format={_FIELDS}", "HEAD", "--"]
    said = await git.checked(ctx.settings, args, cwd=ctx.repo)
    return {"commits": _commits(said)}


async def branches(ctx: DaemonContext, _: object, __: Request) -> dict[str, Any]:
    """The branches here and those known of the remote."""
    _ready(ctx)
    form = "%(refname)%00%(objectname)%00%(committerdate:iso-strict)"
    args = ["for-each-ref", f"--format={form}", "refs/heads", "refs/remotes/origin"]
    said = await git.checked(ctx.settings, args, cwd=ctx.repo)
    found = []
    for line in said.splitlines():
        ref, sha, date = line.split("\0")
        remote = ref.startswith("refs/remotes/origin/")
        name = ref.removeprefix("refs/remotes/origin/").removeprefix("refs/heads/")
        if not (remote and name == "HEAD"):
            found.append({"name": name, "remote": remote, "sha": sha, "date": date})
    return {
        "current": await git.current_branch(ctx.settings, ctx.repo),
        "default": await git.default_branch(ctx.settings, ctx.repo),
        "branches": found,
    }


async def show_commit(ctx: DaemonContext, _: object, request: Request) -> dict[str, Any]:
    """One commit (`?sha=`, default the present one) with its patch."""
    _ready(ctx)
    sha = request.query_params.get("sha", "HEAD")
    if sha.startswith("-") or not await git.has_ref(ctx.settings, ctx.repo, sha):
        raise RouteError(f"no commit {sha!r}", status=404)
    args = ["show", f"--format={_FIELDS}", "--no-color", "--no-ext-diff", "--patch", sha, "--"]
    said = await git.checked(ctx.settings, args, cwd=ctx.repo)
    head, _, patch = said.partition("\x1e")
    [commit] = _commits(head + "\x1e")
    return {
        **commit,
        "patch": patch.lstrip("\n")[:MAX_DIFF_CHARACTERS],
        "truncated": len(patch) > MAX_DIFF_CHARACTERS,
    }


async def make_commit(ctx: DaemonContext, given: CommitInput, _: Request) -> dict[str, Any]:
    """Commit all changes of the working tree; `committed` is false when there were none."""
    async with _changing(ctx):
        sha = await _commit_all(ctx, _message(given), hooks=True)
    return {"committed": sha is not None, "sha": sha}


async def discard(ctx: DaemonContext, given: DiscardInput, _: Request) -> dict[str, Any]:
    """Put files back as they are in HEAD; files that git does not know are deleted."""
    paths = [_inside(ctx, path) for path in given.filepaths]
    if not 0 < len(paths) <= MAX_PATHS:
        raise InvalidInputError("filepaths must name at least one file")
    async with _changing(ctx):
        settings, repo = ctx.settings, ctx.repo
        listed = "\0".join(paths).encode()
        from_stdin = ["--pathspec-from-file=-", "--pathspec-file-nul"]
        if await git.has_ref(settings, repo, "HEAD"):
            args = ["reset", "--quiet", *from_stdin]
            await git.checked(settings, args, cwd=repo, stdin=listed, env=_LITERAL)
        else:
            args = ["rm", "--cached", "--quiet", "-r", "--ignore-unmatch", *from_stdin]
            await git.checked(settings, args, cwd=repo, stdin=listed, env=_LITERAL)
        known = await git.checked(
            settings, ["ls-files", "-z", "--", *paths], cwd=repo, env=_LITERAL
        )
        tracked = [name for name in known.split("\0") if name]
        if tracked:
            listed = "\0".join(tracked).encode()
            args = ["checkout", "--quiet", *from_stdin]
            await git.checked(settings, args, cwd=repo, stdin=listed, env=_LITERAL)
        args = ["clean", "-f", "-d", "-q", "--", *paths]
        await git.checked(settings, args, cwd=repo, env=_LITERAL)
    for path in paths:
        ctx.watcher.note(f"repo/{path}")
    return {"success": True, "discarded": paths}


async def publish(ctx: DaemonContext, given: CommitInput, _: Request) -> dict[str, Any]:
    """Commit everything and push the branch, past local hooks; never over commits of others."""
    message = _message(given)
    async with _changing(ctx):
        settings, repo = ctx.settings, ctx.repo
        branch = await git.current_branch(settings, repo)
        if branch is None:
            raise RouteError("HEAD is detached: check out a branch first", status=409)
        if is_synthetic(branch) or branch in await git.protected_branches(settings, repo):
            raise RouteError(
                f"'{branch}' is protected: publish from another branch",
                status=409,
                protected=True,
                branch=branch,
            )
        remotes = await git.capture(settings, ["config", "--get", "remote.origin.url"], cwd=repo)
        if remotes.code != 0:
            raise RouteError("there is no remote to push to", status=409)
        sha = await _commit_all(ctx, message, hooks=False)
        ref = f"refs/heads/{branch}"
        done = await git.capture(
            settings,
            ["push", "--no-verify", "--porcelain", "--set-upstream", "origin", f"{ref}:{ref}"],
            cwd=repo,
            access=git.access_of(ctx),
            timeout_s=NETWORK_TIMEOUT_S,
        )
        if done.code != 0:
            raise _push_failed(done, branch, sha)
        head = (await git.checked(settings, ["rev-parse", "HEAD"], cwd=repo)).strip()
    return {"pushed": True, "branch": branch, "sha": head, "committed": sha is not None}


async def rebase(ctx: DaemonContext, given: RebaseInput, _: Request) -> dict[str, Any]:
    """Fetch `base` and put this branch's commits on top of it; conflicts leave all as it was."""
    base = given.base.strip()
    if not base or is_synthetic(base):
        raise InvalidInputError("base must be a branch of the remote")
    check_branch(base)
    async with _changing(ctx):
        settings, repo = ctx.settings, ctx.repo
        dirty = await git.checked(
            settings, ["status", "--porcelain", "--untracked-files=no"], cwd=repo
        )
        if dirty.strip():
            raise RouteError("there are uncommitted changes: commit or discard them", status=409)
        onto = f"refs/remotes/origin/{base}"
        await _fetch_with_common_history(ctx, base, onto)
        before = (await git.checked(settings, ["rev-parse", "HEAD"], cwd=repo)).strip()
        done = await git.capture(
            settings, ["rebase", "--quiet", onto], cwd=repo, env=git.author_environment(ctx)
        )
        if done.code != 0:
            args = ["diff", "--name-only", "-z", "--diff-filter=U"]
            names = (await git.capture(settings, args, cwd=repo)).out
            await git.capture(settings, ["rebase", "--abort"], cwd=repo)
            raise RouteError(
                f"'{base}' conflicts with this branch; nothing was changed",
                status=409,
                conflicts=[name for name in names.split("\0") if name],
                output=done.said,
            )
        after = (await git.checked(settings, ["rev-parse", "HEAD"], cwd=repo)).strip()
    return {"success": True, "rebased": before != after, "sha": after}


async def _fetch_with_common_history(ctx: DaemonContext, base: str, onto: str) -> None:
    """Fetch `base`, deeper and deeper until it and HEAD have a commit in common."""
    settings, repo = ctx.settings, ctx.repo
    branch = await git.current_branch(settings, repo)
    specs = [f"+refs/heads/{base}:{onto}"]
    own = f"refs/remotes/origin/{branch}"
    if branch and branch != base and await git.has_ref(settings, repo, own):
        specs.append(f"+refs/heads/{branch}:{own}")
    shallow = (repo / ".git" / "shallow").exists()
    steps = [[], *([f"--deepen={n}"] for n in DEEPEN), ["--unshallow"]] if shallow else [[]]
    for options in steps:
        done = await git.capture(
            settings,
            ["fetch", "--no-tags", *options, "origin", *specs],
            cwd=repo,
            access=git.access_of(ctx),
            timeout_s=NETWORK_TIMEOUT_S,
        )
        if done.code != 0:
            raise RouteError(f"'{base}' cannot be fetched: {done.said}", status=409)
        common = await git.capture(settings, ["merge-base", "HEAD", onto], cwd=repo)
        if common.code == 0 or not (repo / ".git" / "shallow").exists():
            return


async def _commit_all(ctx: DaemonContext, message: str, *, hooks: bool) -> str | None:
    settings, repo = ctx.settings, ctx.repo
    await git.checked(settings, ["add", "--all", "."], cwd=repo)
    staged = await git.capture(settings, ["diff", "--cached", "--quiet"], cwd=repo)
    if staged.code == 0:
        return None
    skip = [] if hooks else ["--no-verify"]
    done = await git.capture(
        settings,
        ["commit", "--quiet", *skip, "--file=-"],
        cwd=repo,
        env=git.author_environment(ctx),
        stdin=message.encode(),
        hooks=hooks,
    )
    if done.code != 0:
        raise RouteError(f"the commit was refused: {done.said}", status=409)
    return (await git.checked(settings, ["rev-parse", "HEAD"], cwd=repo)).strip()


def _push_failed(done: git.Captured, branch: str, sha: str | None) -> RouteError:
    said = f"{done.out}\n{done.err}".strip()[-2000:]
    if "[rejected]" in said or "fetch first" in said or "non-fast-forward" in said:
        return RouteError(
            f"the remote's '{branch}' has commits that are not here; nothing was pushed",
            status=409,
            diverged=True,
            committed=sha,
            hint="Rebase onto it, then publish again.",
        )
    return RouteError(f"the push failed: {said}", status=502, committed=sha)


@contextlib.asynccontextmanager
async def _changing(ctx: DaemonContext) -> Any:
    """One change of the repository at a time, none during a restore or a rebase of the user's."""
    _ready(ctx)
    async with _lock:
        with gate.writing():
            middle = git.under_way(ctx.repo)
            if middle is not None:
                raise RouteError(f"the repository is in {middle}: finish it first", status=409)
            try:
                yield
            finally:
                await ctx.setup.refresh_branch()


@contextlib.asynccontextmanager
async def _scratch_index(ctx: DaemonContext) -> Any:
    """A copy of the index to play with, as environment."""
    scratch = ctx.root.scratch
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="index-", dir=scratch) as folder:
        index = Path(folder) / "index"
        found = ctx.repo / ".git" / "index"
        if found.exists():
            await asyncio.to_thread(lambda: index.write_bytes(found.read_bytes()))
        yield {"GIT_INDEX_FILE": str(index)}


def _ready(ctx: DaemonContext) -> None:
    if not git.is_repository(ctx.repo) or ctx.setup.phase == "cloning":
        raise RouteError("there is no repository yet", status=409, notReady=True)


def _message(given: CommitInput) -> str:
    if not given.message.strip():
        raise InvalidInputError("message is empty")
    return given.message


def _inside(ctx: DaemonContext, path: str) -> str:
    """`path` relative to the repository; `InvalidInputError` when it leads out or into `.git`."""
    if not path or "\0" in path:
        raise InvalidInputError("filepaths holds an empty or broken path")
    whole = os.path.normpath(ctx.repo / path)
    inside = os.path.relpath(whole, ctx.repo)
    parts = Path(inside).parts
    if inside == "." or parts[0] == ".." or parts[0] == ".git":
        raise InvalidInputError(f"Path escapes the repository: {path}")
    return inside


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
                "author": {"name": name, "email": email},
                "date": date,
                "refs": [ref for ref in refs.split(", ") if ref],
                "subject": subject,
                "body": body.strip(),
            }
        )
    return found


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    get, post = ("GET",), ("POST",)
    return [
        Route(get, "/git/status", status, summary="The branch and changed files"),
        Route(get, "/git/diff", diff, summary="What differs from a commit"),
        Route(get, "/git/log", log, summary="The last commits"),
        Route(get, "/git/branches", branches, summary="Branches here and of the remote"),
        Route(get, "/git/commit", show_commit, summary="One commit and its patch"),
        Route(post, "/git/commit", make_commit, CommitInput, summary="Commit all changes"),
        Route(post, "/git/discard", discard, DiscardInput, summary="Discard changes of files"),
        Route(post, "/git/publish", publish, CommitInput, summary="Commit and push the branch"),
        Route(post, "/git/rebase", rebase, RebaseInput, summary="Rebase onto a remote branch"),
    ]
