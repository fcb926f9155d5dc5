"""Our own runs of git: never a prompt, never a helper, credentials by descriptor alone.

`run` is for steps whose output people see, `capture` for what we read ourselves. Both take the
arguments after `git`; nothing passes a shell.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from limpet.daemon.children import TextReader, child_environment, run_child, start_child
from limpet.daemon.git_access import Access, askpass
from limpet.daemon.settings import DaemonSettings
from limpet.errors import ConflictError, LimpetError

if TYPE_CHECKING:
    from limpet.daemon.context import DaemonContext

STALL_S: Final = 10
CAPTURE_TIMEOUT_S: Final = 60.0
UNFINISHED: Final = "limpet-clone"
"""A file in `.git` for as long as a clone of ours is under way: it says which kind it is."""
NO_GIT: Final = "git is not there. Install it (Debian, Ubuntu: apt-get install git) and try again."
_FALLBACK_IDENTITY: Final = ("Limpet", "limpet@localhost")
_ALWAYS: Final = (
    "safe.directory=*",
    "credential.helper=",
    "core.askPass=",
    "core.fsmonitor=false",
    "advice.detachedHead=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "http.lowSpeedLimit=1",
    f"http.lowSpeedTime={STALL_S}",
    "http.followRedirects=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
)
OnOutput = Callable[[str], None]


class GitFailedError(LimpetError):
    """git ended with an error; `output` is what it said."""

    code = "git_failed"
    status = 409

    def __init__(self, message: str, *, exit_status: int = 1, output: str = "") -> None:
        super().__init__(message)
        self.exit_status = exit_status
        self.output = output


@dataclass(frozen=True, slots=True)
class Captured:
    """How a git command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """What to tell people when it failed."""
        return (self.err or self.out).strip()[-2000:]


