"""`limpet doctor --isolation`: real sandboxes of a data folder that is made for the trial alone."""

import tempfile
from pathlib import Path

import anyio

from limpet.control.runner_choice import open_runner
from limpet.control.settings import Settings
from limpet.ids import Handle
from limpet.runners.base import Isolation, SandboxId
from limpet.runners.trial import Attempt, try_isolation


class _Memory:
    """A runner's state that ends with the trial."""

    def __init__(self) -> None:
        self._values: dict[Handle, dict[str, object]] = {}

    async def get(self, handle: Handle) -> dict[str, object] | None:
        return self._values.get(handle)

    async def put(self, sandbox: SandboxId, value: dict[str, object]) -> None:
        self._values[sandbox.handle] = value

    async def delete(self, handle: Handle) -> None:
        self._values.pop(handle, None)

    async def list(self) -> list[tuple[Handle, dict[str, object]]]:
        return list(self._values.items())


def tried_here() -> tuple[Isolation, list[Attempt]]:
    """How sandboxes are kept apart by the server's settings, and what one got at.

    Blocks for some seconds. Raises `LimpetError`: settings that cannot be used, sandboxes that do
    not start.
    """
    return anyio.run(_try)


async def _try() -> tuple[Isolation, list[Attempt]]:
    settings = Settings.load()
    with tempfile.TemporaryDirectory(prefix="limpet-trial-") as made:
        folder = Path(made).resolve()
        runner = await open_runner(settings, folder, _Memory())
        try:
            return runner.isolation, await try_isolation(runner, folder)
        finally:
            await runner.close()
