"""The mark of a finished install, kept inside what it vouches for and written last.

It travels with `node_modules` or `.venv` in a snapshot, so a restored workspace installs nothing;
one that is half-made, deleted, or from another kind of machine does, and the reason can be told.
Blocking.
"""

import os
import platform
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from limpet.daemon.setup.detect import LOCKS, RUNTIMES, Project, _package
from limpet.snapshots.tree import delete_tree

MARK_NAME: Final = ".limpet-install.json"
BEGUN_NAME: Final = ".limpet-install.begun"
"""There while an install runs, and ever after when it was cut off."""
_TRUSTS_WHAT_IS_THERE: Final = frozenset({"npm"})
"""Managers that take a package for whole when its folder is there, half written or not."""
MAX_WORKSPACES: Final = 500
_SETTINGS: Final = (
    ".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", ".pnpmfile.cjs", "bunfig.toml",
    "uv.toml", "pip.conf",
)  # fmt: skip
_MOVES_BADLY: Final = frozenset({"pnpm", "uv", "pip", "poetry"})


class Fingerprint(msgspec.Struct, frozen=True):
    """All that an install depends on. `files` maps names to hashes; `place` is '' where a tree may
    move.
    """

    manager: str
    path: str
    files: dict[str, str]
    os: str
    arch: str
    libc: str
    runtime: str
    place: str = ""
    version: int = 1


def fingerprint(project: Project, repo: Path, runtime: str) -> Fingerprint:
    """Of the project as it lies there now. `runtime` is e.g. `node 22 abi 127`."""
    manager = project.manager or ""
    return Fingerprint(
        manager=manager,
        path=os.path.relpath(project.folder, repo),
        files={name: _hash(project.folder / name) for name in sorted(_inputs(project))},
        os=platform.system(),
        arch=platform.machine(),
        libc=" ".join(platform.libc_ver()).strip() or "other",
        runtime=runtime,
        place=str(project.folder) if manager in _MOVES_BADLY else "",
    )


def why_install(project: Project, now: Fingerprint) -> str | None:
    """Why an install is needed; None when what is there is vouched for."""
    folder = project.vouched_for
    if folder is None:
        return None
    if not folder.is_dir():
        return f"there is no {folder.name}"
    try:
        mark = msgspec.json.decode((folder / MARK_NAME).read_bytes(), type=Fingerprint)
    except FileNotFoundError:
        if was_cut_off(project):
            return "an earlier install was cut off"
        return f"{folder.name} has no mark of a finished install"
    except (OSError, msgspec.DecodeError):
        return f"the mark in {folder.name} cannot be read"
    if mark == now:
        return None
    for name, what in _WORDS.items():
        before, after = getattr(mark, name), getattr(now, name)
        if before != after:
            return f"{what} changed from {before or 'none'} to {after or 'none'}"
    changed = sorted(
        name
        for name in mark.files.keys() | now.files.keys()
        if mark.files.get(name) != now.files.get(name)
    )
    return f"{', '.join(changed[:3]) or 'something'} changed since"


_WORDS: Final = {
    "version": "the mark's form",
    "manager": "the package manager",
    "path": "the project's folder",
    "os": "the system",
    "arch": "the processor",
    "libc": "the C library",
    "runtime": "the runtime",
    "place": "the place",
}


def begin(project: Project) -> None:
    """From now on nothing is vouched for: an install begins."""
    folder = project.vouched_for
    if folder is None:
        return
    (folder / MARK_NAME).unlink(missing_ok=True)
    if project.manager in _TRUSTS_WHAT_IS_THERE:
        folder.mkdir(exist_ok=True)
        (folder / BEGUN_NAME).touch()


def end(project: Project) -> None:
    """The install ended by itself, well or not: what it left is as it wants it."""
    if project.vouched_for is not None:
        (project.vouched_for / BEGUN_NAME).unlink(missing_ok=True)


def was_cut_off(project: Project) -> bool:
    """Whether an install was killed, or its workspace saved, in the middle of it."""
    folder = project.vouched_for
    return folder is not None and (folder / BEGUN_NAME).exists()


def remove_cut_off(project: Project, scratch: Path) -> None:
    """Delete what an install that was cut off has left, by way of `scratch`, which is on the same
    file system and never saved: so there is never half of it under its own name."""
    folder = project.vouched_for
    if folder is None:
        return
    scratch.mkdir(parents=True, exist_ok=True)
    aside = scratch / f"cut-off-{secrets.token_hex(6)}"
    folder.rename(aside)
    delete_tree(aside)


def mark_installed(project: Project, now: Fingerprint) -> None:
    """Vouch for what is there. The folder is made where the install needed none."""
    folder = project.vouched_for
    if folder is None:
        return
    folder.mkdir(exist_ok=True)
    temporary = folder / f"{MARK_NAME}.new"
    temporary.write_bytes(msgspec.json.encode(now))
    temporary.replace(folder / MARK_NAME)


def _inputs(project: Project) -> Iterator[str]:
    manager = project.manager
    if manager is None:
        return
    names = {*_SETTINGS, *(lock for lock, its in LOCKS.items() if its == manager)}
    if RUNTIMES[manager] == "python":
        names |= {"pyproject.toml", "requirements.txt", "setup.py", "setup.cfg"}
    else:
        names |= {"package.json", *_members(project)}
    for name in names:
        if (project.folder / name).is_file():
            yield name


def _members(project: Project) -> Iterator[str]:
    """The manifests of an npm-style monorepo's packages."""
    try:
        found = _package(project.folder).get("workspaces")
    except Exception:  # noqa: BLE001 - a manifest that cannot be read is told by detect
        return
    patterns = found.get("packages") if isinstance(found, dict) else found
    if not isinstance(patterns, list):
        return
    count = 0
    for pattern in patterns:
        if not isinstance(pattern, str) or pattern.startswith(("/", "!", "..")) or "**" in pattern:
            continue
        for manifest in project.folder.glob(f"{pattern.rstrip('/')}/package.json"):
            count += 1
            if count > MAX_WORKSPACES:
                return
            yield str(manifest.relative_to(project.folder))


def _hash(path: Path) -> str:
    try:
        return blake3(path.read_bytes()).hexdigest()
    except OSError:
        return "unreadable"
