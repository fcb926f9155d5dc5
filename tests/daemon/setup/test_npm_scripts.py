"""A script that npm is not started for gets what npm would give it; others are left to npm."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from limpet.daemon.setup.detect import Project, detect
from limpet.daemon.setup.npm_scripts import variables
from tests.daemon.setup.conftest import StartDaemon
from tests.daemon.setup.projects import SERVER_JS, setup_log, state, wait_phase

PACKAGE = {"name": "shop", "version": "1.2.3", "scripts": {"dev": "node server.js"}}


def project(folder: Path, package: object, **files: str) -> Project:
    (folder / "package.json").write_text(json.dumps(package))
    for name, text in files.items():
        (folder / f".{name}").write_text(text)
    return detect(folder)


def with_script(text: str, **more: str) -> dict[str, object]:
    return {**PACKAGE, "scripts": {"dev": text, **more}}


@pytest.mark.parametrize(
    "text",
    [
        "vite",
        "FOO=1 node a.js && echo $npm_package_version",
        "sh -c 'vite --port $PORT'",
        "npm-x y",
    ],
)
def test_a_plain_script_needs_no_npm(tmp_path: Path, text: str) -> None:
    given = variables(project(tmp_path, with_script(text)), "dev", {"HOME": str(tmp_path)})
    assert given is not None
    assert given["npm_lifecycle_script"] == text


@pytest.mark.parametrize(
    "package",
    [
        with_script("vite", predev="tsc"),
        with_script("vite", postdev="tsc"),
        with_script("node a.js --port $npm_package_config_port"),
        with_script("$npm_execpath run build"),
        {**PACKAGE, "config": {"port": "3000"}},
        {**PACKAGE, "devEngines": {"runtime": {"name": "node", "version": "99"}}},
    ],
)
def test_what_asks_for_more_is_left_to_npm(tmp_path: Path, package: object) -> None:
    assert variables(project(tmp_path, package), "dev", {}) is None


@pytest.mark.parametrize(
    "settings",
    ["script-shell=/bin/bash\n", "; mine\nnode-options = --inspect", "workspaces\n", "prefix=x"],
)
def test_settings_of_npm_that_change_runs_are_heeded(tmp_path: Path, settings: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    plain = project(tmp_path, PACKAGE, npmrc="save-exact=true\n//registry.test/:_authToken=x\n")
    assert variables(plain, "dev", {"HOME": str(home)}) is not None
    (home / ".npmrc").write_text(settings)
    assert variables(plain, "dev", {"HOME": str(home)}) is None
    (home / ".npmrc").unlink()
    assert variables(project(tmp_path, PACKAGE, npmrc=settings), "dev", {}) is None


def test_settings_in_variables_are_heeded(tmp_path: Path) -> None:
    plain = project(tmp_path, PACKAGE)
    assert variables(plain, "dev", {"npm_config_cache": "/c", "NPM_CONFIG_LOGLEVEL": "warn"})
    assert variables(plain, "dev", {"NPM_CONFIG_SCRIPT_SHELL": "/bin/bash"}) is None


@pytest.mark.parametrize("lock", ["pnpm-lock.yaml", "yarn.lock", "bun.lock"])
def test_other_managers_run_their_own_scripts(tmp_path: Path, lock: str) -> None:
    (tmp_path / lock).write_text("")
    assert variables(project(tmp_path, PACKAGE), "dev", {}) is None


def test_what_is_given_is_what_npm_gives(tmp_path: Path) -> None:
    """Told by npm itself, which runs the same script."""
    printing = "node -e 'console.log(JSON.stringify(process.env))'"
    given = variables(project(tmp_path, with_script(printing)), "dev", {})
    assert given is not None
    told: Mapping[str, str] = json.loads(
        subprocess.run(
            ["npm", "run", "--silent", "dev"],
            cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    assert given == {name: told.get(name) for name in given}


def test_a_package_of_a_monorepo_has_the_programs_of_all_of_it(
    start_daemon: StartDaemon, repo: Path
) -> None:
    """npm links them into the root's folder, and is not there when the script runs."""
    made = {
        "package.json": {"workspaces": ["packages/*"]},
        "packages/shop/package.json": {
            **with_script("serve-it"), "dependencies": {"dep": "file:../../dep"},
        },
        "dep/package.json": {"name": "dep", "version": "1.0.0", "bin": {"serve-it": "serve.js"}},
    }  # fmt: skip
    for name, package in made.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(json.dumps(package))
    told = "process.env.npm_lifecycle_event, process.env.npm_package_version, process.env.INIT_CWD"
    (repo / "dep/serve.js").write_text(f"#!/usr/bin/env node\nconsole.log({told});\n{SERVER_JS}")
    with start_daemon() as daemon:
        daemon.post("/config", {})
        wait_phase(daemon, "running")
        said = setup_log(daemon, "dev")
        assert f"dev 1.2.3 {repo}/packages/shop" in said
        assert "> shop@1.2.3" not in said
        (task,) = state(daemon, "tasks")["active"]
        assert task["command"] == "npm run dev"
