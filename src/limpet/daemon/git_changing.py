"""Routes that change the repository here: commit, discard, branches, stashes."""

from typing import Annotated, Final

import msgspec
from starlette.requests import Request

from limpet.daemon import git, names
from limpet.daemon.context import DaemonContext
from limpet.daemon.git_turn import LITERAL, branch_name, changing, from_stdin, inside, ready
from limpet.daemon.git_unfinished import noted
from limpet.daemon.routes import Done, Route, RouteError
from limpet.errors import InvalidInputError

MAX_MESSAGE: Final = 1024 * 1024
_STASH_FIELDS: Final = "%H%x1f%cI%x1f%gs%x1e"


class CommitInput(msgspec.Struct):
    """The commit's message; `filepaths`: only what changed in these."""

    message: str
    filepaths: list[str] | None = None


class CommitMade(msgspec.Struct):
    """The commit, or nothing where nothing had changed."""

    committed: bool
    sha: str | None


class DiscardInput(msgspec.Struct):
    """Files, relative to the repository, whose changes go."""

    filepaths: list[str]


class Discarded(msgspec.Struct):
    """What was put back."""

    success: bool
    discarded: list[str]


class BranchInput(msgspec.Struct):
    """A new branch, from a commit or branch (default: the present commit)."""

    name: str
    from_: str = msgspec.field(name="from", default="HEAD")
    switch: bool = False


class SwitchInput(msgspec.Struct):
    """A branch that is here, or one of the remote."""

    name: str


class OnBranch(msgspec.Struct):
    """The branch that is checked out now, and its commit."""

    ok: bool
    current: str | None
    sha: str | None


class DeleteBranchQuery(msgspec.Struct):
    """Which; `force` also one whose commits nothing else has."""

    name: str
    force: bool = False


class StashInput(msgspec.Struct):
    """What to call it, and whether new files go, too."""

    message: str = ""
    untracked: bool = True


class Stashed(msgspec.Struct):
    """The stash, or nothing where nothing had changed."""

    stashed: bool
    sha: str | None


class StashChoice(msgspec.Struct):
    """Which one, 0 being the newest; with `sha` only if it is still that one."""

    index: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    sha: str | None = None


class Stash(msgspec.Struct):
    """One stash."""

    index: int
    sha: str
    date: str
    message: str


class Stashes(msgspec.Struct):
    """All of them, newest first."""

    stashes: list[Stash]


async def make_commit(ctx: DaemonContext, given: CommitInput, _: Request) -> CommitMade:
    """Commit changes of the working tree; `committed` is false when there were none."""
    said = message(given.message)
    paths = None if given.filepaths is None else inside(ctx, given.filepaths)
    async with changing(ctx):
        sha = await commit(ctx, said, hooks=True, paths=paths)
    return CommitMade(sha is not None, sha)


def message(given: str) -> str:
    """A commit's message, or `InvalidInputError`."""
    if not given.strip() or "\0" in given or len(given) > MAX_MESSAGE:
        raise InvalidInputError("message is empty, too long or holds a NUL byte")
    return given


async def commit(
    ctx: DaemonContext, said: str, *, hooks: bool, paths: list[str] | None = None
) -> str | None:
    """Commit everything, or what changed in `paths` alone; None when there was nothing."""
    settings, repo = ctx.settings, ctx.repo
    if paths is None:
        await git.checked(settings, ["add", "--all", "."], cwd=repo)
    else:
        args, listed = from_stdin(paths)
        await git.checked(settings, ["add", "--all", *args], cwd=repo, stdin=listed, env=LITERAL)
    chosen = ["--", *paths] if paths is not None else []
    staged = await git.capture(
        settings, ["diff", "--cached", "--quiet", *chosen], cwd=repo, env=LITERAL
    )
    if staged.code == 0:
        return None
    only = ["--only", *chosen] if paths is not None else []
    skip = [] if hooks else ["--no-verify"]
    done = await git.capture(
        settings,
        ["commit", "--quiet", *skip, "--file=-", *only],
        cwd=repo,
        env={**git.author_environment(ctx), **LITERAL},
        stdin=said.encode(),
        hooks=hooks,
    )
    if done.code != 0:
        raise RouteError(f"the commit was refused: {done.said}", status=409)
    return (await git.checked(settings, ["rev-parse", "HEAD"], cwd=repo)).strip()


