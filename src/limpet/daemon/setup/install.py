"""Installing a project's dependencies, or saying why that is not needed.

`npm install` and not `npm ci` (docs/decisions/0008): it mends a tree that is there in
place of deleting it first, it goes on when lock and manifest disagree, and with a lock in sync it
changes nothing.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from limpet.daemon.children import child_environment, run_child
from limpet.daemon.config_store import ConfigStore
from limpet.daemon.settings import DaemonSettings
from limpet.daemon.setup.detect import Project
from limpet.daemon.setup.mark import (
    Fingerprint,
    begin,
    end,
    fingerprint,
    is_foreign,
    mark_installed,
    remove,
    was_cut_off,
    why_install,
)
from limpet.daemon.setup.steps import StepFailedError, Tail
from limpet.daemon.setup.toolchain import Toolchain, look
from limpet.daemon.setup.workspaces import members

COMMANDS: Final[dict[str, list[str]]] = {
    "npm": ["npm", "install", "--no-audit", "--no-fund"],
    "pnpm": ["pnpm", "install", "--no-frozen-lockfile"],
    "yarn": ["yarn", "install"],
    "bun": ["bun", "install"],
    "uv": ["uv", "sync"],
    "poetry": ["poetry", "install", "--no-interaction"],
}
_ENVIRONMENT: Final = {
    "npm_config_update_notifier": "false",
    "npm_config_yes": "true",
    "POETRY_VIRTUALENVS_IN_PROJECT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "YARN_ENABLE_TELEMETRY": "0",
    # A lock that does not fit is brought into step, as npm does, also where CI is set.
    "YARN_ENABLE_IMMUTABLE_INSTALLS": "0",
    "DISABLE_OPENCOLLECTIVE": "1",
    "ADBLOCK": "1",
    "UV_NO_PROGRESS": "1",
}
_ALWAYS: Final = {
    # pnpm from 11 on fails an install whose packages have build scripts that nobody has allowed or
    # forbidden yet: they stay unrun and are told, as before.
    "pnpm_config_strict_dep_builds": "false",
    # Installing is our step's, which says why: a script that is run does not do it by itself.
    "pnpm_config_verify_deps_before_run": "false",
    "pnpm_config_confirm_modules_purge": "false",
}


@dataclass(frozen=True, slots=True)
class Mend:
    """What to do about a failure that says `said`: run `first`, then the command with `more`."""

    said: str
    why: str
    first: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


MENDS: Final[dict[str, tuple[Mend, ...]]] = {
    "poetry": (
        Mend(
            "changed significantly since poetry.lock",
            "poetry.lock does not fit pyproject.toml: it is written anew",
            first=("poetry", "lock", "--no-interaction"),
        ),
        Mend(
            "current project could not be installed",
            "the project itself is no package: its dependencies alone are installed",
            more=("--no-root",),
        ),
    ),
}
_FULL: Final = ("enospc", "no space left on device", "disk quota exceeded", "os error 28")
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
    for name, value in _ALWAYS.items():
        env.setdefault(name, value)
    return env


class Install:
    """One install of one project. `say` is the setup log."""

    def __init__(
        self, settings: DaemonSettings, config: ConfigStore, project: Project, say: Say
    ) -> None:
        self._settings = settings
        self._project = project
        self._say = say
        self._masks = config.masks
        self._env = project_environment(settings, {**config.env, **_ENVIRONMENT})
        if project.manager == "pnpm":  # as it is called up to 10; npm would complain of it
            self._env.setdefault("npm_config_confirm_modules_purge", "false")
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
        self._toolchain = await look(project, project.root, self._env, self._settings.drop_to)
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
        if project.root != project.folder:
            below = project.root.relative_to(self._settings.repo)
            self._say(
                f"The lock of this package is in {str(below) if below.parts else 'the root'}.\n"
            )
        if reason := await asyncio.to_thread(self._why_anew):
            assert project.vouched_for is not None
            self._say(f"{project.vouched_for.name} {reason}: it is made anew.\n")
            scratch = self._settings.app_root / "tmp"
            await asyncio.to_thread(remove, project, scratch)
        await asyncio.to_thread(begin, project)
        for argv in self._commands():
            await self._run(argv)
        await asyncio.to_thread(self._mark)
        self._say("Installed.\n")

    async def _run(self, argv: list[str]) -> None:
        """One command, and what mends it where we know that."""
        mends = list(MENDS.get(str(self._project.manager), ()))
        while True:
            code, said = await self._try(argv)
            if code == 0:
                return
            mend = next((one for one in mends if one.said in said), None)
            if mend is None:
                raise StepFailedError("install-failed", await self._failure(argv, code, said))
            mends.remove(mend)
            self._say(f"{mend.why}.\n")
            if mend.first:
                code, said = await self._try(list(mend.first))
                if code != 0:
                    reason = await self._failure(list(mend.first), code, said)
                    raise StepFailedError("install-failed", reason)
            argv = [*argv, *mend.more]

    async def _try(self, argv: list[str]) -> tuple[int, str]:
        """The command's code and its last words."""
        tail = Tail()

        def heard(text: str) -> None:
            tail.add(text)
            self._say(text)

        self._say(f"$ {' '.join(argv)}\n")
        masked = self._masks.filtered(heard)
        try:
            code = await run_child(
                argv,
                cwd=self._project.root,
                env=self._env,
                on_output=masked,
                drop_to=self._settings.drop_to,
            )
        finally:
            masked.close()
        if code < _KILLED_FROM:
            await asyncio.to_thread(end, self._project)
        return code, tail.text()

    async def _failure(self, argv: list[str], code: int, said: str) -> str:
        head = f"`{' '.join(argv)}` ended with code {code}"
        if any(word in said.lower() for word in _FULL):
            head = f"The disk is full ({await asyncio.to_thread(self._space)}): {head}"
        return f"{head}:\n{said}" if said else head

    def _space(self) -> str:
        found = shutil.disk_usage(self._settings.app_root)
        return f"{found.free / 1e6:.0f} of {found.total / 1e6:.0f} MB are free"

    def _why_anew(self) -> str | None:
        """Why what is there is no good to begin from."""
        if was_cut_off(self._project):
            return "is half made"
        if is_foreign(self._project, self._now()):
            return "is of no use here"
        return None

    def _now(self) -> Fingerprint:
        return fingerprint(self._project, self._settings.repo, self._toolchain.runtime)

    def _why(self) -> str | None:
        return why_install(self._project, self._now())

    def _mark(self) -> None:
        mark_installed(self._project, self._now())

    def _commands(self) -> list[list[str]]:
        project = self._project
        if project.manager == "uv" and members(project.root):
            return [[*COMMANDS["uv"], "--all-packages"]]
        if project.manager != "pip":
            return [COMMANDS[str(project.manager)]]
        python = str(project.root / ".venv" / "bin" / "python")
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
            script = 'mkdir -p "$1" && exec corepack enable --install-directory "$@"'
            await run_child(
                ["/bin/sh", "-c", script, "sh", str(tools), manager],
                cwd=self._project.root,
                env=self._env,
                on_output=self._say,
                timeout_s=30,
                drop_to=self._settings.drop_to,
            )
