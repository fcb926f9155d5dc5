"""Package managers in pinned versions, installed once for all checkouts into a cache folder.

LIMPET_MATRIX_TOOLS names another folder. It must be one that every user can read: a row also runs
as somebody who is not root.
"""

import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Final

NPM: Final = {
    "pnpm": "pnpm@12.21.0",
    "pnpm10": "pnpm@10.34.8",
    "yarn1": "yarn@1.22.22",
    "yarn4": "@yarnpkg/cli-dist@4.18.1",
    "bun": "bun@1.4.5",
    "deno": "deno@2.9.6",
}
PYTHON: Final = {"uv": "uv==0.13.9", "poetry": "poetry==2.5.1"}
READY: Final = ".ready"


class NotToBeHadError(Exception):
    """A tool cannot be installed here; the message says which and why."""


def folder() -> Path:
    """Where they are kept."""
    if given := os.environ.get("LIMPET_MATRIX_TOOLS"):
        return Path(given)
    if os.geteuid() == 0:  # root's own home is closed to others
        return Path("/var/cache/limpet-matrix-tools")
    return Path("~/.cache/limpet-matrix-tools").expanduser()


def have(tool: str) -> Path:
    """The folder with the tool's programs; installed if it is not there."""
    spec = NPM.get(tool) or PYTHON[tool]
    place = folder() / spec.replace("/", "-").replace("==", "-")
    programs = place / ("node_modules/.bin" if tool in NPM else "bin")
    if (place / READY).exists():
        return programs
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, mode=0o755)
    if tool in NPM:
        _run(tool, ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(place), spec])
    else:
        python = shutil.which("python3", path=open_path())
        if python is None:
            raise NotToBeHadError(f"{tool}: no python3 that every user can run")
        _run(tool, [python, "-m", "venv", str(place)])
        _run(tool, [str(programs / "python"), "-m", "pip", "install", "-q", spec])
    (place / READY).touch()
    return programs


def path_with(*tools: str) -> str:
    """A PATH with these tools in front and nothing that other users may not read."""
    return os.pathsep.join([*(str(have(tool)) for tool in tools), open_path()])


def open_path() -> str:
    """Our PATH; for root without folders that are closed to others, since rows become others."""
    given = os.environ["PATH"].split(os.pathsep)
    if os.geteuid() != 0:
        return os.pathsep.join(given)
    return os.pathsep.join(one for one in dict.fromkeys(given) if _is_open(Path(one)))


def _is_open(place: Path) -> bool:
    try:
        return all(one.stat().st_mode & stat.S_IXOTH for one in (place, *place.parents))
    except OSError:
        return False


def _run(tool: str, argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, umask=0o022)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotToBeHadError(f"{tool}: {said[-1] if said else done.returncode}")
