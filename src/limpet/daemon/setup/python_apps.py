"""What starts a Python app: a Procfile, Django's manage.py, an ASGI or Flask module, a script of
pyproject.toml. Blocking.
"""

import re
from pathlib import Path
from typing import Final

from limpet.daemon.config_model import ManagerName
from limpet.daemon.setup.manifests import below, pyproject, read_text, texts

_RUNS: Final[dict[ManagerName, str]] = {"uv": "uv run --no-sync ", "poetry": "poetry run "}
_MODULES: Final = (
    "main.py", "app.py", "server.py", "api.py", "wsgi.py", "asgi.py",
    "app/main.py", "app/__init__.py", "src/main.py", "src/app.py", "api/main.py", "backend/main.py",
)  # fmt: skip
_ASGI: Final = re.compile(
    r"^(\w+)(?:\s*:[^=\n]+)?\s*=\s*(?:\w+\.)?(?:FastAPI|Starlette|Litestar)\(", re.MULTILINE
)
_FLASK: Final = re.compile(r"^(\w+)(?:\s*:[^=\n]+)?\s*=\s*(?:\w+\.)?Flask\(", re.MULTILINE)
_FLASK_FACTORY: Final = re.compile(r"^def (create_app|make_app)\(", re.MULTILINE)


def python_scripts(folder: Path, manager: ManagerName) -> dict[str, str]:
    """The app's scripts as commands of a shell that has the environment's programs in its PATH."""
    run = _RUNS.get(manager, "")
    project = pyproject(folder)
    declared = {
        **texts(below(project, "tool", "poetry", "scripts")),
        **texts(below(project, "project", "scripts")),
    }
    scripts = {name: f"{run}{name}" for name in declared}
    starter = _starter(folder, f"{run}python")
    if starter is not None and not {"dev", "start"} & scripts.keys():
        scripts["dev"] = starter
    return scripts


def _starter(folder: Path, python: str) -> str | None:
    procfile = folder / "Procfile"
    if procfile.is_file():
        for line in read_text(procfile).splitlines():
            name, colon, rest = line.partition(":")
            if colon and name.strip() == "web" and rest.strip():
                return rest.strip()
    if (folder / "manage.py").is_file():
        return f'{python} manage.py runserver "$HOST:$PORT"'
    for name in _MODULES:
        path = folder / name
        if not path.is_file():
            continue
        source = read_text(path)
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if found := _ASGI.search(source):
            serve = f'-m uvicorn {module}:{found[1]} --reload --host "$HOST" --port "$PORT"'
            return f"{python} {serve}"
        if (found := _FLASK.search(source)) or (found := _FLASK_FACTORY.search(source)):
            serve = f'-m flask --app {module}:{found[1]} run --debug --host "$HOST" --port "$PORT"'
            return f"{python} {serve}"
    return None
