"""Monorepos, sites of plain files, and what is configured to start an app."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from limpet.daemon.config_model import Application, PackageManager
from limpet.daemon.setup.detect import Project, detect, run_script
from limpet.daemon.setup.workspaces import members, root_of

DEV = json.dumps({"scripts": {"dev": "vite"}})


def made(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def at(folder: Path, path: str) -> Project:
    return detect(folder, Application(package_manager=PackageManager(path=path)))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"package.json": '{"workspaces": ["apps/*"]}'}, ["apps/docs", "apps/web"]),
        ({"package.json": '{"workspaces": {"packages": ["apps/web"]}}'}, ["apps/web"]),
        ({"package.json": '{"workspaces": ["**", "!apps/docs"]}'}, ["apps/web", "libs/deep/one"]),
        (
            {"pnpm-workspace.yaml": "# ours\npackages:\n  - 'apps/*'\n  - \"!apps/docs\"\nx: 1\n"},
            ["apps/web"],
        ),
        ({"deno.json": '{"workspace": ["./apps/web"], /* more */}'}, ["apps/web"]),
        (
            {
                "pyproject.toml": '[tool.uv.workspace]\nmembers = ["apps/*"]\n'
                'exclude = ["apps/docs"]\n'
            },
            ["apps/web"],
        ),
        ({"package.json": '{"workspaces": ["../*", "/etc", 7]}'}, []),
        ({"package.json": "{}"}, []),
        ({"package.json": "no json"}, []),
    ],
)
def test_members_are_what_is_declared(
    tmp_path: Path, files: Mapping[str, str], found: list[str]
) -> None:
    made(tmp_path, files)
    made(tmp_path, {"apps/web/package.json": DEV, "apps/docs/package.json": "{}", "apps/x/y": ""})
    made(tmp_path, {"libs/deep/one/package.json": "{}", "apps/node_modules/a/package.json": "{}"})
    (tmp_path / "libs" / "loop").symlink_to("..")
    assert [str(one.relative_to(tmp_path)) for one in members(tmp_path)] == found


def test_a_member_is_installed_where_the_lock_is_and_started_where_it_lies(tmp_path: Path) -> None:
    made(tmp_path, {"package.json": '{"workspaces": ["apps/*"]}', "yarn.lock": ""})
    made(tmp_path, {"apps/web/package.json": DEV, "tools/own/package.json": DEV})
    project = at(tmp_path, "apps/web")
    assert (project.folder, project.root) == (tmp_path / "apps/web", tmp_path)
    assert (project.manager, project.why) == ("yarn", "yarn.lock is there")
    assert project.vouched_for == tmp_path / "node_modules"
    own = at(tmp_path, "tools/own")
    assert (own.root, own.manager) == (tmp_path / "tools/own", "npm")
    assert root_of(tmp_path / "apps/web", tmp_path) == tmp_path


def test_the_one_member_that_can_be_started_is_and_that_is_said(tmp_path: Path) -> None:
    made(tmp_path, {"package.json": '{"workspaces": ["apps/*"]}', "apps/lib/package.json": "{}"})
    made(tmp_path, {"apps/web/package.json": DEV})
    project = detect(tmp_path)
    assert (project.folder, project.root) == (tmp_path / "apps/web", tmp_path)
    assert "apps/web is the one package with a 'dev' script" in project.notice
    made(tmp_path, {"apps/api/package.json": '{"scripts": {"start": "x"}}'})
    assert detect(tmp_path).folder == tmp_path / "apps/web", "dev goes before start"
    made(tmp_path, {"apps/api/package.json": DEV})
    project = detect(tmp_path)
    assert project.starter is None
    assert "apps/api, apps/web" in project.notice
    assert "packageManager.path" in project.notice
    made(tmp_path, {"package.json": '{"workspaces": ["apps/*"], "scripts": {"dev": "turbo dev"}}'})
    assert detect(tmp_path).folder == tmp_path, "the root's own script goes first"


def test_python_members_share_the_roots_environment(tmp_path: Path) -> None:
    made(tmp_path, {"pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n'})
    made(tmp_path, {"packages/web/pyproject.toml": "", "packages/web/app.py": "app = Flask(1)\n"})
    project = detect(tmp_path)
    assert (project.folder, project.manager) == (tmp_path / "packages/web", "uv")
    assert project.vouched_for == tmp_path / ".venv"
    assert "uv run --no-sync python -m flask" in project.scripts["dev"]


def test_plain_files_are_served_where_nothing_else_starts(tmp_path: Path) -> None:
    assert detect(tmp_path).starter is None
    made(tmp_path, {"index.html": "hello"})
    project = detect(tmp_path)
    assert (project.site, project.starter, project.manager) == (tmp_path, "dev", None)
    made(tmp_path, {"package.json": '{"scripts": {"format": "prettier"}}'})
    assert detect(tmp_path).site == tmp_path
    assert list(detect(tmp_path).scripts) == ["format", "dev"]
    made(tmp_path, {"package.json": DEV})
    assert detect(tmp_path).site is None


def test_what_is_configured_starts_the_app(tmp_path: Path) -> None:
    made(tmp_path, {"package.json": '{"scripts": {"serve": "x", "dev": "y"}}'})
    project = detect(tmp_path, Application(script="serve"))
    assert project.starter == "serve"
    assert run_script(project, "serve") == ["npm", "run", "serve"]
    assert "no script (there are: serve, dev)" in (
        detect(tmp_path, Application(script="nope")).problem
    )
    project = detect(tmp_path, Application(command="node x.js"))
    assert run_script(project, "dev") == ["/bin/sh", "-c", "node x.js"]
    empty = detect(tmp_path / "repo", Application(command="./serve"))
    assert (empty.starter, empty.manager) == ("dev", None)


@pytest.mark.parametrize(
    ("files", "pnp"),
    [
        ({"yarn.lock": "# yarn lockfile v1\n"}, False),
        ({"yarn.lock": "# generated\n\n__metadata:\n  version: 8\n"}, True),
        ({"yarn.lock": "", ".yarnrc.yml": "nodeLinker: node-modules # as ever\n"}, False),
        ({"yarn.lock": "", ".yarnrc.yml": "enableTelemetry: false\n"}, True),
    ],
)
def test_yarn_without_node_modules_is_told(
    tmp_path: Path, files: Mapping[str, str], pnp: bool
) -> None:
    project = detect(made(tmp_path, {"package.json": "{}", **files}))
    assert project.pnp is pnp
    assert project.vouched_for == tmp_path / (".yarn" if pnp else "node_modules")


def test_scripts_of_pyproject_are_scripts(tmp_path: Path) -> None:
    text = '[project]\nname = "a"\n[project.scripts]\nserve = "a:main"\ndev = "a:dev"\n[tool.uv]\n'
    project = detect(made(tmp_path, {"pyproject.toml": text, "main.py": "app = FastAPI()\n"}))
    assert project.starter == "dev"
    assert run_script(project, "serve") == ["/bin/sh", "-c", "uv run --no-sync serve"]
