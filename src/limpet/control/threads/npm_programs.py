"""Programs that harnesses drive: installed once for all sandboxes of this machine, or in one."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from limpet.control.threads.npm_install import (
    INSTALL_TIMEOUT_S,
    ProgramMissingError,
    folder_name,
    install_command,
    why_not,
)
from limpet.harness.tools import NpmProgram, SandboxTools
from limpet.runners.base import Runner
from limpet.runners.bubblewrap import TOOLS
from limpet.runners.environment import allowed

Tell = Callable[[str], Awaitable[None]]
HINT: Final = "LIMPET_CLAUDE_CODE names one that is there already."


class NpmPrograms:
    """Installs into `folder`, with npm as `environ` finds it. `given`: what is there, by name."""

    def __init__(
        self,
        folder: Path,
        *,
        given: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.given = dict(given or {})
        self._environ = os.environ if environ is None else environ
        self._locks: dict[str, asyncio.Lock] = {}

    async def install(self, program: NpmProgram, tell: Tell) -> str:
        """The program's path within `folder`, installed if need be; `tell` hears when that begins.

        Raises `ProgramMissingError`.
        """
        name = folder_name(program)
        path = f"{name}/{program.file}"
        if not await asyncio.to_thread(self._is_there, path):
            async with self._locks.setdefault(name, asyncio.Lock()):
                if not await asyncio.to_thread(self._is_there, path):
                    await tell(
                        f"{program.title} {program.version} is being installed, "
                        "once on this machine."
                    )
                    await self._run(program, self.folder / name)
        return path

    def _is_there(self, path: str) -> bool:
        return os.access(self.folder / path, os.X_OK)

    async def _run(self, program: NpmProgram, target: Path) -> None:
        await asyncio.to_thread(self.folder.mkdir, mode=0o755, parents=True, exist_ok=True)
        path = {"PATH": self._environ.get("PATH", os.defpath)}
        home = {"HOME": self._environ["HOME"]} if self._environ.get("HOME") else {}
        process = await asyncio.create_subprocess_exec(
            *install_command(program, target),
            env={**allowed(self._environ), **path, **home},
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(INSTALL_TIMEOUT_S):
                _, said = await process.communicate()
        except TimeoutError:
            said = b"ETIMEDOUT"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                await asyncio.shield(process.wait())
        if process.returncode:
            words = said.decode(errors="replace")
            raise why_not(program, process.returncode, words, where="on this machine", hint=HINT)


async def program_in(
    sandbox: SandboxTools, runner: Runner, programs: NpmPrograms, program: NpmProgram, tell: Tell
) -> str:
    """The program's path as processes of the sandbox see it, installed if need be.

    Where the sandbox does not see what this machine has (a container, one that was started before
    there was a folder for it), it is installed in there, in what is never saved. Raises
    `ProgramMissingError`, and what the sandbox raises.
    """
    given = programs.given.get(program.name)
    if given is not None:
        if not await _sees(sandbox, given):
            raise ProgramMissingError(
                f"The sandbox has no {program.title} at {given}",
                hint="LIMPET_CLAUDE_CODE must name what sandboxes see too; start it anew.",
            )
        return given
    if runner.kind == "host":
        path = await programs.install(program, tell)
        shut_in = runner.isolation.kind == "bubblewrap"
        shown = f"{TOOLS if shut_in else programs.folder}/{path}"
        if await _sees(sandbox, shown):
            return shown
    return await _installed_inside(sandbox, program, tell)


async def _sees(sandbox: SandboxTools, path: str) -> bool:
    async with sandbox.process(["test", "-x", path]) as process:
        return await process.wait() == 0


async def _installed_inside(sandbox: SandboxTools, program: NpmProgram, tell: Tell) -> str:
    root = PurePosixPath((await sandbox.folders()).home).parent.parent
    target = root / "scratch" / "tools" / folder_name(program)
    path = str(target / program.file)
    if await _sees(sandbox, path):
        return path
    await tell(f"{program.title} {program.version} is being installed in the sandbox.")
    code, said = 1, "ETIMEDOUT"
    with contextlib.suppress(TimeoutError):
        async with (
            asyncio.timeout(INSTALL_TIMEOUT_S),
            sandbox.process(install_command(program, target)) as process,
        ):
            async for _ in process.output():
                pass
            code, said = await process.wait(), process.errors()
    if code:
        raise why_not(program, code, said, where="in the sandbox", hint=HINT)
    return path
