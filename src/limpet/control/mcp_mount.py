"""Where the MCP endpoint stands in the app: it is made when it is first asked for.

The library of the protocol builds models for each of its versions, a good part of what the start of
a server costs; most servers are never asked.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from limpet.control.operations.catalog import OPERATIONS
from limpet.control.operations.services import Services

if TYPE_CHECKING:
    from limpet.control.mcp import McpEndpoint


class McpMount:
    """An ASGI app; it answers while `running()` is entered, which can be done once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._asked = asyncio.Event()
        self._endpoint: asyncio.Future[McpEndpoint] = asyncio.get_running_loop().create_future()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve for the length of the block; streams end with it."""
        serving = asyncio.create_task(self._serve(), name="mcp")
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            self._endpoint.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        self._asked.set()
        endpoint = await asyncio.shield(self._endpoint)
        await endpoint(scope, receive, send)

    async def _serve(self) -> None:
        await self._asked.wait()
        try:
            endpoint = await asyncio.to_thread(_made, self._services)
            async with endpoint.running():
                self._endpoint.set_result(endpoint)
                await asyncio.get_running_loop().create_future()
        except Exception as error:  # noqa: BLE001 (raised to everyone who asks)
            if not self._endpoint.done():
                self._endpoint.set_exception(error)


def _made(services: Services) -> "McpEndpoint":
    from limpet.control.mcp import McpEndpoint

    return McpEndpoint(OPERATIONS, services)
