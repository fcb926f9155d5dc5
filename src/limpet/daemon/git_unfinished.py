"""Changes of git's that a kill cut off: noted before they begin, ended or undone at the next start.

git replaces its own files whole, but writes those of the working tree in place: whoever dies with
it (a sandbox that is killed has one fate) leaves parts of files. What was noted tells which files
may be such, and each of them is whole in a commit or in the index as it was.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Literal

import msgspec

from limpet.daemon import git
from limpet.daemon.ownership import give_path
from limpet.daemon.settings import DaemonSettings

NOTE = "git-change.json"
NEW_NOTE = "git-change.new"
INDEX = "git-change.index"
STASH = "refs/stash"
Kind = Literal["move", "stash", "pop", "rebase"]


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is under way. `commit` is where a move leads, what a rebase goes onto or which stash is
    popped; `branch` the one that is checked out; `stash` what `refs/stash` was; `args` are git's,
    to go on with a move.
    """

    kind: Kind
    head: str
    commit: str = ""
    branch: str = ""
    stash: str = ""
    args: list[str] = []


@contextlib.asynccontextmanager
async def noted(
    settings: DaemonSettings, kind: Kind, *, to: str = "HEAD", args: Iterable[str] = ()
) -> AsyncIterator[None]:
    """Keep a note of a change for as long as this is open; `to` names the commit it is about."""
    head, commit, stash = [await _sha(settings, ref) for ref in ("HEAD", to, STASH)]
    note, index = settings.state_dir / NOTE, settings.state_dir / INDEX
    whole = settings.repo / ".git" / "index"
    if head and whole.is_file():
        await asyncio.to_thread(_keep, whole, index)
        branch = await git.current_branch(settings, settings.repo) or ""
        written = msgspec.json.encode(Change(kind, head, commit, branch, stash, list(args)))
        beside = settings.state_dir / NEW_NOTE
        beside.write_bytes(written)
        beside.replace(note)
    try:
        yield
    finally:
        note.unlink(missing_ok=True)
        index.unlink(missing_ok=True)


async def resume(settings: DaemonSettings, *, locked: bool) -> str:
    """End or undo what a killed daemon had noted, once no git of its own lives any more.

    `locked` is whether it left the index locked. Says what was done; empty where there was nothing.
    """
    change = await asyncio.to_thread(_read, settings.state_dir / NOTE)
    try:
        if change is None:
            return ""
        done = {"move": _move, "stash": _stash, "pop": _pop, "rebase": _rebase}[change.kind]
        return await done(settings, change, locked)
    except git.GitFailedError as error:
        return f"a change that was cut off could not be put right: {error.message}"
    finally:
        for name in (NOTE, NEW_NOTE, INDEX):
            (settings.state_dir / name).unlink(missing_ok=True)


def _read(note: Path) -> Change | None:
    try:
        return msgspec.json.decode(note.read_bytes(), type=Change)
    except (OSError, msgspec.DecodeError):  # no change was under way
        return None


async def _move(settings: DaemonSettings, change: Change, locked: bool) -> str:
    """From one commit to another: the index is written last of the files, the ref after it."""
    if not await asyncio.to_thread(_index_is_as_it_was, settings):
        if await _sha(settings, "HEAD") == change.commit:
            return ""
        await git.capture(settings, change.args, cwd=settings.repo)
        return "a change of commits that was cut off was ended"
    if not locked:
        return ""
    await _put_back(settings, await _between(settings, change.head, change.commit))
    return "a change of commits that was cut off was undone"


async def _stash(settings: DaemonSettings, change: Change, locked: bool) -> str:
    """The stash is there before a file is touched: then what it holds may go."""
    made = await _sha(settings, STASH)
    if made == change.stash:
        return ""
    if not locked and await _clean(settings):
        return ""
    touched = await _between(settings, f"{made}^1", made)
    if not locked and await _edited_since(settings, touched, made):
        return ""
    await git.checked(settings, ["reset", "--hard", "--quiet"], cwd=settings.repo)
    untracked = await _files_of(settings, f"{made}^3")
    if untracked:
        await asyncio.to_thread(
            _delete, settings.repo, await _equal_to(settings, untracked, f"{made}^3")
        )
    return "a stash that was cut off was ended"


async def _pop(settings: DaemonSettings, change: Change, _: bool) -> str:
    """The stash goes last: as long as it is there, all of it can be done again."""
    listed = await git.capture(settings, ["stash", "list", "--format=%H"], cwd=settings.repo)
    if change.commit not in listed.out.split():
        return ""
    touched = await _between(settings, f"{change.commit}^1", change.commit)
    touched += await _files_of(settings, f"{change.commit}^3")
    await asyncio.to_thread(_bring_back, settings)
    await _put_back(settings, touched)
    return "a stash that was half put back was taken back"


