"""Monorepos: which folders are packages of one, and whose lock installs a package. Blocking.

npm, yarn and bun declare members in package.json, pnpm in pnpm-workspace.yaml, deno in deno.json,
uv in pyproject.toml.
"""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Final

from limpet.daemon.setup.manifests import (
    ManifestError,
    below,
    deno_json,
    package_json,
    pyproject,
    yaml_list,
)

MAX_MEMBERS: Final = 500
MAX_DEPTH: Final = 6
MANIFEST_NAMES: Final = ("package.json", "deno.json", "deno.jsonc", "pyproject.toml")
_SKIPPED: Final = frozenset({"node_modules", "__pycache__"})
_WILD: Final = frozenset("*?[")


def members(root: Path) -> list[Path]:
    """The folders of the packages that `root` declares as its own; none where it is no monorepo.

    At most 500; patterns that lead outside count for nothing.
    """
    try:
        patterns = _patterns(root)
    except ManifestError:
        return []
    wanted = [one for one in patterns if not one.startswith("!")]
    unwanted = [one[1:].strip("/") for one in patterns if one.startswith("!")]
    found: dict[Path, None] = {}
    for pattern in wanted:
        parts = [part for part in pattern.split("/") if part not in {"", "."}]
        if not parts or ".." in parts or pattern.startswith("/"):
            continue
        for folder in islice(_expand(root, parts, MAX_DEPTH), MAX_MEMBERS - len(found)):
            name = str(folder.relative_to(root))
            if folder == root or any(fnmatchcase(name, one) for one in unwanted):
                continue
            if any((folder / manifest).is_file() for manifest in MANIFEST_NAMES):
                found[folder] = None
    return sorted(found)


def root_of(folder: Path, repo: Path) -> Path:
    """The monorepo's folder that `folder` is a member of, up to `repo`; else `folder` itself."""
    at = folder
    while at != repo and repo in at.parents:
        at = at.parent
        if folder in members(at):
            return at
    return folder


def _patterns(root: Path) -> list[str]:
    found: list[object] = []
    if (root / "pnpm-workspace.yaml").is_file():
        found += yaml_list(root / "pnpm-workspace.yaml", "packages")
    declared = package_json(root).get("workspaces")
    for some in (
        below(declared, "packages") if isinstance(declared, dict) else declared,
        deno_json(root).get("workspace"),
        below(pyproject(root), "tool", "uv", "workspace", "members"),
    ):
        found += some if isinstance(some, list) else []
    left_out = below(pyproject(root), "tool", "uv", "workspace", "exclude")
    found += [f"!{one}" for one in (left_out if isinstance(left_out, list) else [])]
    return [one for one in found if isinstance(one, str)]


def _expand(base: Path, parts: list[str], depth: int) -> Iterator[Path]:
    if not parts:
        yield base
        return
    head, rest = parts[0], parts[1:]
    if head == "**":
        yield from _expand(base, rest, depth)
        if depth > 0:
            for child in _folders(base):
                yield from _expand(child, parts, depth - 1)
    elif _WILD.intersection(head):
        for child in _folders(base):
            if fnmatchcase(child.name, head):
                yield from _expand(child, rest, depth)
    elif (base / head).is_dir():
        yield from _expand(base / head, rest, depth)


def _folders(base: Path) -> list[Path]:
    try:
        with os.scandir(base) as entries:
            return sorted(
                Path(entry.path)
                for entry in entries
                if entry.is_dir(follow_symlinks=False)
                and not entry.name.startswith(".")
                and entry.name not in _SKIPPED
            )
    except OSError:
        return []
