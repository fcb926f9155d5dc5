"""The mark of a finished install, kept inside what it vouches for and written last.

It travels with `node_modules` or `.venv` in a snapshot, so a restored workspace installs nothing;
one that is half-made, deleted, or from another kind of machine does, and the reason can be told.
Blocking.
"""

import contextlib
import os
import platform
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from limpet.daemon.ownership import give_path
from limpet.daemon.setup.detect import LOCKS, RUNTIMES, Project
from limpet.daemon.setup.workspaces import MANIFEST_NAMES, members
from limpet.snapshots.tree import delete_tree

MARK_NAME: Final = ".limpet-install.json"
BEGUN_NAME: Final = ".limpet-install.begun"
"""There while an install runs, and ever after when it was cut off."""
_TRUSTS_WHAT_IS_THERE: Final = frozenset({"npm"})
"""Managers that take a package for whole when its folder is there, half written or not."""
_SETTINGS: Final = (
    ".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", ".pnpmfile.cjs", "bunfig.toml",
    "uv.toml", "pip.conf", "poetry.toml", "deno.json",
)  # fmt: skip
PNP_MAP: Final = ".pnp.cjs"
_ARCHIVE: Final = re.compile(r'"packageLocation"\s*:\s*"([^"]+?\.zip)/')
_MOVES_BADLY: Final = frozenset({"pnpm", "uv", "pip", "poetry"})


class Fingerprint(msgspec.Struct, frozen=True):
    """All that an install depends on, and what it left. `files` maps names to hashes; `place` is ''
    where a tree may move. `trees` are the folders that it filled beside the one with the mark,
    `packages` how many things lie in that one: later there may be more, but not fewer.
    """

    manager: str
    path: str
    files: dict[str, str]
    os: str
    arch: str
    libc: str
    runtime: str
    place: str = ""
    trees: tuple[str, ...] = ()
    packages: int = 0
    version: int = 1


