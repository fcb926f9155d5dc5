"""What kind of project a folder holds: package manager, runtime, scripts, and what starts it. Pure
but for reading files; blocking.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, get_args

from limpet.daemon.config_model import Application, ManagerName, Runtime
from limpet.daemon.setup.manifests import (
    ManifestError,
    below,
    deno_json,
    package_json,
    pyproject,
    read_text,
    texts,
    yaml_value,
)
from limpet.daemon.setup.python_apps import python_scripts
from limpet.daemon.setup.workspaces import members, root_of

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
STATIC_PAGES: Final = ("index.html", "public/index.html")
_NODE_MANAGERS: Final = frozenset({"npm", "pnpm", "yarn", "bun"})


@dataclass(frozen=True, slots=True)
class Project:
    """What was found. `folder` is where scripts run, `root` where the lock is and installs run: the
    same but in a package of a monorepo. `manager` is None where there is nothing to install.

    `scripts` maps names to commands; those in `commands` are a shell's, the others the package
    manager's. `site` is a folder of plain files to serve. `engines_node` is what package.json asks
    of Node, `pinned` its packageManager. `why` says what the package manager was told by, `notice`
    what was chosen among several. `problem` is a manifest that cannot be read.
    """

    folder: Path
    root: Path
    manager: ManagerName | None = None
    runtime: Runtime | None = None
    manifest: str | None = None
    scripts: Mapping[str, str] = field(default_factory=dict)
    commands: frozenset[str] = frozenset()
    starter: str | None = None
    site: Path | None = None
    engines_node: str | None = None
    pinned: str | None = None
    dependencies: frozenset[str] = frozenset()
    pnp: bool = False
    why: str = ""
    notice: str = ""
    problem: str = ""

    @property
    def is_python(self) -> bool:
        """Whether it is installed into `.venv`."""
        return self.manager is not None and RUNTIMES[self.manager] == "python"

    @property
    def vouched_for(self) -> Path | None:
        """The folder that an install fills, and that holds its mark."""
        if self.manager is None or self.manager == "deno":
            return None
        if self.pnp:
            return self.root / ".yarn"
        return self.root / (".venv" if self.is_python else "node_modules")


def detect(repo: Path, application: Application | None = None) -> Project:
    """The project in `repo`; what is configured goes before what is found."""
    configured = application or Application()
    path = configured.package_manager.path
    project = _read(repo / (path or "."), repo, configured)
    if path is None and project.starter is None and not project.problem:
        project = _the_member_that_starts(project, repo, configured)
    if project.starter is None and not project.problem:
        return _plain_files(project)
    return project


def run_script(project: Project, script: str) -> list[str]:
    """The argv that runs a script of the project."""
    if script in project.commands:
        return ["/bin/sh", "-c", project.scripts[script]]
    if project.manager == "deno":
        return ["deno", "task", script]
    if project.manager == "bun" and project.runtime == "bun":
        return ["bun", "run", script]
    return [str(project.manager), "run", script]


def _read(folder: Path, repo: Path, configured: Application) -> Project:
    """The project of one folder, whatever starts it."""
    manager, why = configured.package_manager.name, "it is configured"
    root = root_of(folder, repo)
    if manager is None:
        manager, why = _manager(root)
    if manager is None and root != folder:
        root = folder
        manager, why = _manager(folder)
    project = Project(folder, root, manager, configured.runtime, why=why or "no manifest")
    try:
        if manager is not None:
            project = _with_manifest(project, manager)
    except ManifestError as error:
        return replace(project, problem=str(error))
    return _with_configured_starter(project, configured)


def _with_manifest(project: Project, manager: ManagerName) -> Project:
    folder, root = project.folder, project.root
    scripts: dict[str, str] = {}
    package: dict[str, Any] = {}
    commands: frozenset[str] = frozenset()
    if manager in _NODE_MANAGERS or manager == "deno":
        package = package_json(folder)
        scripts = texts(package.get("scripts"))
    if manager == "deno":
        scripts = {**scripts, **_tasks(folder)}
    if RUNTIMES[manager] == "python":
        scripts = python_scripts(folder, manager)
        commands = frozenset(scripts)
    node = below(package, "engines", "node")
    pinned = package_json(root).get("packageManager") if manager in _NODE_MANAGERS else None
    dependencies = texts(package.get("dependencies")) | texts(package.get("devDependencies"))
    return replace(
        project,
        runtime=project.runtime or RUNTIMES[manager],
        manifest=next((name for name in MANIFESTS[manager] if (root / name).is_file()), None),
        scripts=scripts,
        commands=commands,
        starter=next((name for name in STARTERS if name in scripts), None),
        engines_node=node if isinstance(node, str) else None,
        pinned=pinned if isinstance(pinned, str) else None,
        dependencies=frozenset(dependencies),
        pnp=manager == "yarn" and _plugs_and_plays(root, pinned),
    )


def _with_configured_starter(project: Project, configured: Application) -> Project:
    if configured.command is not None:
        return replace(
            project,
            scripts={**project.scripts, "dev": configured.command},
            commands=project.commands | {"dev"},
            starter="dev",
        )
    if configured.script is None:
        return project
    if configured.script in project.scripts:
        return replace(project, starter=configured.script)
    have = ", ".join(list(project.scripts)[:20]) or "none"
    return replace(
        project,
        starter=None,
        problem=f"application.script names {configured.script!r}, which is no script (there are: "
        f"{have}).",
    )


def _the_member_that_starts(project: Project, repo: Path, configured: Application) -> Project:
    """The one package of a monorepo that can be started; the root itself where there are others."""
    root = project.folder
    for wanted in STARTERS:
        found = [
            one
            for folder in members(root)
            if (one := _read(folder, repo, configured)).starter == wanted and not one.problem
        ]
        names = [str(one.folder.relative_to(root)) for one in found]
        if len(found) == 1:
            only = f"{names[0]} is the one package with a '{wanted}' script: it is started."
            return replace(found[0], notice=only)
        if found:
            return replace(
                project,
                notice=f"Several packages have a '{wanted}' script ({', '.join(names[:10])}): "
                "configure application.packageManager.path.",
            )
    return project


def _plain_files(project: Project) -> Project:
    """A site of plain files, where nothing else starts one."""
    if project.notice:
        return project
    for name in STATIC_PAGES:
        page = project.folder / name
        if page.is_file():
            return replace(
                project,
                scripts={**project.scripts, "dev": f"serve {name}"},
                starter="dev",
                site=page.parent,
                notice=f"No script starts it: {name} and what lies beside it are served as they "
                "are.",
            )
    return project


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
        field_ = package_json(folder).get("packageManager")
    except ManifestError:
        field_ = None
    if isinstance(field_, str):
        name = field_.split("@", 1)[0]
        for manager in get_args(ManagerName):
            if name == manager and manager in _NODE_MANAGERS:
                return manager, "package.json names it"
    if (folder / "pnpm-workspace.yaml").is_file():
        return "pnpm", "pnpm-workspace.yaml is there"
    return "npm", "package.json is there"


def _python_manager(folder: Path) -> tuple[ManagerName | None, str]:
    for name, manager in LOCKS.items():
        if RUNTIMES[manager] == "python" and (folder / name).is_file():
            return manager, f"{name} is there"
    if (folder / "pyproject.toml").is_file():
        try:
            tools = pyproject(folder).get("tool", {})
        except ManifestError:
            tools = {}
        if "poetry" in tools:
            return "poetry", "pyproject.toml has [tool.poetry]"
        if "uv" in tools:
            return "uv", "pyproject.toml has [tool.uv]"
        if (folder / "requirements.txt").is_file():
            return "pip", "requirements.txt is there"
        return "pip", "pyproject.toml is there"
    if (folder / "requirements.txt").is_file():
        return "pip", "requirements.txt is there"
    return None, ""


def _tasks(folder: Path) -> dict[str, str]:
    tasks = deno_json(folder).get("tasks")
    if not isinstance(tasks, dict):
        return {}
    return {
        name: task if isinstance(task, str) else str(task.get("command", ""))
        for name, task in tasks.items()
        if isinstance(task, str | dict)
    }


def _plugs_and_plays(root: Path, pinned: object) -> bool:
    """Whether yarn installs without node_modules: from version 2 on, unless told otherwise."""
    settings = root / ".yarnrc.yml"
    lock = root / "yarn.lock"
    berry = settings.is_file() or (
        isinstance(pinned, str) and not pinned.startswith(("yarn@1.", "yarn@0."))
    )
    if not berry and not (lock.is_file() and "\n__metadata:" in read_text(lock)[:2000]):
        return False
    linker = yaml_value(settings, "nodeLinker") if settings.is_file() else None
    return linker in {None, "pnp"}
