"""A template as a workspace: `repo/` with the template's files and one commit, as a plain tar.

The repository is made once for each state of the template's files and kept in the data folder's
cache; a sandbox gets a copy with its own branch. It reaches the sandbox as a restored snapshot.
Everything here blocks: call it in a thread.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limpet.branches import is_synthetic
from limpet.control.templates import MANIFEST, Template
from limpet.errors import LimpetError
from limpet.snapshots.tar_write import stream_tar

LEFT_OUT = frozenset({".git", "node_modules", "dist", ".DS_Store"})
GIT_TIMEOUT_S = 60
FALLBACK_BRANCH = "main"


class TemplateFailedError(LimpetError):
    """A template could not be made into a workspace."""

    code = "template_failed"


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes the first commit."""

    name: str
    email: str


def template_files(template: Template) -> list[Path]:
    """The template's own files, relative, in a fixed order; no links, no installed packages."""
    found = []
    for folder, folders, files in os.walk(template.folder):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        here = Path(folder).relative_to(template.folder)
        found += [here / name for name in sorted(files) if name not in LEFT_OUT]
    return [
        path
        for path in found
        if path != Path(MANIFEST) and not (template.folder / path).is_symlink()
    ]


def content_hash(template: Template) -> str:
    """Changes whenever a file's path, bytes or executable bit does."""
    digest = hashlib.sha256()
    for path in template_files(template):
        data = (template.folder / path).read_bytes()
        runs = bool((template.folder / path).stat().st_mode & stat.S_IXUSR)
        digest.update(f"{path.as_posix()}\0{len(data)}\0{runs}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def seed_tar(template: Template, branch: str, author: Author, cache: Path) -> Iterator[bytes]:
    """The tar of a workspace that begins from `template`, with `branch` checked out.

    Without git on this machine the files come without a repository; the sandbox says so itself.
    """
    workspace = Path(tempfile.mkdtemp(prefix="seed-", dir=_made(cache)))
    try:
        shutil.copytree(_base(template, author, cache), workspace / "repo", symlinks=True)
        if (workspace / "repo" / ".git").is_dir():
            name = FALLBACK_BRANCH if is_synthetic(branch) else branch
            git(workspace / "repo", "branch", "-m", name)
        yield from stream_tar(workspace)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _base(template: Template, author: Author, cache: Path) -> Path:
    """The cached repository of the template as it is now, made when it is not there yet."""
    has_git = shutil.which("git") is not None
    identity = f"{content_hash(template)}\0{author.name}\0{author.email}\0{has_git}"
    base = cache / hashlib.sha256(identity.encode()).hexdigest()
    if base.is_dir():
        return base
    made = Path(tempfile.mkdtemp(prefix="making-", dir=_made(cache)))
    try:
        for path in template_files(template):
            target = made / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(template.folder / path, target)
            runs = (template.folder / path).stat().st_mode & stat.S_IXUSR
            target.chmod(0o755 if runs else 0o644)
        made.chmod(0o755)
        if has_git:
            _first_commit(made, template, author)
        with contextlib.suppress(OSError):  # another start may have made the same one meanwhile
            made.rename(base)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return base


def _first_commit(repo: Path, template: Template, author: Author) -> None:
    git(repo, "init", "--quiet", "--template=", f"--initial-branch={FALLBACK_BRANCH}")
    git(repo, "config", "user.name", author.name)
    git(repo, "config", "user.email", author.email)
    git(repo, "add", "--all")
    git(
        repo, "commit", "--quiet", "--no-verify", "--no-gpg-sign",
        "-m", f"Start from the template {template.name}",
    )  # fmt: skip


def git(repo: Path, *arguments: str) -> None:
    """Run git with nothing of this machine's or user's own configuration. Blocks.

    Raises `TemplateFailedError` when it cannot be run, or fails.
    """
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CEILING_DIRECTORIES": str(repo.parent),
        "LC_ALL": "C",
    }
    try:
        done = subprocess.run(
            ["git", "-c", "core.hooksPath=/dev/null", "-c", f"safe.directory={repo}", *arguments],
            cwd=repo,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TemplateFailedError(f"git could not be run for the template: {error}") from error
    if done.returncode != 0:
        raise TemplateFailedError(
            f"git {arguments[0]} failed for the template: {done.stderr.strip()[-500:]}"
        )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