def fingerprint(project: Project, repo: Path, runtime: str) -> Fingerprint:
    """Of the project as it lies there now. `runtime` is e.g. `node 22 abi 127`."""
    manager = project.manager or ""
    return Fingerprint(
        manager=manager,
        path=os.path.relpath(project.root, repo),
        files={name: _hash(project.root / name) for name in sorted(_inputs(project))},
        os=platform.system(),
        arch=platform.machine(),
        libc=" ".join(platform.libc_ver()).strip() or "other",
        runtime=runtime,
        place=str(project.root) if manager in _MOVES_BADLY else "",
        trees=tuple(str(tree.relative_to(project.root)) for tree in _member_trees(project)),
        packages=_count_packages(project),
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
    if mark == msgspec.structs.replace(now, trees=mark.trees, packages=mark.packages):
        return _why_incomplete(project, mark, now)
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


_BINDS: Final = ("manager", "os", "arch", "libc", "runtime", "place")
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


def _why_incomplete(project: Project, mark: Fingerprint, now: Fingerprint) -> str | None:
    """What has gone since the mark was written, if anything."""
    folder = project.vouched_for
    assert folder is not None
    if now.packages < mark.packages:
        return f"{mark.packages - now.packages} packages have gone from {folder.name}"
    for tree in mark.trees:
        if not (project.root / tree).is_dir():
            return f"there is no {tree}"
    if project.is_python and not (folder / "bin" / "python").exists():
        return f"the interpreter of {folder.name} is not there"
    if project.pnp and (missing := _missing_archives(project.root)):
        return f"{missing} of the packages that {PNP_MAP} names are not there"
    return None


def is_foreign(project: Project, now: Fingerprint) -> bool:
    """Whether what is there was made for another machine, runtime, place or package manager: then
    an install over it would leave parts of it as they are."""
    folder = project.vouched_for
    if folder is None or project.pnp:
        return False
    try:
        mark = msgspec.json.decode((folder / MARK_NAME).read_bytes(), type=Fingerprint)
    except (OSError, msgspec.DecodeError):
        return False
    return any(getattr(mark, name) != getattr(now, name) for name in _BINDS)


def begin(project: Project) -> None:
    """From now on nothing is vouched for: an install begins."""
    folder = project.vouched_for
    if folder is None:
        return
    (folder / MARK_NAME).unlink(missing_ok=True)
    if project.manager in _TRUSTS_WHAT_IS_THERE:
        _make(folder)
        (folder / BEGUN_NAME).touch()
        give_path(folder / BEGUN_NAME)


def end(project: Project) -> None:
    """The install ended by itself, well or not: what it left is as it wants it."""
    if project.vouched_for is not None:
        (project.vouched_for / BEGUN_NAME).unlink(missing_ok=True)


def was_cut_off(project: Project) -> bool:
    """Whether an install was killed, or its workspace saved, in the middle of it."""
    folder = project.vouched_for
    return folder is not None and (folder / BEGUN_NAME).exists()


def remove(project: Project, scratch: Path) -> None:
    """Delete what is installed, by way of `scratch`, which is on the same file system and never
    saved: so there is never half of it under its own name."""
    folder = project.vouched_for
    if folder is None:
        return
    scratch.mkdir(parents=True, exist_ok=True)
    for tree in (folder, *_member_trees(project)):
        _remove_tree(tree, scratch)


def _remove_tree(folder: Path, scratch: Path) -> None:
    aside = scratch / f"was-installed-{secrets.token_hex(6)}"
    folder.rename(aside)
    delete_tree(aside)


def mark_installed(project: Project, now: Fingerprint) -> None:
    """Vouch for what is there. The folder is made where the install needed none."""
    folder = project.vouched_for
    if folder is None:
        return
    _make(folder)
    temporary = folder / f"{MARK_NAME}.new"
    temporary.write_bytes(msgspec.json.encode(now))
    give_path(temporary)
    temporary.replace(folder / MARK_NAME)


def _make(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        give_path(folder)


def _inputs(project: Project) -> Iterator[str]:
    manager = project.manager
    if manager is None:
        return
    names = {*_SETTINGS, *(lock for lock, its in LOCKS.items() if its == manager)}
    if RUNTIMES[manager] == "python":
        names |= {"pyproject.toml", "requirements.txt", "setup.py", "setup.cfg"}
    else:
        names.add("package.json")
    if project.pnp:
        names.add(PNP_MAP)
    for folder in members(project.root):
        below = folder.relative_to(project.root)
        names |= {str(below / name) for name in MANIFEST_NAMES}
    for name in names:
        if (project.root / name).is_file():
            yield name


def _member_trees(project: Project) -> list[Path]:
    """What an install fills in the packages of a monorepo."""
    if project.is_python or project.pnp:
        return []
    trees = (folder / "node_modules" for folder in members(project.root))
    return [tree for tree in trees if tree.is_dir()]


def _count_packages(project: Project) -> int:
    """How many packages lie in what is vouched for; caches that tools put there have a dot."""
    folder = project.vouched_for
    if folder is None or project.pnp:
        return 0
    places = folder.glob("lib/python*/site-packages") if project.is_python else (folder,)
    count = 0
    for place in places:
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            count += sum(not entry.name.startswith((".", "__")) for entry in entries)
    return count


def _missing_archives(root: Path) -> int:
    """How many packages' archives that yarn's map names are not there."""
    try:
        text = (root / PNP_MAP).read_text(errors="replace")
    except OSError:
        return 1
    named = {found[1] for found in _ARCHIVE.finditer(text)}
    # A virtual package is another view of an archive that is named as well.
    real = (name for name in named if "/__virtual__/" not in name)
    return sum(1 for name in real if not (root / name).is_file())


def _hash(path: Path) -> str:
    try:
        return blake3(path.read_bytes()).hexdigest()
    except OSError:
        return "unreadable"
