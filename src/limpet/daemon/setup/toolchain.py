"""Which programs a project needs, whether they are there and new enough, and what to install."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from limpet.daemon.children import run_child
from limpet.daemon.setup.detect import Project

PROBE_TIMEOUT_S: Final = 20.0
VITE_NEEDS_NODE: Final = 20
HOW_TO_GET: Final = {
    "git": "Debian, Ubuntu: apt-get install git",
    "node": "Node.js 20 or newer: https://nodejs.org/",
    "npm": "it comes with Node.js: https://nodejs.org/",
    "pnpm": "npm install -g pnpm",
    "yarn": "npm install -g yarn",
    "bun": "https://bun.sh/",
    "deno": "https://deno.com/",
    "uv": "https://docs.astral.sh/uv/",
    "poetry": "https://python-poetry.org/",
    "python3": "Debian, Ubuntu: apt-get install python3 python3-venv",
}
_VERSION: Final = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_BOUND: Final = re.compile(r"(>=|>|<=|<|=|\^|~)?\s*v?(\d+)(?:\.(\d+|x|\*))?(?:\.(\d+|x|\*))?")

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What was found. `runtime` goes into the fingerprint; `problem` says what to install."""

    runtime: str = ""
    problem: str = ""


async def look(project: Project, cwd: Path, env: Mapping[str, str]) -> Toolchain:
    """Whether the project can be installed and run here."""
    if project.manager is None:
        return Toolchain()
    needed = _programs(project)
    for program in needed:
        if shutil.which(program, path=env.get("PATH")) is None:
            return Toolchain(problem=missing(program, project))
    if project.runtime == "node" or (project.manager in {"npm", "pnpm", "yarn"}):
        return await _node(project, cwd, env)
    program = needed[-1]
    said = await _say([program, "--version"], cwd, env)
    version = _VERSION.search(said)
    if project.is_python:
        tag = "import sys; print(sys.implementation.cache_tag, sys.abiflags)"
        return Toolchain(f"python {(await _say(['python3', '-c', tag], cwd, env)).strip()}")
    return Toolchain(f"{program} {version[1] if version else said.strip()}")


def missing(program: str, project: Project) -> str:
    """What to tell when a program is not there."""
    how = HOW_TO_GET.get(program, "")
    return (
        f"{program} is not there, and this project needs it ({project.why}). "
        f"Install {program}{f' ({how})' if how else ''} and try again."
    )


def _programs(project: Project) -> list[str]:
    manager = project.manager or ""
    if manager in {"npm", "pnpm", "yarn"}:
        return ["node", manager]
    if manager == "pip":
        return ["python3"]
    if manager == "poetry":
        return ["python3", "poetry"]
    return [manager]


async def _node(project: Project, cwd: Path, env: Mapping[str, str]) -> Toolchain:
    said = await _say(["node", "--version"], cwd, env)
    found = read_version(said)
    if found is None:
        return Toolchain(problem=f"node does not tell its version: {said.strip()[:200]}")
    shown = ".".join(map(str, found))
    wanted = project.engines_node
    if wanted and not satisfies(found, wanted):
        return Toolchain(problem=_too_old(shown, f"package.json asks for Node {wanted}"))
    if "vite" in project.dependencies and found[0] < VITE_NEEDS_NODE:
        return Toolchain(problem=_too_old(shown, f"Vite needs Node {VITE_NEEDS_NODE} or newer"))
    abi = await _say(["node", "-p", "process.versions.modules"], cwd, env)
    return Toolchain(f"node {found[0]} abi {abi.strip()[:20]}")


def _too_old(shown: str, why: str) -> str:
    how = HOW_TO_GET["node"]
    return f"Node {shown} is here, but {why}. Install {how} and try again."


async def _say(argv: list[str], cwd: Path, env: Mapping[str, str]) -> str:
    said: list[str] = []
    await run_child(argv, cwd=cwd, env=env, on_output=said.append, timeout_s=PROBE_TIMEOUT_S)
    return "".join(said)


def read_version(text: str) -> Version | None:
    """The first version in what a program says."""
    found = _VERSION.search(text)
    if found is None:
        return None
    return int(found[1]), int(found[2]), int(found[3] or 0)


def satisfies(version: Version, wanted: str) -> bool:
    """Whether a version fits npm's way to write ranges; what we cannot read fits."""
    alternatives = [part.strip() for part in wanted.split("||")]
    if any(part in {"", "*", "x", "latest"} for part in alternatives):
        return True
    return any(_fits_all(version, part) for part in alternatives)


def _fits_all(version: Version, part: str) -> bool:
    ends = re.fullmatch(r"\s*v?([\d.]+)\s+-\s+v?([\d.]+)\s*", part)
    if ends is not None:
        part = f">={ends[1]} <={ends[2]}"
    bounds = list(_BOUND.finditer(part))
    if not bounds or _BOUND.sub("", part).strip(" ,"):
        return True
    return all(_fits(version, bound) for bound in bounds)


def _fits(version: Version, bound: re.Match[str]) -> bool:
    sign = bound[1] or "="
    given = [int(n) for n in bound.groups()[1:] if n is not None and n.isdigit()]
    low: Version = (given[0], *[*given[1:], 0, 0][:2])  # type: ignore[assignment]
    if sign == "^":
        high: Version = (low[0] + 1, 0, 0)
    elif sign == "~" and len(given) > 1:
        high = (low[0], low[1] + 1, 0)
    else:
        high = _next(low, len(given))
    if sign == ">=":
        return version >= low
    if sign == ">":
        return version >= high
    if sign == "<":
        return version < low
    if sign == "<=":
        return version < high
    return low <= version < high


def _next(low: Version, parts: int) -> Version:
    """The first version that is past everything a partial one stands for."""
    if parts == 1:
        return (low[0] + 1, 0, 0)
    if parts == 2:
        return (low[0], low[1] + 1, 0)
    return (low[0], low[1], low[2] + 1)
