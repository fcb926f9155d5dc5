"""Routes that speak to the remote: fetch, pull, push, publish, rebase.

Each takes credentials for its one call. They go to git as git_access.py says, to the one origin
that they are for, and are forgotten when the call ends; without them the clone's are used.
"""

from typing import Final
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request

from limpet.branches import is_synthetic
from limpet.daemon import git
from limpet.daemon.config_model import Credentials
from limpet.daemon.context import DaemonContext
from limpet.daemon.git_access import Access
from limpet.daemon.git_changing import commit, conflicts, message
from limpet.daemon.git_turn import branch_name, changing
from limpet.daemon.git_unfinished import noted
from limpet.daemon.routes import Route, RouteError
from limpet.errors import InvalidInputError

NETWORK_TIMEOUT_S: Final = 120.0
DEEPEN: Final = (50, 500, 5000)
MAX_CREDENTIAL: Final = 16 * 1024


class GivenCredentials(msgspec.Struct):
    """What the git server asks for, for this call alone."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "GivenCredentials(...)"


class FetchRemoteInput(msgspec.Struct):
    """Asks the remote what it has."""

    credentials: GivenCredentials | None = None


class PushInput(msgspec.Struct):
    """Pushes what is committed."""

    credentials: GivenCredentials | None = None


class PublishInput(msgspec.Struct):
    """The commit's message."""

    message: str
    credentials: GivenCredentials | None = None


class RebaseInput(msgspec.Struct):
    """The branch of the remote to rebase onto."""

    base: str
    credentials: GivenCredentials | None = None


class FetchedRemote(msgspec.Struct, rename="camel"):
    """How the branch stands to the remote's, and to its base; null where that is not known."""

    ok: bool
    unpushed: int | None
    unpulled: int | None
    ahead: int | None
    behind: int | None


class Pulled(msgspec.Struct):
    """Whether commits came, and where the branch is now."""

    pulled: bool
    branch: str
    sha: str


class Pushed(msgspec.Struct):
    """What was pushed; `committed` tells whether a commit was made for it."""

    pushed: bool
    branch: str
    sha: str
    committed: bool


class Rebased(msgspec.Struct):
    """Whether anything moved, and where the branch is now."""

    success: bool
    rebased: bool
    sha: str


async def fetch(ctx: DaemonContext, given: FetchRemoteInput, _: Request) -> FetchedRemote:
    """Ask the remote for this branch and its base; files stay as they are."""
    async with changing(ctx, in_the_middle=True):
        settings, repo = ctx.settings, ctx.repo
        await _check_remote(ctx)
        access = await _access(ctx, given.credentials)
        branch = await git.current_branch(settings, repo)
        base = await git.default_branch(settings, repo)
        for name in dict.fromkeys((base, branch)):
            if name is not None and not is_synthetic(name):
                await _fetch_branch(ctx, name, access, missing_is_fine=name == branch)
        meta = await git.branch_meta(settings, repo) or {}
        counts = None
        if branch is not None and await git.has_ref(
            settings, repo, f"refs/remotes/origin/{branch}"
        ):
            counts = await git.ahead_behind(settings, repo, f"refs/remotes/origin/{branch}")
    return msgspec.convert(
        {
            "ok": True,
            "unpushed": counts[0] if counts else meta.get("unpushed"),
            "unpulled": counts[1] if counts else None,
            "ahead": meta.get("aheadOfBase"),
            "behind": meta.get("behindBase"),
        },
        FetchedRemote,
    )


async def _fetch_branch(
    ctx: DaemonContext, name: str, access: Access | None, *, missing_is_fine: bool
) -> bool:
    """Bring a branch of the remote here; whether it has it."""
    done = await git.capture(
        ctx.settings,
        ["fetch", "--no-tags", "origin", f"+refs/heads/{name}:refs/remotes/origin/{name}"],
        cwd=ctx.repo,
        access=access,
        timeout_s=NETWORK_TIMEOUT_S,
    )
    if done.code == 0:
        return True
    if missing_is_fine and "couldn't find remote ref" in done.err:
        return False
    raise RouteError(
        f"'{name}' cannot be fetched: {_without_secrets(done.said, access)}", status=502
    )


