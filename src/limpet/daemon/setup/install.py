"""Installing a project's dependencies, or saying why that is not needed.

`npm install` and not `npm ci` (docs/decisions/0008): it mends a tree that is there in
place of deleting it first, it goes on when lock and manifest disagree, and with a lock in sync it
changes nothing.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from limpet.daemon.children import child_environment, run_child
from limpet.daemon.config_store import ConfigStore
from limpet.daemon.settings import DaemonSettings
from limpet.daemon.setup.detect import Project
from limpet.daemon.setup.mark import (
    begin,
    end,
    fingerprint,
    mark_installed,
    remove_cut_off,
    was_cut_off,
    why_install,
)
from limpet.daemon.setup.steps import StepFailedError, Tail
from limpet.daemon.setup.toolchain import Toolchain, look

COMMANDS: Final[dict[str, list[list[str]]]] = {
    "npm": [["npm", "install", "--no-audit", "--no-fund"]],
    "pnpm": [["pnpm", "install"]],
    "yarn": [["yarn", "install"]],
    "bun": [["bun", "install"]],
    "uv": [["uv", "sync"]],
    "poetry": [["poetry", "install", "--no-interaction"]],
}
_ENVIRONMENT: Final = {
    "npm_config_update_notifier": "false",
    "npm_config_yes": "true",
    "POETRY_VIRTUALENVS_IN_PROJECT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "YARN_ENABLE_TELEMETRY": "0",
    "DISABLE_OPENCOLLECTIVE": "1",
    "ADBLOCK": "1",
}

_KILLED_FROM: Final = 128
"""Codes of commands that a signal ended."""

Say = Callable[[str], None]


def tools_folder(settings: DaemonSettings) -> Path:
    """Where tools go that belong to the sandbox: saved with it, and first in a project's PATH."""
    return settings.home / ".local" / "bin"


def project_environment(settings: DaemonSettings, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a project's installs and scripts."""
    env = child_environment(settings, extra)
    env["PATH"] = f"{tools_folder(settings)}{os.pathsep}{env['PATH']}"
    return env


class Install:
    """One install of one project. `say` is the setup log."""

    def __init__(
        self, settings: DaemonSettings, config: ConfigStore, project: Project, say: Say
    ) -> None:
        self._settings = settings
        self._project = project
        self._say = say
        self._env = project_environment(settings, {**config.env, **_ENVIRONMENT})
        self._toolchain = Toolchain()

    async def why(self) -> str | None:
        """Why an install is needed; None when it is not. `StepFailedError` when it cannot be."""
        project = self._project
        if project.problem:
            raise StepFailedError("install-failed", project.problem)
        if project.manager is None:
            self._say("Nothing to install: no manifest that we know.\n")
            return None
        if project.manifest is None:
            self._say(f"Nothing to install: {project.manager} finds no manifest here.\n")
            return None
        await self._enable_corepack()
        self._toolchain = await look(project, project.folder, self._env)
        if self._toolchain.problem:
            raise StepFailedError("install-failed", self._toolchain.problem)
        if project.vouched_for is None:
            self._say(f"Nothing to install: {project.manager} fetches what it needs by itself.\n")
            return None
        why = await asyncio.to_thread(self._why)
        if why is None:
            self._say(f"Install skipped: {project.vouched_for.name} is from this very state.\n")
        return why

    async def run(self, why: str) -> None:
        """Install; `StepFailedError` holds the failing command's last output."""
        project = self._project
        self._say(f"Installing with {project.manager} ({project.why}): {why}.\n")
        if await asyncio.to_thread(was_cut_off, project):
            assert project.vouched_for is not None
            self._say(f"{project.vouched_for.name} is half made: it is made anew.\n")
            scratch = self._settings.app_root / "tmp"
            await asyncio.to_thread(remove_cut_off, project, scratch)
        await asyncio.to_thread(begin, project)
        for argv in self._commands():
            tail = Tail()

            def heard(text: str, tail: Tail = tail) -> None:
                tail.add(text)
                self._say(text)

            shown = " ".join(argv)
            self._say(f"$ {shown}\n")
            code = await run_child(
                argv,
                cwd=project.folder,
                env=self._env,
                on_output=heard,
                drop_to=self._settings.drop_to,
            )
            if code < _KILLED_FROM:
                await asyncio.to_thread(end, project)
            if code != 0:
                said = f":\n{tail.text()}" if tail.text() else ""
                raise StepFailedError("install-failed", f"`{shown}` ended with code {code}{said}")
        await asyncio.to_thread(self._mark)
        self._say("Installed.\n")

    def _why(self) -> str | None:
        repo = self._settings.repo
        return why_install(self._project, fingerprint(self._project, repo, self._toolchain.runtime))

    def _mark(self) -> None:
        repo = self._settings.repo
        mark_installed(self._project, fingerprint(self._project, repo, self._toolchain.runtime))

    def _commands(self) -> list[list[str]]:
        project = self._project
        if project.manager != "pip":
            return COMMANDS[str(project.manager)]
        python = str(project.folder / ".venv" / "bin" / "python")
        what = ["-r", "requirements.txt"] if project.manifest == "requirements.txt" else ["-e", "."]
        return [
            ["python3", "-m", "venv", ".venv"],
            [python, "-m", "pip", "install", *what],
        ]

    async def _enable_corepack(self) -> None:
        """Let Node bring pnpm or yarn along where it can; best effort."""
        manager = self._project.manager
        path = self._env.get("PATH")
        if manager not in {"pnpm", "yarn"} or shutil.which(manager, path=path):
            return
        if shutil.which("corepack", path=path):
            tools = tools_folder(self._settings)
            await asyncio.to_thread(tools.mkdir, parents=True, exist_ok=True)
            await run_child(
                ["corepack", "enable", "--install-directory", str(tools), manager],
                cwd=self._project.folder,
                env=self._env,
                on_output=self._say,
                timeout_s=30,
            )
