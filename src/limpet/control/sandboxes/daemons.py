"""Sandboxes' daemons as the control plane sees them: found by handle, one session for all."""

from dataclasses import dataclass
from typing import Final

import aiohttp

from limpet.control.sandboxes.decide import Origin
from limpet.control.saver import Idle
from limpet.errors import ConflictError, DaemonError
from limpet.ids import Handle
from limpet.runners.base import Provisioned, Runner
from limpet.runners.daemon_client import DaemonClient, new_session

_MOST: Final = 1 << 63


class NotRunningError(ConflictError):
    """This needs a running sandbox, and it is not running."""

    code = "not_running"


@dataclass(frozen=True, slots=True)
class Reached:
    """A sandbox that answers, and the client for its daemon."""

    provisioned: Provisioned
    client: DaemonClient


class Daemons:
    """Finds daemons through the runner; close it when done."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The one session for all daemons."""
        if self._session is None:
            self._session = new_session()
        return self._session

    def reached(self, provisioned: Provisioned) -> Reached:
        """The provisioned sandbox with a client for its daemon."""
        client = DaemonClient(
            provisioned.daemon_url, provisioned.daemon_token, session=self.session
        )
        return Reached(provisioned, client)

    def client(self, url: str, token: str) -> DaemonClient:
        """A client for the daemon at `url`."""
        return DaemonClient(url, token, session=self.session)

    async def find(self, handle: str) -> Reached | None:
        """The sandbox's daemon, or None when it does not answer."""
        provisioned = await self._runner.find(Handle(handle))
        return None if provisioned is None else self.reached(provisioned)

    async def reach(self, handle: str) -> Reached:
        """The sandbox's daemon, or `NotRunningError`."""
        found = await self.find(handle)
        if found is None:
            raise NotRunningError("The sandbox is not running", hint="Start it first.")
        return found

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def origin_of(client: DaemonClient) -> Origin:
    """Which snapshot the workspace grew from, and whether it has unsaved work."""
    told = await client.origin()
    return Origin(told.snapshot, told.generation, told.unsaved, told.empty, told.detached)


async def idle_of(client: DaemonClient) -> Idle:
    """How long ago the last work was, and how much there has been; numbers that can be stored."""
    told = await client.idle()
    if not (0 <= told.idle_ms < _MOST and 0 <= told.activity_seq < _MOST):
        raise DaemonError("The sandbox counts its activity beyond all bounds", daemon_status=200)
    return Idle(idle_ms=told.idle_ms, activity_seq=told.activity_seq)