async def _rebase(settings: DaemonSettings, change: Change, locked: bool) -> str:
    """Begun on a clean tree, so that going back to the commit is all; git may not know the way.

    `git rebase --abort` fails when the kill came while git wrote down what it was about to do.
    """
    if not locked and git.under_way(settings.repo) != "a rebase":
        return ""
    for name in ("rebase-merge", "rebase-apply"):
        await asyncio.to_thread(shutil.rmtree, settings.repo / ".git" / name, ignore_errors=True)
    if change.branch:
        ref = f"refs/heads/{change.branch}"
        await _git(settings, ["symbolic-ref", "HEAD", ref])
        await _git(settings, ["update-ref", ref, change.head])
    await _git(settings, ["reset", "--hard", "--quiet", change.head])
    await _put_back(settings, await _between(settings, change.head, change.commit))
    return "a rebase that was cut off was undone"


async def _put_back(settings: DaemonSettings, paths: list[str]) -> None:
    """Each path as the index has it; what it does not know, git has made and is gone."""
    known = set(_split(await _git(settings, ["ls-files", "-z"])))
    listed = b"".join(os.fsencode(path) + b"\0" for path in paths if path in known)
    await asyncio.to_thread(_delete, settings.repo, [path for path in paths if path not in known])
    if listed:
        args = ["checkout-index", "--force", "-u", "-z", "--stdin"]
        await git.checked(settings, args, cwd=settings.repo, stdin=listed)


async def _between(settings: DaemonSettings, old: str, new: str) -> list[str]:
    """Files that two commits have differently."""
    args = ["diff-tree", "-r", "-z", "--no-renames", "--name-only", old, new]
    return _split(await _git(settings, args))


async def _files_of(settings: DaemonSettings, commit: str) -> dict[str, str]:
    """All files of a commit with the names of their contents; none where there is no such one."""
    done = await git.capture(
        settings, ["ls-tree", "-r", "-z", commit], cwd=settings.repo, errors="surrogateescape"
    )
    entries = [line.partition("\t") for line in _split(done.out)] if done.code == 0 else []
    return {path: told.split()[2] for told, _, path in entries}


async def _equal_to(settings: DaemonSettings, paths: Iterable[str], commit: str) -> list[str]:
    """Those of the paths that lie in the working tree as they are in a commit, or in neither."""
    there = await _files_of(settings, commit)
    found, files = [], []
    for path in paths:
        place = settings.repo / path
        if not os.path.lexists(place):
            found += [path] if path not in there else []
        elif place.is_symlink():  # made in one step: it is none's part
            found += [path] if path in there else []
        elif place.is_file() and "\n" not in path:
            files.append(path)
    listed = "".join(f"{path}\n" for path in files).encode(errors="surrogateescape")
    said = await git.checked(
        settings, ["hash-object", "--stdin-paths"], cwd=settings.repo, stdin=listed
    )
    return found + [
        path for path, name in zip(files, said.split(), strict=True) if there.get(path) == name
    ]


async def _edited_since(settings: DaemonSettings, paths: list[str], made: str) -> bool:
    """Whether any of the paths is neither as in HEAD nor as in the stash."""
    as_head = set(await _equal_to(settings, paths, "HEAD"))
    left = [path for path in paths if path not in as_head]
    return len(await _equal_to(settings, left, made)) < len(left)


async def _clean(settings: DaemonSettings) -> bool:
    done = await git.capture(settings, ["status", "--porcelain", "-z"], cwd=settings.repo)
    return done.code == 0 and not done.out


async def _git(settings: DaemonSettings, args: list[str]) -> str:
    return await git.checked(settings, args, cwd=settings.repo, errors="surrogateescape")


async def _sha(settings: DaemonSettings, ref: str) -> str:
    done = await git.capture(
        settings, ["rev-parse", "--quiet", "--verify", f"{ref}^{{commit}}"], cwd=settings.repo
    )
    return done.out.strip() if done.code == 0 else ""


def _split(listed: str) -> list[str]:
    return [name for name in listed.split("\0") if name]


def _keep(index: Path, kept: Path) -> None:
    """git puts a new index in the old one's place: a second name keeps the old one as it is."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.unlink(missing_ok=True)
    try:
        os.link(index, kept)
    except OSError:
        shutil.copy2(index, kept)


def _index_is_as_it_was(settings: DaemonSettings) -> bool:
    try:
        return (settings.repo / ".git/index").read_bytes() == (
            settings.state_dir / INDEX
        ).read_bytes()
    except OSError:
        return True


def _bring_back(settings: DaemonSettings) -> None:
    kept, index = settings.state_dir / INDEX, settings.repo / ".git" / "index"
    beside = index.with_name("index.limpet")
    beside.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(kept, beside)
        give_path(beside)
        beside.replace(index)


def _delete(repo: Path, paths: Iterable[str]) -> None:
    """Delete files, and the folders that are empty then."""
    for path in paths:
        with contextlib.suppress(OSError):
            (repo / path).unlink()
        for parent in (repo / path).parents:
            if parent == repo:
                break
            try:
                parent.rmdir()
            except OSError:
                break