def environment(settings: DaemonSettings, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What every git of ours runs with."""
    env = child_environment(settings, extra)
    for name in ("SSH_ASKPASS", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_ASKPASS"):
        if extra is None or name not in extra:
            env.pop(name, None)
    return {
        **env,
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "https:file",
        "GIT_EDITOR": "true",
        "GIT_MERGE_AUTOEDIT": "no",
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "",
    }


def command(args: Sequence[str], *, hooks: bool) -> list[str]:
    """The argv of a git command of ours."""
    settings = _ALWAYS if hooks else (*_ALWAYS, f"core.hooksPath={os.devnull}")
    return ["git", *(part for s in settings for part in ("-c", s)), *args]


async def run(
    settings: DaemonSettings,
    args: Sequence[str],
    *,
    cwd: Path,
    on_output: OnOutput,
    access: Access | None = None,
    timeout_s: float | None = None,
    hooks: bool = False,
) -> int:
    """Run git for people to watch; its exit code, never an exception."""
    with askpass(access) as (fds, extra):
        return await run_child(
            command(args, hooks=hooks),
            cwd=cwd,
            env=environment(settings, extra),
            on_output=on_output,
            timeout_s=timeout_s,
            pass_fds=fds,
            drop_to=settings.drop_to,
        )


async def capture(
    settings: DaemonSettings,
    args: Sequence[str],
    *,
    cwd: Path,
    access: Access | None = None,
    timeout_s: float = CAPTURE_TIMEOUT_S,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    hooks: bool = False,
    errors: str = "replace",
    limit: int | None = None,
) -> Captured:
    """Run git and read what it says. Code 127 when it is not there, 137 when time ran out.

    `errors` is what becomes of bytes that are not UTF-8. Of what it puts out, about `limit`
    characters are kept.
    """
    out: list[str] = []
    err: list[str] = []
    size = 0

    def on_output(text: str) -> None:
        nonlocal size
        size += len(text)
        if limit is None or size <= limit:
            out.append(text)

    with askpass(access) as (fds, extra):
        try:
            child = start_child(
                command(args, hooks=hooks),
                cwd=cwd,
                env=environment(settings, {**(env or {}), **extra}),
                stdin=stdin,
                pass_fds=fds,
                drop_to=settings.drop_to,
            )
        except FileNotFoundError:
            return Captured(127, "", NO_GIT if shutil.which("git") is None else f"no folder {cwd}")
        except (OSError, ValueError, ConflictError) as error:
            return Captured(1, "", str(error))
        assert child.stdout is not None
        assert child.stderr is not None
        readers = (
            TextReader(child.stdout, on_output, errors=errors),
            TextReader(child.stderr, err.append),
        )
        try:
            async with asyncio.timeout(timeout_s):
                code = await child.wait()
        except TimeoutError:
            child.signal(9)
            code = await child.wait()
            err.append(f"\ngit timed out after {timeout_s:g} s")
        except asyncio.CancelledError:
            child.signal(9)
            await asyncio.shield(child.wait())
            raise
        finally:
            for reader in readers:
                reader.drain()
            with contextlib.suppress(OSError):
                child.close()
    return Captured(code, "".join(out), "".join(err))


async def checked(
    settings: DaemonSettings,
    args: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    errors: str = "replace",
    limit: int | None = None,
) -> str:
    """What git says on its output; `GitFailedError` with its words when it fails."""
    done = await capture(settings, args, cwd=cwd, env=env, stdin=stdin, errors=errors, limit=limit)
    if done.code != 0:
        raise GitFailedError(
            f"git {args[0]}: {done.said or f'exit {done.code}'}",
            exit_status=done.code,
            output=done.said,
        )
    return done.out


def is_repository(repo: Path) -> bool:
    """Whether there is a `.git` (folder, or file of a worktree) that no clone left half-made."""
    return os.path.lexists(repo / ".git") and not (repo / ".git" / UNFINISHED).exists()


async def current_branch(settings: DaemonSettings, repo: Path) -> str | None:
    """The branch that is checked out, also before its first commit; None for a detached HEAD."""
    done = await capture(settings, ["symbolic-ref", "--quiet", "--short", "HEAD"], cwd=repo)
    return done.out.strip() if done.code == 0 else None


async def has_ref(settings: DaemonSettings, repo: Path, ref: str) -> bool:
    """Whether a full ref (`refs/...`) or `HEAD` names a commit."""
    done = await capture(
        settings, ["rev-parse", "--quiet", "--verify", f"{ref}^{{commit}}"], cwd=repo
    )
    return done.code == 0


async def default_branch(settings: DaemonSettings, repo: Path) -> str | None:
    """The remote's default branch as it was at the clone."""
    done = await capture(
        settings, ["symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"], cwd=repo
    )
    name = done.out.strip().removeprefix("origin/")
    return name if done.code == 0 and name else None


def under_way(repo: Path) -> str | None:
    """What the repository is in the middle of (a rebase, a merge...), if anything."""
    states = {
        "rebase-merge": "a rebase",
        "rebase-apply": "a rebase",
        "MERGE_HEAD": "a merge",
        "CHERRY_PICK_HEAD": "a cherry-pick",
        "REVERT_HEAD": "a revert",
        "BISECT_LOG": "a bisect",
    }
    return next((word for name, word in states.items() if (repo / ".git" / name).exists()), None)


async def branch_meta(
    settings: DaemonSettings, repo: Path, base: str | None = None
) -> dict[str, object] | None:
    """What the `branch` event tells; None where there is no repository.

    `aheadOfBase`, `behindBase` and `unpushed` are None where a shallow history does not tell.
    """
    if not is_repository(repo):
        return None
    status = await capture(
        settings,
        ["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal"],
        cwd=repo,
    )
    if status.code != 0:
        return {"kind": "error", "error": status.said}
    fields = status.out.split("\0")
    heads = dict(line.removeprefix("# ").split(" ", 1) for line in fields if line.startswith("# "))
    oid = heads.get("branch.oid", "")
    head = None if oid in {"", "(initial)"} else oid
    branch = heads.get("branch.head", "")
    branch = "" if branch == "(detached)" else branch
    base = base or await default_branch(settings, repo)
    unpushed = ahead = behind = None
    if head is not None:
        if branch and await has_ref(settings, repo, f"refs/remotes/origin/{branch}"):
            counted = await ahead_behind(settings, repo, f"refs/remotes/origin/{branch}")
            unpushed = counted[0] if counted else None
        if base and await has_ref(settings, repo, f"refs/remotes/origin/{base}"):
            counted = await ahead_behind(settings, repo, f"refs/remotes/origin/{base}")
            ahead, behind = counted or (None, None)
            if unpushed is None and branch != base:
                unpushed = ahead
    return {
        "kind": "ready",
        "branch": branch or None,
        "base": base,
        "workingTreeDirty": any(f and not f.startswith("# ") for f in fields),
        "unpushed": unpushed,
        "aheadOfBase": ahead,
        "behindBase": behind,
        "headSha": head,
    }


async def ahead_behind(settings: DaemonSettings, repo: Path, ref: str) -> tuple[int, int] | None:
    """Commits of HEAD that `ref` has not, and the other way; None without a common one."""
    merge_base = await capture(settings, ["merge-base", "HEAD", ref], cwd=repo)
    if merge_base.code != 0:
        return None
    done = await capture(
        settings, ["rev-list", "--left-right", "--count", f"HEAD...{ref}"], cwd=repo
    )
    numbers = done.out.split()
    return (int(numbers[0]), int(numbers[1])) if done.code == 0 and len(numbers) == 2 else None


def author_environment(ctx: "DaemonContext") -> dict[str, str]:
    """Who commits, as environment: the configured identity, or ours."""
    config = ctx.config.current
    identity = config.git.identity if config is not None else None
    name = (identity.user_name if identity else None) or _FALLBACK_IDENTITY[0]
    email = (identity.user_email if identity else None) or _FALLBACK_IDENTITY[1]
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
    }


async def protected_branches(settings: DaemonSettings, repo: Path) -> frozenset[str]:
    """The branches that nothing here pushes to."""
    default = await default_branch(settings, repo)
    return frozenset({"main", "master"} | ({default} if default else set()))


def access_of(ctx: "DaemonContext") -> Access | None:
    """The clone's credentials with the origin they are for, if there are any."""
    config, credentials = ctx.config.current, ctx.config.credentials
    if config is None or config.clone_url is None or credentials is None:
        return None
    return Access(config.clone_url, credentials)
