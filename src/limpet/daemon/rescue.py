"""What the daemon does for unsaved work when it is told to end: a ref that git can find it by."""

import asyncio
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from limpet.branches import is_synthetic
from limpet.daemon import git
from limpet.daemon.context import DaemonContext

PUSH_TIMEOUT_S: Final = 8.0
RESCUE_PREFIX: Final = "refs/limpet/rescue/"


async def rescue(ctx: DaemonContext) -> str | None:
    """Put unsaved changes where git can find them: `refs/limpet/rescue/<bootId>`; the commit.

    Index, branch and files stay as they are. Nothing is written when there is nothing to rescue:
    a clean tree, or a workspace whose every byte is in a snapshot. With
    `git.publishOnShutdown` tracked changes are committed and pushed, too.
    """
    repo = ctx.repo
    if not git.is_repository(repo) or shutil.which("git") is None:
        return None
    if not (await ctx.snapshots.origin.now()).unsaved:
        return None
    settings = ctx.settings
    commit = await _rescue_commit(ctx)
    if commit is not None:
        name = re.sub(r"[^A-Za-z0-9_-]", "-", settings.boot_id)[:100] or "boot"
        await git.checked(settings, ["update-ref", RESCUE_PREFIX + name, commit], cwd=repo)
    config = ctx.config.current
    if config is not None and config.git.publish_on_shutdown:
        await _publish_at_the_end(ctx)
    return commit


async def _rescue_commit(ctx: DaemonContext) -> str | None:
    settings, repo = ctx.settings, ctx.repo
    git_dir = Path(
        (await git.checked(settings, ["rev-parse", "--absolute-git-dir"], cwd=repo)).strip()
    )
    has_head = await git.has_ref(settings, repo, "HEAD")
    with tempfile.TemporaryDirectory(prefix="rescue-", dir=_scratch(ctx)) as folder:
        index = Path(folder) / "index"
        if (git_dir / "index").exists():
            await asyncio.to_thread(shutil.copyfile, git_dir / "index", index)
        env = {"GIT_INDEX_FILE": str(index), **git.author_environment(ctx)}
        await git.checked(settings, ["add", "--all", "--ignore-errors", "."], cwd=repo, env=env)
        tree = (await git.checked(settings, ["write-tree"], cwd=repo, env=env)).strip()
        if has_head:
            head = (await git.checked(settings, ["rev-parse", "HEAD^{tree}"], cwd=repo)).strip()
            if head == tree:
                return None
        parents = ["-p", "HEAD"] if has_head else []
        message = f"limpet: unsaved changes of boot {settings.boot_id}"
        args = ["commit-tree", tree, *parents, "-m", message]
        return (await git.checked(settings, args, cwd=repo, env=env)).strip()


def _scratch(ctx: DaemonContext) -> Path:
    scratch = ctx.root.scratch
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    return scratch


async def _publish_at_the_end(ctx: DaemonContext) -> None:
    """Commit tracked changes and push the branch: best effort, bounded, never forced."""
    settings, repo = ctx.settings, ctx.repo
    branch = await git.current_branch(settings, repo)
    if (
        branch is None
        or is_synthetic(branch)
        or branch in await git.protected_branches(settings, repo)
    ):
        return
    env = git.author_environment(ctx)
    await git.capture(
        settings,
        ["commit", "--all", "--no-verify", "-m", "Save work in progress (sandbox shutdown)"],
        cwd=repo,
        env=env,
    )
    await git.capture(
        settings,
        ["push", "--no-verify", "origin", f"refs/heads/{branch}:refs/heads/{branch}"],
        cwd=repo,
        access=git.access_of(ctx),
        timeout_s=PUSH_TIMEOUT_S,
    )