async def discard(ctx: DaemonContext, given: DiscardInput, _: Request) -> Discarded:
    """Put files back as they are in HEAD; files that git does not know are deleted."""
    paths = inside(ctx, given.filepaths)
    async with changing(ctx):
        settings, repo = ctx.settings, ctx.repo
        args, listed = from_stdin(paths)
        if await git.has_ref(settings, repo, "HEAD"):
            await git.checked(
                settings, ["reset", "--quiet", *args], cwd=repo, stdin=listed, env=LITERAL
            )
        else:
            away = ["rm", "--cached", "--quiet", "-r", "--ignore-unmatch", *args]
            await git.checked(settings, away, cwd=repo, stdin=listed, env=LITERAL)
        known = await git.checked(
            settings,
            ["ls-files", "-z", "--", *paths],
            cwd=repo,
            env=LITERAL,
            errors="surrogateescape",
        )
        tracked = [name for name in known.split("\0") if name]
        if tracked:
            args, listed = from_stdin(tracked)
            await git.checked(
                settings, ["checkout", "--quiet", *args], cwd=repo, stdin=listed, env=LITERAL
            )
        await git.checked(
            settings, ["clean", "-f", "-d", "-q", "--", *paths], cwd=repo, env=LITERAL
        )
    for path in paths:
        ctx.watcher.note(f"repo/{path}")
    return Discarded(success=True, discarded=[names.shown(path) for path in paths])


async def create_branch(ctx: DaemonContext, given: BranchInput, _: Request) -> OnBranch:
    """Make a branch; files stay as they are."""
    name = branch_name(given.name)
    async with changing(ctx):
        settings, begin = ctx.settings, given.from_
        if begin.startswith("-") or "\0" in begin or len(begin) > 1000:
            raise InvalidInputError("from is no commit")
        if not await git.has_ref(settings, ctx.repo, begin):
            remote = f"refs/remotes/origin/{begin}"
            if not await git.has_ref(settings, ctx.repo, remote):
                raise InvalidInputError(f"from: {begin[:200]!r} is no commit here")
            begin = remote
        make = (
            ["switch", "--create", name, "--no-track", begin]
            if given.switch
            else ["branch", "--no-track", name, begin]
        )
        if given.switch:
            async with noted(settings, "move", to=begin, args=make):
                await _or_refused(ctx, make)
        else:
            await _or_refused(ctx, make)
        return await _on_branch(ctx)


async def switch(ctx: DaemonContext, given: SwitchInput, _: Request) -> OnBranch:
    """Check a branch out; changed files come along, or it is refused."""
    name = branch_name(given.name)
    async with changing(ctx):
        settings, repo = ctx.settings, ctx.repo
        if await git.has_ref(settings, repo, to := f"refs/heads/{name}"):
            args = ["switch", "--no-guess", name]
        elif await git.has_ref(settings, repo, to := f"refs/remotes/origin/{name}"):
            args = ["switch", "--track", "--create", name, f"origin/{name}"]
        else:
            raise RouteError(f"no branch {name!r} here or known of the remote", status=404)
        async with noted(settings, "move", to=to, args=args):
            await _or_refused(ctx, args)
        return await _on_branch(ctx)


async def delete_branch(ctx: DaemonContext, given: DeleteBranchQuery, _: Request) -> Done:
    """Delete a branch here; never the one that is checked out."""
    name = branch_name(given.name)
    async with changing(ctx):
        if not await git.has_ref(ctx.settings, ctx.repo, f"refs/heads/{name}"):
            raise RouteError(f"no branch {name!r} here", status=404)
        await _or_refused(ctx, ["branch", "-D" if given.force else "-d", "--", name])
    return Done(ok=True)


async def list_stashes(ctx: DaemonContext, _: object, __: Request) -> Stashes:
    """What was put aside."""
    ready(ctx)
    return Stashes(await _stashes(ctx))


async def _stashes(ctx: DaemonContext) -> list[Stash]:
    if not await git.has_ref(ctx.settings, ctx.repo, "refs/stash"):
        return []
    args = ["log", "--walk-reflogs", f"--format={_STASH_FIELDS}", "refs/stash", "--"]
    said = await git.checked(ctx.settings, args, cwd=ctx.repo)
    found: list[Stash] = []
    for record in said.split("\x1e"):
        fields = record.strip("\n").split("\x1f")
        if len(fields) == 3:
            found.append(Stash(len(found), fields[0], fields[1], fields[2]))
    return found


async def stash(ctx: DaemonContext, given: StashInput, _: Request) -> Stashed:
    """Put changes aside: the files are as in HEAD then."""
    if "\0" in given.message or len(given.message) > 1000:
        raise InvalidInputError("message is too long or holds a NUL byte")
    async with changing(ctx):
        settings, repo = ctx.settings, ctx.repo
        if not await git.has_ref(settings, repo, "HEAD"):
            raise RouteError("there is no commit yet", status=409)
        before = await _stashes(ctx)
        args = ["stash", "push", "--quiet"]
        args += ["--include-untracked"] if given.untracked else []
        args += [f"--message={given.message}"] if given.message else []
        async with noted(settings, "stash"):
            await _or_refused(ctx, args)
        after = await _stashes(ctx)
    made = len(after) > len(before)
    return Stashed(made, after[0].sha if made else None)


