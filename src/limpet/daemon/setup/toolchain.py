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


async def look(
    project: Project,
    cwd: Path,
    env: Mapping[str, str],
    drop_to: tuple[int, int] | None = None,
) -> Toolchain:
    """Whether the project can be installed and run here. Programs are asked as `drop_to`: they may
    be the sandbox's own.
    """
    ask = _Asking(cwd, env, drop_to)
    if project.manager is None:
        return Toolchain()
    needed = _programs(project)
    for program in needed:
        if shutil.which(program, path=env.get("PATH")) is None:
            return Toolchain(problem=missing(program, project))
    if project.manager in {"npm", "pnpm", "yarn"}:
        return await _node(project, ask)
    program = needed[-1]
    said, _ = await ask([program, "--version"])
    version = _VERSION.search(said)
    if project.is_python:
        tag = "import sys; print(sys.implementation.cache_tag, sys.abiflags)"
        said, _ = await ask(["python3", "-c", tag])
        return Toolchain(f"python {said.strip()}")
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


async def _node(project: Project, ask: "_Asking") -> Toolchain:
    said, _ = await ask(["node", "--version"])
    found = read_version(said)
    if found is None:
        return Toolchain(problem=f"node does not tell its version: {said.strip()[:200]}")
    shown = ".".join(map(str, found))
    wanted = project.engines_node
    if wanted and not satisfies(found, wanted):
        return Toolchain(problem=_too_old(shown, f"package.json asks for Node {wanted}"))
    if "vite" in project.dependencies and found[0] < VITE_NEEDS_NODE:
        return Toolchain(problem=_too_old(shown, f"Vite needs Node {VITE_NEEDS_NODE} or newer"))
    if project.manager in {"pnpm", "yarn"}:
        said, code = await ask([project.manager, "--version"])
        if code != 0:
            return Toolchain(problem=_will_not_run(project, said))
    abi, _ = await ask(["node", "-p", "process.versions.modules"])
    return Toolchain(f"node {found[0]} abi {abi.strip()[:20]}")


def _too_old(shown: str, why: str) -> str:
    how = HOW_TO_GET["node"]
    return f"Node {shown} is here, but {why}. Install {how} and try again."


def _will_not_run(project: Project, said: str) -> str:
    """A program that is there in name: corepack's, which could not fetch what package.json pins."""
    wanted = project.pinned or str(project.manager)
    lines = [line for line in said.strip().splitlines() if line.strip()]
    shown = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")
    return (
        f"{project.manager} does not run, and this project needs it ({project.why}): "
        f"{shown.strip()[:300] or 'it says nothing'}. "
        f"Install it (npm install -g {wanted.partition('+')[0]}) and try again."
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    """Runs a program for what it says, and its code."""

    cwd: Path
    env: Mapping[str, str]
    drop_to: tuple[int, int] | None

    async def __call__(self, argv: list[str]) -> tuple[str, int]:
        said: list[str] = []
        code = await run_child(
            argv,
            cwd=self.cwd,
            env=self.env,
            on_output=said.append,
            timeout_s=PROBE_TIMEOUT_S,
            drop_to=self.drop_to,
        )
        return "".join(said), code


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