async def pull(ctx: DaemonContext, given: FetchRemoteInput, _: Request) -> Pulled:
    """Bring the branch's new commits here, by moving forward only."""
    async with changing(ctx):
        branch = await _branch(ctx)
        settings, repo = ctx.settings, ctx.repo
        access = await _access(ctx, given.credentials)
        if not await _fetch_branch(ctx, branch, access, missing_is_fine=True):
            raise RouteError(f"the remote has no branch '{branch}'", status=404)
        theirs = f"refs/remotes/origin/{branch}"
        before = await _head(ctx)
        args = ["merge", "--ff-only", "--quiet", theirs]
        async with noted(settings, "move", to=theirs, args=args):
            done = await git.capture(settings, args, cwd=repo, env=git.author_environment(ctx))
        if done.code != 0:
            counts = await git.ahead_behind(settings, repo, theirs)
            if counts is None or min(counts) > 0:
                raise RouteError(
                    f"'{branch}' and the remote's have gone apart; nothing was changed",
                    status=409,
                    diverged=True,
                    hint="Rebase onto it.",
                )
            raise RouteError(f"nothing was changed: {done.said}", status=409, diverged=False)
        after = await _head(ctx)
    return Pulled(pulled=before != after, branch=branch, sha=after)


async def push(ctx: DaemonContext, given: PushInput, _: Request) -> Pushed:
    """Push what is committed; never over commits of others, never to a protected branch."""
    async with changing(ctx, in_the_middle=True):
        branch = await _open_branch(ctx)
        await _push(ctx, branch, None, await _access(ctx, given.credentials))
        return Pushed(True, branch, await _head(ctx), committed=False)


async def publish(ctx: DaemonContext, given: PublishInput, _: Request) -> Pushed:
    """Commit everything and push the branch, past local hooks; never over commits of others."""
    said = message(given.message)
    async with changing(ctx):
        branch = await _open_branch(ctx)
        access = await _access(ctx, given.credentials)
        sha = await commit(ctx, said, hooks=False)
        await _push(ctx, branch, sha, access)
        return Pushed(True, branch, await _head(ctx), committed=sha is not None)


async def rebase(ctx: DaemonContext, given: RebaseInput, _: Request) -> Rebased:
    """Fetch `base` and put this branch's commits on top of it; conflicts leave all as it was."""
    base = given.base.strip()
    if not base:
        raise InvalidInputError("base must be a branch of the remote")
    branch_name(base)
    async with changing(ctx):
        settings, repo = ctx.settings, ctx.repo
        dirty = await git.checked(
            settings, ["status", "--porcelain", "--untracked-files=no"], cwd=repo
        )
        if dirty.strip():
            raise RouteError("there are uncommitted changes: commit or discard them", status=409)
        onto = f"refs/remotes/origin/{base}"
        await _fetch_with_common_history(ctx, base, onto, await _access(ctx, given.credentials))
        before = await _head(ctx)
        files: list[str] = []
        async with noted(settings, "rebase", to=onto):
            done = await git.capture(
                settings, ["rebase", "--quiet", onto], cwd=repo, env=git.author_environment(ctx)
            )
            if done.code != 0:
                files = await conflicts(ctx)
                await git.capture(settings, ["rebase", "--abort"], cwd=repo)
        if done.code != 0:
            raise RouteError(
                f"'{base}' conflicts with this branch; nothing was changed",
                status=409,
                conflicts=files,
                output=done.said,
            )
        after = await _head(ctx)
    return Rebased(success=True, rebased=before != after, sha=after)


async def _fetch_with_common_history(
    ctx: DaemonContext, base: str, onto: str, access: Access | None
) -> None:
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
            access=access,
            timeout_s=NETWORK_TIMEOUT_S,
        )
        if done.code != 0:
            said = _without_secrets(done.said, access)
            raise RouteError(f"'{base}' cannot be fetched: {said}", status=409)
        common = await git.capture(settings, ["merge-base", "HEAD", onto], cwd=repo)
        if common.code == 0 or not (repo / ".git" / "shallow").exists():
            return


async def _branch(ctx: DaemonContext) -> str:
    """The branch that is checked out, of a repository with a remote; 409 otherwise."""
    settings, repo = ctx.settings, ctx.repo
    branch = await git.current_branch(settings, repo)
    if branch is None:
        raise RouteError("HEAD is detached: check out a branch first", status=409)
    await _check_remote(ctx)
    return branch