async def pop_stash(ctx: DaemonContext, given: StashChoice, _: Request) -> Done:
    """Put changes back. Where they conflict the stash stays, and the conflicts are in the files."""
    async with changing(ctx):
        chosen = await _chosen(ctx, given)
        which = f"stash@{{{chosen.index}}}"
        env = git.author_environment(ctx)
        async with noted(ctx.settings, "pop", to=chosen.sha):
            for how in (["--index"], []):
                args = ["stash", "pop", "--quiet", *how, which]
                done = await git.capture(ctx.settings, args, cwd=ctx.repo, env=env)
                if done.code == 0:
                    break
        if done.code != 0:
            raise RouteError(
                f"the stash does not fit: {done.said}",
                status=409,
                conflicts=await conflicts(ctx),
                hint="The stash is still there.",
            )
    return Done(ok=True)


async def drop_stash(ctx: DaemonContext, given: StashChoice, _: Request) -> Done:
    """Forget what was put aside."""
    async with changing(ctx):
        chosen = await _chosen(ctx, given)
        await _or_refused(ctx, ["stash", "drop", "--quiet", f"stash@{{{chosen.index}}}"])
    return Done(ok=True)


async def _chosen(ctx: DaemonContext, given: StashChoice) -> Stash:
    stashes = await _stashes(ctx)
    if given.index >= len(stashes):
        raise RouteError(f"there is no stash {given.index}", status=404)
    chosen = stashes[given.index]
    if given.sha is not None and given.sha != chosen.sha:
        raise RouteError(f"stash {given.index} is another one by now", status=409)
    return chosen


async def conflicts(ctx: DaemonContext) -> list[str]:
    """Files that a merge could not put together."""
    args = ["diff", "--name-only", "-z", "--diff-filter=U"]
    done = await git.capture(ctx.settings, args, cwd=ctx.repo, errors="surrogateescape")
    return [names.shown(name) for name in done.out.split("\0") if name]


async def _or_refused(ctx: DaemonContext, args: list[str]) -> None:
    done = await git.capture(ctx.settings, args, cwd=ctx.repo, env=git.author_environment(ctx))
    if done.code != 0:
        raise RouteError(f"git refused: {done.said}", status=409)


async def _on_branch(ctx: DaemonContext) -> OnBranch:
    done = await git.capture(ctx.settings, ["rev-parse", "--verify", "-q", "HEAD"], cwd=ctx.repo)
    current = await git.current_branch(ctx.settings, ctx.repo)
    return OnBranch(ok=True, current=current, sha=done.out.strip() or None)


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    post = ("POST",)
    busy = (409, 507)
    missing = (404, 409, 507)
    return [
        Route(
            post,
            "/git/commit",
            make_commit,
            CommitInput,
            CommitMade,
            statuses=busy,
            summary="Commit all changes, or those of some files",
        ),
        Route(
            post,
            "/git/discard",
            discard,
            DiscardInput,
            Discarded,
            statuses=busy,
            summary="Discard changes of files",
        ),
        Route(
            post,
            "/git/branches",
            create_branch,
            BranchInput,
            OnBranch,
            statuses=busy,
            summary="Make a branch",
        ),
        Route(
            ("DELETE",),
            "/git/branches",
            delete_branch,
            output=Done,
            query=DeleteBranchQuery,
            statuses=missing,
            summary="Delete a branch here",
        ),
        Route(
            post,
            "/git/switch",
            switch,
            SwitchInput,
            OnBranch,
            statuses=missing,
            summary="Check a branch out",
        ),
        Route(
            ("GET",),
            "/git/stash",
            list_stashes,
            output=Stashes,
            statuses=(409,),
            summary="What was put aside",
        ),
        Route(
            post,
            "/git/stash",
            stash,
            StashInput,
            Stashed,
            statuses=busy,
            summary="Put changes aside",
        ),
        Route(
            post,
            "/git/stash/pop",
            pop_stash,
            StashChoice,
            Done,
            statuses=missing,
            summary="Put changes back",
        ),
        Route(
            post,
            "/git/stash/drop",
            drop_stash,
            StashChoice,
            Done,
            statuses=missing,
            summary="Forget what was put aside",
        ),
    ]
