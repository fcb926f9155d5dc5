"""Programs that harnesses drive, installed once for all sandboxes of this machine."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from limpet.control.threads.npm_install import (
    INSTALL_TIMEOUT_S,
    folder_name,
    install_command,
    why_not,
)
from limpet.harness.tools import NpmProgram
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
