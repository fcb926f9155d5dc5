"""Scripts of a package.json that need nothing of npm, run as `npm run` runs them.

npm is a program that takes a good quarter of a second before a script of it begins. To most scripts
it gives a shell, a PATH and a few variables (npm's documentation, 'scripts'); those are given here.
What asks for more is npm's to run: docs/decisions/0034-scripts-without-npm.md.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from limpet.daemon.setup.detect import Project
from limpet.daemon.setup.manifests import ManifestError, package_json, read_text

_CHANGES_RUNS: Final = frozenset(
    {"script-shell", "node-options", "workspace", "workspaces", "prefix", "dry-run"}
)
"""npm's settings that make it run a script otherwise."""
_SETTING: Final = re.compile(r"^[ \t]*([A-Za-z_-]+)(?:\[\])?[ \t\r]*(?:=|$)", re.MULTILINE)
_GIVEN: Final = re.compile(r"\bnpm_(?:lifecycle_event|package_name|package_version|package_json)\b")
_ASKS_MORE: Final = ("config", "devEngines")
"""Members of a package.json that reach a script, or keep it from running, through npm alone."""


def variables(project: Project, script: str, env: Mapping[str, str]) -> dict[str, str] | None:
    """What npm would give a script beside PATH; None when npm itself is to run it.

    `env` is what the script runs with. Blocking, but quick.
    """
    text = project.scripts.get(script)
    if (
        project.manager != "npm"
        or project.runtime != "node"
        or text is None
        or script in project.commands
        or any(f"{when}{script}" in project.scripts for when in ("pre", "post"))
        or "npm_" in _GIVEN.sub("", text)
        or any(_name_of(name) in _CHANGES_RUNS for name in env if _is_setting(name))
    ):
        return None
    try:
        package = package_json(project.folder)
        if any(name in package for name in _ASKS_MORE) or _is_configured(project, env):
            return None
    except ManifestError:
        return None  # npm says what is wrong
    return {
        "npm_lifecycle_event": script,
        "npm_lifecycle_script": text,
        "npm_package_json": str(project.folder / "package.json"),
        "npm_package_name": _text(package.get("name")),
        "npm_package_version": _text(package.get("version")),
        "INIT_CWD": str(project.folder),
    }


def _is_configured(project: Project, env: Mapping[str, str]) -> bool:
    """Whether a `.npmrc` of the project or of the user changes how scripts run."""
    folders = {project.folder, project.root}
    if env.get("HOME"):
        folders.add(Path(env["HOME"]))
    files = [path for folder in folders if (path := folder / ".npmrc").is_file()]
    names = (name for path in files for name in _SETTING.findall(read_text(path)))
    return any(name.lower().replace("_", "-") in _CHANGES_RUNS for name in names)


def _is_setting(variable: str) -> bool:
    return variable.lower().startswith("npm_config_")


def _name_of(variable: str) -> str:
    return variable.lower().removeprefix("npm_config_").replace("_", "-")


def _text(found: Any) -> str:
    return found if isinstance(found, str) else ""