async def _check_remote(ctx: DaemonContext) -> None:
    args = ["config", "--get", "remote.origin.url"]
    if (await git.capture(ctx.settings, args, cwd=ctx.repo)).code != 0:
        raise RouteError("there is no remote", status=409)


async def _open_branch(ctx: DaemonContext) -> str:
    """The branch, if it may be pushed to; 409 `protected` otherwise."""
    branch = await git.current_branch(ctx.settings, ctx.repo)
    if branch is not None and (
        is_synthetic(branch) or branch in await git.protected_branches(ctx.settings, ctx.repo)
    ):
        raise RouteError(
            f"'{branch}' is protected: publish from another branch",
            status=409,
            protected=True,
            branch=branch,
        )
    return await _branch(ctx)


async def _push(ctx: DaemonContext, branch: str, sha: str | None, access: Access | None) -> None:
    if not await git.has_ref(ctx.settings, ctx.repo, "HEAD"):
        raise RouteError("there is no commit yet", status=409)
    ref = f"refs/heads/{branch}"
    done = await git.capture(
        ctx.settings,
        ["push", "--no-verify", "--porcelain", "--set-upstream", "origin", f"{ref}:{ref}"],
        cwd=ctx.repo,
        access=access,
        timeout_s=NETWORK_TIMEOUT_S,
    )
    if done.code == 0:
        return
    said = _without_secrets(f"{done.out}\n{done.err}".strip()[-2000:], access)
    if "[rejected]" in said or "fetch first" in said or "non-fast-forward" in said:
        raise RouteError(
            f"the remote's '{branch}' has commits that are not here; nothing was pushed",
            status=409,
            diverged=True,
            committed=sha,
            hint="Rebase onto it, then publish again.",
        )
    raise RouteError(f"the push failed: {said}", status=502, committed=sha)


async def _access(ctx: DaemonContext, given: GivenCredentials | None) -> Access | None:
    """Who git may say it is, and to whom: the clone's server, or where none is known the remote.

    A process of the sandbox may have turned the remote elsewhere; the clone URL it cannot turn.
    """
    if given is None:
        return git.access_of(ctx)
    both = given.username + given.password
    if any(letter in both for letter in "\r\n\0") or len(both) > MAX_CREDENTIAL:
        raise InvalidInputError("credentials have odd characters in them")
    config = ctx.config.current
    url = config.clone_url if config is not None else None
    if url is None:
        done = await git.capture(
            ctx.settings, ["config", "--get", "remote.origin.url"], cwd=ctx.repo
        )
        url = done.out.strip()
    if urlsplit(url).scheme != "https":
        raise RouteError("credentials are only given to https remotes", status=409)
    parts = urlsplit(url)
    public = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return Access(public, Credentials(given.username, given.password))


def _without_secrets(said: str, access: Access | None) -> str:
    """What git or a server said, should it repeat a password."""
    if access is None or len(access.credentials.password) < 4:
        return said
    return said.replace(access.credentials.password, "***")


async def _head(ctx: DaemonContext) -> str:
    done = await git.capture(ctx.settings, ["rev-parse", "--verify", "-q", "HEAD"], cwd=ctx.repo)
    if done.code != 0:
        raise RouteError("there is no commit yet", status=409)
    return done.out.strip()


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    post = ("POST",)
    return [
        Route(
            post,
            "/git/fetch",
            fetch,
            FetchRemoteInput,
            FetchedRemote,
            statuses=(409, 502, 507),
            summary="Ask the remote how far it is",
        ),
        Route(
            post,
            "/git/pull",
            pull,
            FetchRemoteInput,
            Pulled,
            statuses=(404, 409, 502, 507),
            summary="Bring the branch's new commits here",
        ),
        Route(
            post,
            "/git/push",
            push,
            PushInput,
            Pushed,
            statuses=(409, 502, 507),
            summary="Push what is committed",
        ),
        Route(
            post,
            "/git/publish",
            publish,
            PublishInput,
            Pushed,
            statuses=(409, 502, 507),
            summary="Commit and push the branch",
        ),
        Route(
            post,
            "/git/rebase",
            rebase,
            RebaseInput,
            Rebased,
            statuses=(409, 507),
            summary="Rebase onto a branch of the remote",
        ),
    ]
