"""What a folder is taken for, by its files and by what is configured."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from limpet.daemon.config_model import Application, PackageManager
from limpet.daemon.setup.detect import detect, run_script


def made(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "manager", "runtime"),
    [
        ({"package.json": "{}"}, "npm", "node"),
        ({"package.json": "{}", "package-lock.json": "{}"}, "npm", "node"),
        ({"package.json": "{}", "pnpm-lock.yaml": ""}, "pnpm", "node"),
        ({"package.json": "{}", "yarn.lock": "", "package-lock.json": ""}, "yarn", "node"),
        ({"package.json": "{}", "bun.lock": "", "yarn.lock": ""}, "bun", "bun"),
        ({"package.json": "{}", "bun.lockb": ""}, "bun", "bun"),
        ({"package.json": '{"packageManager": "pnpm@9.1.0"}'}, "pnpm", "node"),
        ({"deno.json": "{}", "package.json": "{}"}, "deno", "deno"),
        ({"deno.jsonc": "{}"}, "deno", "deno"),
        ({"pyproject.toml": "[project]\nname='x'"}, "pip", "python"),
        ({"pyproject.toml": "[tool.poetry]\n"}, "poetry", "python"),
        ({"pyproject.toml": "", "uv.lock": ""}, "uv", "python"),
        ({"requirements.txt": "flask"}, "pip", "python"),
        ({"package.json": "{}", "requirements.txt": ""}, "npm", "node"),
        ({"README.md": ""}, None, None),
        ({"pnpm-lock.yaml": ""}, None, None),
    ],
)
def test_the_manager_is_told_by_lock_then_manifest(
    tmp_path: Path, files: dict[str, str], manager: str | None, runtime: str | None
) -> None:
    project = detect(made(tmp_path, files))
    assert (project.manager, project.runtime) == (manager, runtime)


def test_what_is_configured_goes_first(tmp_path: Path) -> None:
    made(tmp_path, {"package.json": "{}", "yarn.lock": "", "web/package.json": "{}"})
    manager = PackageManager(name="pnpm", path="web")
    project = detect(tmp_path, Application(package_manager=manager, runtime="bun"))
    assert (project.manager, project.runtime) == ("pnpm", "bun")
    assert project.folder == tmp_path / "web"


@pytest.mark.parametrize(
    ("scripts", "starter"),
    [({"dev": "a", "start": "b"}, "dev"), ({"start": "b"}, "start"), ({"build": "c"}, None)],
)
def test_dev_goes_before_start(tmp_path: Path, scripts: dict[str, str], starter: str) -> None:
    project = detect(made(tmp_path, {"package.json": json.dumps({"scripts": scripts})}))
    assert project.starter == starter


def test_a_manifest_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for text in ("{", "[]", "{" * 100_000):
        project = detect(made(tmp_path, {"package.json": text}))
        assert "package.json is not" in project.problem
        assert project.manager == "npm"


def test_deno_tasks_are_read_past_comments(tmp_path: Path) -> None:
    text = '{ // the tasks\n "tasks": {"dev": "deno run a.ts", /* x */ "b": {"command": "c"},} }'
    project = detect(made(tmp_path, {"deno.jsonc": text}))
    assert dict(project.scripts) == {"dev": "deno run a.ts", "b": "c"}
    assert run_script(project, "dev") == ["deno", "task", "dev"]


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"manage.py": ""}, 'python manage.py runserver "$HOST:$PORT"'),
        ({"main.py": "api = FastAPI()\n"}, "-m uvicorn main:api"),
        ({"app.py": "import flask\napp = flask.Flask(__name__)\n"}, "-m flask --app app:app"),
        ({"Procfile": "worker: x\nweb: gunicorn a:b\n"}, "gunicorn a:b"),
    ],
)
def test_python_apps_are_started_by_what_they_are(
    tmp_path: Path, files: dict[str, str], command: str
) -> None:
    project = detect(made(tmp_path, {"requirements.txt": "", **files}))
    assert command in project.scripts["dev"]


def test_odd_scripts_are_left_out(tmp_path: Path) -> None:
    project = detect(made(tmp_path, {"package.json": '{"scripts": {"dev": 1, "a": "b"}}'}))
    assert dict(project.scripts) == {"a": "b"}
