"""What kind of project a folder holds: package manager, runtime, scripts, and what starts it. Pure
but for reading files; blocking.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from limpet.daemon.config_model import Application, ManagerName, Runtime

MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
LOCKS: Final[dict[str, ManagerName]] = {
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
    "deno.lock": "deno",
    "uv.lock": "uv",
    "poetry.lock": "poetry",
}
RUNTIMES: Final[dict[ManagerName, Runtime]] = {
    "npm": "node",
    "pnpm": "node",
    "yarn": "node",
    "bun": "bun",
    "deno": "deno",
    "uv": "python",
    "pip": "python",
    "poetry": "python",
}
MANIFESTS: Final[dict[ManagerName, tuple[str, ...]]] = {
    "npm": ("package.json",),
    "pnpm": ("package.json",),
    "yarn": ("package.json",),
    "bun": ("package.json",),
    "deno": ("deno.json", "deno.jsonc", "package.json"),
    "uv": ("pyproject.toml",),
    "pip": ("requirements.txt", "pyproject.toml"),
    "poetry": ("pyproject.toml",),
}
STARTERS: Final = ("dev", "start")
_NODE_MANAGERS: Final = frozenset({"npm", "pnpm", "yarn", "bun"})
_COMMENT: Final = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA: Final = re.compile(r",(\s*[}\]])")


class ManifestError(Exception):
    """A manifest that cannot be read as what it should be."""


@dataclass(frozen=True, slots=True)
class Project:
    """What was found. `folder` is where commands run; `manager` is None where there is nothing.

    `scripts` maps names to commands. `engines_node` is what package.json asks of Node, if it does.
    `why` says what the package manager was told by. `problem` is a manifest that cannot be read.
    """

    folder: Path
    manager: ManagerName | None = None
    runtime: Runtime | None = None
    manifest: str | None = None
    scripts: Mapping[str, str] = field(default_factory=dict)
    engines_node: str | None = None
    dependencies: frozenset[str] = frozenset()
    why: str = ""
    problem: str = ""

    @property
    def starter(self) -> str | None:
        """The script that starts the dev server."""
        return next((name for name in STARTERS if name in self.scripts), None)

    @property
    def is_python(self) -> bool:
        """Whether it is installed into `.venv`."""
        return self.runtime == "python"

    @property
    def vouched_for(self) -> Path | None:
        """The folder that an install fills, and that holds its mark."""
        if self.manager is None or self.manager == "deno":
            return None
        return self.folder / (".venv" if self.is_python else "node_modules")


def detect(repo: Path, application: Application | None = None) -> Project:
    """The project in `repo`; what is configured goes before what is found."""
    configured = application or Application()
    folder = repo / (configured.package_manager.path or ".")
    manager = configured.package_manager.name
    why = "it is configured"
    if manager is None:
        manager, why = _manager(folder)
    if manager is None:
        return Project(folder, why="no manifest that we know", runtime=configured.runtime)
    manifest = next((name for name in MANIFESTS[manager] if (folder / name).is_file()), None)
    runtime = configured.runtime or RUNTIMES[manager]
    scripts: dict[str, str] = {}
    package: dict[str, Any] = {}
    try:
        if manager in _NODE_MANAGERS or (folder / "package.json").is_file():
            package = _package(folder)
            scripts = _texts(package.get("scripts"))
        if manager == "deno":
            scripts = {**scripts, **_tasks(folder)}
        if RUNTIMES[manager] == "python":
            scripts = _python_scripts(folder, manager)
    except ManifestError as error:
        return Project(folder, manager, runtime, manifest, why=why, problem=str(error))
    engines = package.get("engines")
    node = engines.get("node") if isinstance(engines, dict) else None
    return Project(
        folder,
        manager,
        runtime,
        manifest,
        scripts,
        node if isinstance(node, str) else None,
        frozenset(_texts(package.get("dependencies")) | _texts(package.get("devDependencies"))),
        why,
    )


def run_script(project: Project, script: str) -> list[str]:
    """The argv that runs a script of the project."""
    manager = project.manager
    if manager in _NODE_MANAGERS:
        return [str(manager), "run", script]
    if manager == "deno":
        return ["deno", "task", script]
    return ["/bin/sh", "-c", project.scripts[script]]


def _manager(folder: Path) -> tuple[ManagerName | None, str]:
    if (folder / "package.json").is_file():
        for name, manager in LOCKS.items():
            if manager in _NODE_MANAGERS and (folder / name).is_file():
                return manager, f"{name} is there"
    deno = next((n for n in ("deno.json", "deno.jsonc") if (folder / n).is_file()), None)
    if deno is not None:
        return "deno", f"{deno} is there"
    if (folder / "package.json").is_file():
        return _by_field(folder)
    return _python_manager(folder)


def _by_field(folder: Path) -> tuple[ManagerName | None, str]:
    try:
        field_ = _package(folder).get("packageManager")
    except ManifestError:
        field_ = None
    if isinstance(field_, str):
        name = field_.split("@", 1)[0]
        for manager in get_args(ManagerName):
            if name == manager and manager in _NODE_MANAGERS:
                return manager, "package.json names it"
    return "npm", "package.json is there"


def _python_manager(folder: Path) -> tuple[ManagerName | None, str]:
    for name, manager in LOCKS.items():
        if RUNTIMES[manager] == "python" and (folder / name).is_file():
            return manager, f"{name} is there"
    if (folder / "pyproject.toml").is_file():
        try:
            tools = _toml(folder / "pyproject.toml").get("tool", {})
        except ManifestError:
            tools = {}
        if "poetry" in tools:
            return "poetry", "pyproject.toml has [tool.poetry]"
        if "uv" in tools:
            return "uv", "pyproject.toml has [tool.uv]"
        return "pip", "pyproject.toml is there"
    if (folder / "requirements.txt").is_file():
        return "pip", "requirements.txt is there"
    return None, ""


def _python_scripts(folder: Path, manager: ManagerName) -> dict[str, str]:
    """What starts a Python app: a Procfile's `web`, Django's manage.py, ASGI or Flask modules."""
    run = {"uv": "uv run --no-sync ", "poetry": "poetry run "}.get(manager, ".venv/bin/")
    python = f"{run}python"
    procfile = folder / "Procfile"
    if procfile.is_file():
        for line in _text(procfile).splitlines():
            name, colon, rest = line.partition(":")
            if colon and name.strip() == "web" and rest.strip():
                return {"dev": f'PATH="$PWD/.venv/bin:$PATH" {rest.strip()}'}
    if (folder / "manage.py").is_file():
        return {"dev": f'{python} manage.py runserver "$HOST:$PORT"'}
    for name in ("main.py", "app.py", "src/main.py", "app/main.py", "wsgi.py", "asgi.py"):
        if not (folder / name).is_file():
            continue
        source = _text(folder / name)
        module = name.removesuffix(".py").replace("/", ".")
        if found := re.search(
            r"^(\w+)\s*=\s*(?:\w+\.)?(?:FastAPI|Starlette|Litestar)\(", source, re.MULTILINE
        ):
            serve = f'-m uvicorn {module}:{found[1]} --reload --host "$HOST" --port "$PORT"'
            return {"dev": f"{python} {serve}"}
        if found := re.search(r"^(\w+)\s*=\s*(?:\w+\.)?Flask\(", source, re.MULTILINE):
            serve = f'-m flask --app {module}:{found[1]} run --debug --host "$HOST" --port "$PORT"'
            return {"dev": f"{python} {serve}"}
    return {}


def _package(folder: Path) -> dict[str, Any]:
    path = folder / "package.json"
    if not path.is_file():
        return {}
    return _object(path, _text(path))


def _tasks(folder: Path) -> dict[str, str]:
    for name in ("deno.json", "deno.jsonc"):
        path = folder / name
        if path.is_file():
            plain = _COMMENT.sub(lambda m: m[1] or "", _text(path))
            tasks = _object(path, _TRAILING_COMMA.sub(r"\1", plain)).get("tasks")
            if isinstance(tasks, dict):
                return {
                    name: task if isinstance(task, str) else str(task.get("command", ""))
                    for name, task in tasks.items()
                    if isinstance(task, str | dict)
                }
    return {}


def _object(path: Path, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ManifestError(f"{path.name} is not a JSON object")
    return found


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except ValueError as error:
        raise ManifestError(f"{path.name} is not TOML: {error}") from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_MANIFEST_BYTES).decode(errors="replace")
    except OSError as error:
        raise ManifestError(f"{path.name} cannot be read: {error.strerror}") from error


def _texts(found: object) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    return {str(name): value for name, value in found.items() if isinstance(value, str)}
