"""Getting the repository: probe, fetch at depth 1, check out; and branches of one that is there.

One way for a fresh folder, a folder with files and a clone that was cut off: `.git` is made with a
mark in it that says what was begun, and the mark goes when everything is there. The remote's URL is
written down without credentials.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from limpet.branches import is_synthetic
from limpet.daemon import git
from limpet.daemon.git_access import Access
from limpet.daemon.git_unfinished import noted
from limpet.daemon.ownership import give_path
from limpet.daemon.settings import DaemonSettings
from limpet.daemon.setup.redirects import moved_to
from limpet.daemon.setup.steps import StepFailedError, Tail

RETRIES: Final = 3
RETRY_PAUSE_S: Final = 3.0
PROBE_TIMEOUT_S: Final = 20.0
TRANSIENT: Final = (
    "could not resolve host", "couldn't resolve host", "early eof", "unexpected disconnect",
    "connection reset", "timed out", "operation too slow", "too slow", "transfer closed",
    "rpc failed", "remote hung up", "remote end hung up", "posix_spawnp failed",
    "posix_spawn failed", "resource temporarily unavailable", "empty reply from server",
    "connection was non-properly terminated", "unexpected eof while reading",
)  # fmt: skip
_REFUSED: Final = (
    "could not read username", "could not read password", "authentication failed",
    "terminal prompts disabled", "invalid username or",
)  # fmt: skip
_REDIRECTED: Final = re.compile(r"returned error: 30[12378]")
EXCLUDED: Final = ("node_modules/", ".venv/", ".limpet-install.json")
_HOOK_MARK: Final = "# Made by Limpet"

Say = Callable[[str], None]
Begun = Literal["fresh", "in place"]


@dataclass(frozen=True, slots=True)
class Remote:
    """What the remote says of itself. `default` is None where it is empty."""

    default: str | None
    has_branch: bool


class Clone:
    """One repository's way into the workspace. `say` is the setup log."""

    def __init__(
        self,
        settings: DaemonSettings,
        url: str,
        branch: str | None,
        access: Access | None,
        say: Say,
        *,
        depth: int = 1,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._repo = settings.repo
        self._url = url
        self._branch = None if branch is None or is_synthetic(branch) else branch
        self._access = access
        self._say = say
        self._pause = pause
        self._depth = depth
        self._has_moved = False

    async def clone(self) -> None:
        """Fetch the repository and check out the branch; `StepFailedError` says why not."""
        if shutil.which("git", path=git.environment(self._settings)["PATH"]) is None:
            raise StepFailedError("clone-failed", git.NO_GIT)
        begun = await asyncio.to_thread(begin, self._repo, self._settings.drop_to)
        remote = await self._probe(self._branch)
        await self._git(["init", "--quiet", "."])
        await self._git(["config", "remote.origin.url", self._url])
        await self._git(["config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"])
        if remote.default is None and not remote.has_branch:
            name = self._branch or "main"
            self._say(f"The repository is empty; '{name}' begins here.\n")
            await self._git(["symbolic-ref", "HEAD", f"refs/heads/{name}"])
        else:
            await self._fetch_and_check_out(remote, begun)
        await asyncio.to_thread(_mark(self._repo).unlink, missing_ok=True)

    async def check_out(self, branch: str) -> None:
        """Make `branch` the current one of a repository that is there; its commits are kept.

        A branch that neither we nor the remote have is begun at the present commit.
        """
        self._branch = branch
        if await git.current_branch(self._settings, self._repo) == branch:
            return
        middle = await asyncio.to_thread(git.under_way, self._repo)
        if middle is not None:
            self._say(f"'{branch}' is not checked out: the repository is in {middle}.\n")
            return
        if not await git.has_ref(self._settings, self._repo, "HEAD"):
            await self._git(["symbolic-ref", "HEAD", f"refs/heads/{branch}"])
            return
        self._say(f"Checking out '{branch}'\n")
        if await git.has_ref(self._settings, self._repo, f"refs/heads/{branch}"):
            await self._move(["checkout", "--quiet", branch, "--"], f"refs/heads/{branch}")
            return
        remote = await self._probe(branch)
        if not remote.has_branch:
            await self._git(["checkout", "--quiet", "--no-track", "-b", branch])
            return
        await self._fetch([branch])
        theirs = f"refs/remotes/origin/{branch}"
        await self._move(["checkout", "--quiet", "-b", branch, theirs], theirs)
        await self._track(branch)

    async def _move(self, args: list[str], to: str) -> None:
        async with noted(self._settings, "move", to=to, args=args):
            await self._git(args)

    async def deepen(self) -> None:
        """Get the whole history, every branch and tag, of a repository that has less of it."""
        if await asyncio.to_thread((self._repo / ".git" / "shallow").exists):
            self._say("The repository is shallow, and all of it is asked for.\n")
            await self._fetch([])

    async def _fetch_and_check_out(self, remote: Remote, begun: Begun) -> None:
        wanted = self._branch if remote.has_branch else None
        names = [name for name in dict.fromkeys((wanted, remote.default)) if name is not None]
        await self._fetch(names)
        if remote.default is not None:
            await self._git(["remote", "set-head", "origin", remote.default])
        start = names[0]
        branch = self._branch or start
        if branch != start:
            self._say(f"The remote has no '{branch}'; it begins at '{start}'.\n")
        ref = f"refs/remotes/origin/{start}"
        if begun == "fresh":
            await self._git(["checkout", "--quiet", "--force", "--no-track", "-B", branch, ref])
        else:
            self._say("The folder has files already; they stay as they are.\n")
            await self._git(["update-ref", f"refs/heads/{branch}", ref])
            await self._git(["symbolic-ref", "HEAD", f"refs/heads/{branch}"])
            await self._git(["read-tree", "--reset", "HEAD"])
            await self._fill_in()
        if branch == start:
            await self._track(branch)

    async def _fill_in(self) -> None:
        """Write the files that are missing and touch none that is there."""
        done = await git.capture(
            self._settings, ["checkout-index", "--all", "--quiet"], cwd=self._repo
        )
        if done.code not in {0, 1}:  # 1: some were there
            raise StepFailedError("clone-failed", done.said)
        await git.capture(self._settings, ["update-index", "--refresh", "-q"], cwd=self._repo)

    async def _track(self, branch: str) -> None:
        await self._git(["config", f"branch.{branch}.remote", "origin"])
        await self._git(["config", f"branch.{branch}.merge", f"refs/heads/{branch}"])

    async def _fetch(self, branches: list[str]) -> None:
        specs = [f"+refs/heads/{name}:refs/remotes/origin/{name}" for name in branches]
        how = [f"--depth={self._depth}", "--no-tags"]
        if self._depth == 0:
            specs = ["+refs/heads/*:refs/remotes/origin/*"]
            shallow = await asyncio.to_thread((self._repo / ".git" / "shallow").exists)
            how = ["--tags", *(["--unshallow"] if shallow else [])]
        args = ["fetch", *how, "--progress", "--update-head-ok", "origin"]
        await self._over_the_network([*args, *specs], self._url)

    async def _probe(self, branch: str | None) -> Remote:
        """Ask the remote for its default branch and whether it has `branch`."""
        args = ["ls-remote", "--exit-code", "--symref", "--", self._url, "HEAD"]
        if branch is not None:
            args.append(f"refs/heads/{branch}")
        for attempt in range(RETRIES + 1):
            done = await git.capture(
                self._settings,
                args,
                cwd=self._settings.app_root,
                access=self._access,
                timeout_s=PROBE_TIMEOUT_S,
            )
            if done.code == 0:
                return _read_probe(done.out, branch)
            if done.code == 2 and not done.err.strip():
                return Remote(default=None, has_branch=False)
            if await self._follow(done.err):
                return await self._probe(branch)
            if not await self._again(attempt, done.err):
                raise self._failed(done.said, done.code)
        raise AssertionError("unreachable")

    async def _follow(self, output: str) -> bool:
        """Go on where the repository has moved to, if that is on the same host; once."""
        if self._has_moved or not _REDIRECTED.search(output):
            return False
        self._has_moved = True
        environ = git.environment(self._settings)
        url = await moved_to(self._url, self._access, environ)
        if url is None:
            self._say("It redirects to another host, which is not followed.\n")
            return False
        self._say(f"The repository has moved to {url}\n")
        self._url = url
        return True

    async def _over_the_network(self, args: list[str], shown: str) -> None:
        for attempt in range(RETRIES + 1):
            tail = Tail()

            def heard(text: str, tail: Tail = tail) -> None:
                tail.add(text)
                self._say(with_line_ends(text))

            self._say(f"$ git {args[0]} {shown}\n")
            code = await git.run(
                self._settings, args, cwd=self._repo, on_output=heard, access=self._access
            )
            if code == 0:
                return
            if not await self._again(attempt, tail.text()):
                raise self._failed(tail.text(), code)

    async def _again(self, attempt: int, output: str) -> bool:
        if attempt >= RETRIES or not is_transient(output):
            return False
        self._say(
            f"{output.strip()}\n"
            f"That may pass: trying again in {RETRY_PAUSE_S:g} s ({attempt + 1}/{RETRIES})\n"
        )
        await self._pause(RETRY_PAUSE_S)
        return True

    def _failed(self, output: str, code: int) -> StepFailedError:
        output = output.strip() or f"git ended with code {code}"
        if any(marker in output.lower() for marker in _REFUSED):
            who = "the credentials were refused" if self._access else "it asks for credentials"
            output = f"{self._url}: {who}.\n{output}"
        return StepFailedError("clone-failed", output)

    async def _git(self, args: list[str]) -> None:
        done = await git.capture(self._settings, args, cwd=self._repo)
        if done.code != 0:
            raise StepFailedError("clone-failed", done.said or f"git {args[0]}: exit {done.code}")


async def begin_branch(settings: DaemonSettings, branch: str, say: Say) -> None:
    """Begin `branch` at the present commit and stand on it: index and files stay as they are.

    Nothing happens where the repository has the branch already, or is in the middle of something.
    """
    repo = settings.repo
    if await git.has_ref(settings, repo, f"refs/heads/{branch}"):
        return
    middle = await asyncio.to_thread(git.under_way, repo)
    if middle is not None:
        say(f"'{branch}' does not begin here: the repository is in {middle}.\n")
        return
    steps = [["symbolic-ref", "HEAD", f"refs/heads/{branch}"]]
    if await git.has_ref(settings, repo, "HEAD"):
        steps.insert(0, ["branch", "--no-track", branch])
    say(f"'{branch}' begins here.\n")
    for step in steps:
        done = await git.capture(settings, step, cwd=repo)
        if done.code != 0:
            raise StepFailedError("clone-failed", done.said or f"git {step[0]}: exit {done.code}")


async def set_identity(settings: DaemonSettings, name: str | None, email: str | None) -> None:
    """Write down who commits, where that is configured and differs."""
    for key, value in (("user.name", name), ("user.email", email)):
        if value is None:
            continue
        now = await git.capture(settings, ["config", "--local", "--get", key], cwd=settings.repo)
        if now.out.rstrip("\n") != value:
            await git.capture(settings, ["config", "--local", key, value], cwd=settings.repo)


def guard_pushes(repo: Path, protected: frozenset[str]) -> None:
    """A pre-push hook that keeps tasks from pushing to protected branches by mistake. Blocking.

    A hook that is not ours is left alone.
    """
    hooks = repo / ".git" / "hooks"
    hook = hooks / "pre-push"
    cases = "|".join(f"refs/heads/{name}" for name in sorted(protected))
    text = (
        f"#!/bin/sh\n{_HOOK_MARK}: pushes to protected branches are refused.\n"
        "while read -r _ _ remote_ref _; do\n"
        f'  case "$remote_ref" in {cases})\n'
        '    echo "limpet: $remote_ref is protected; push another branch" >&2; exit 1 ;;\n'
        "  esac\ndone\n"
    )
    try:
        found = hook.read_text()
    except FileNotFoundError:
        found = ""
    except (OSError, UnicodeDecodeError):
        return
    if found == text or (found and _HOOK_MARK not in found):
        return
    hooks.mkdir(parents=True, exist_ok=True)
    hook.write_text(text)
    hook.chmod(0o755)
    give_path(hook)


def exclude_installs(repo: Path) -> None:
    """Keep what installs make out of commits, where the project itself does not say so. Blocking.

    It is this clone's own `info/exclude`; files that are tracked already stay tracked.
    """
    exclude = repo / ".git" / "info" / "exclude"
    try:
        text = exclude.read_text(errors="surrogateescape")
    except FileNotFoundError:
        text = ""
    except OSError:
        return
    missing = [line for line in EXCLUDED if line not in text.splitlines()]
    if missing and (repo / ".git").is_dir():
        exclude.parent.mkdir(exist_ok=True)
        before = text if not text or text.endswith("\n") else text + "\n"
        exclude.write_text(
            before + "".join(f"{line}\n" for line in missing), "utf-8", "surrogateescape"
        )
        give_path(exclude)


def begin(repo: Path, owner: tuple[int, int] | None = None) -> Begun:
    """Mark a clone as begun; what kind it is, also when an earlier one was cut off. Blocking.

    `owner` (uid, gid) is who git runs as, where that is not we.
    """
    mark = _mark(repo)
    try:
        known = mark.read_text()
    except OSError:
        known = ""
    if known in {"fresh", "in place"}:
        for lock in (repo / ".git").rglob("*.lock"):  # no ref can be called that
            lock.unlink(missing_ok=True)
        return "fresh" if known == "fresh" else "in place"
    repo.mkdir(parents=True, exist_ok=True)
    begun: Begun = "fresh" if not any(repo.iterdir()) else "in place"
    (repo / ".git").mkdir(exist_ok=True)
    mark.write_text(begun)
    if owner is not None and os.geteuid() == 0:
        for path in (repo, repo / ".git", mark):
            os.chown(path, *owner)
    return begun


def _mark(repo: Path) -> Path:
    return repo / ".git" / git.UNFINISHED


def is_transient(output: str) -> bool:
    """Whether what git said may be different in a moment."""
    said = output.lower()
    return any(marker in said for marker in TRANSIENT)


def with_line_ends(text: str) -> str:
    """Progress that rewrites its line, as lines: a bare carriage return becomes a line end."""
    return text.replace("\r\n", "\n").replace("\r", "\r\n")


def _read_probe(output: str, branch: str | None) -> Remote:
    default = None
    has_branch = has_head = False
    for line in output.splitlines():
        left, _, name = line.partition("\t")
        if name == "HEAD" and left.startswith("ref: refs/heads/"):
            default = left.removeprefix("ref: refs/heads/")
        elif name == "HEAD":
            has_head = True
        elif branch is not None and name == f"refs/heads/{branch}":
            has_branch = True
    if has_head and default is None and not has_branch:
        raise StepFailedError(
            "clone-failed", "The remote's HEAD names no branch: configure which one to work on."
        )
    # A HEAD without a hash names a branch that has no commit yet.
    return Remote(default if has_head else None, has_branch)
