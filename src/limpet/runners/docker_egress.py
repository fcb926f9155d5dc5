"""Ways out of containers whose network has none: a proxy for each, reached at its own loopback.

The proxy listens inside the container's network and runs outside of it, so the container needs
neither an address of the machine nor a port of it. Making such a socket takes root on the engine's
machine.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

import anyio.to_thread

from limpet.errors import RunnerError
from limpet.ids import Handle
from limpet.runners.egress import EgressPolicy, Network
from limpet.runners.egress_proxy import EgressLog
from limpet.runners.network import (
    PROXY_PORT,
    Joined,
    NetworkSettings,
    OwnNetworks,
    Serving,
    visit,
)
from limpet.runners.registries import package_registries

_LOGS: Final = Path("runner/egress")


class ContainerEgress:
    """What is served to containers from outside. `close` ends it all; containers run on."""

    def __init__(self, networks: OwnNetworks, logs: Path) -> None:
        self._networks = networks
        self._logs = logs
        self._serving: dict[Handle, Serving] = {}

    @classmethod
    def here(
        cls, data_dir: Path, denied: Sequence[Network], environ: Mapping[str, str]
    ) -> Self | None:
        """For an engine of this machine; None when we may not make sockets in its containers."""
        if os.geteuid() != 0:
            return None
        settings = NetworkSettings("own", tuple(denied))
        asked = partial(package_registries, environ)
        return cls(OwnNetworks(settings, None, environ, asked), data_dir / _LOGS)

    def variables(self, policy: EgressPolicy) -> dict[str, str]:
        """What programs in the container must be told."""
        return {name: value for name, value in self._networks.variables(policy).items() if value}

    async def begin(self, handle: Handle, pid: int, policy: EgressPolicy) -> None:
        """Serve the container whose first process is `pid`. Raises `RunnerError`."""
        await self.end(handle)
        joined = await anyio.to_thread.run_sync(_joined, pid)
        serving = self._serving[handle] = Serving()
        try:
            self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
            await serving.begin(joined, self._networks, policy, self._logs / f"{handle}.jsonl")
        except OSError as error:
            joined.close()
            raise RunnerError(f"The sandbox's proxy cannot be started: {error}") from error

    async def end(self, handle: Handle) -> None:
        """End every connection of the container; one that is not served is no error."""
        serving = self._serving.pop(handle, None)
        if serving is not None:
            await serving.close()

    async def forget(self, handle: Handle) -> None:
        """Take the log of a container away that is gone for good."""
        await anyio.to_thread.run_sync(EgressLog(self._logs / f"{handle}.jsonl").delete)

    async def close(self) -> None:
        """End every connection."""
        for handle in list(self._serving):
            await self.end(handle)


def _joined(pid: int) -> Joined:
    owner, network, proxy = visit({"pid": pid, "prohibited": [], "ports": [PROXY_PORT]})
    os.close(owner)
    os.close(network)
    return Joined(socket.socket(fileno=proxy), {})
