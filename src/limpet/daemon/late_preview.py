"""The preview proxy, imported when the first request needs it.

Its HTTP client takes longer to import than all the rest of the daemon to start.
"""

import asyncio
import importlib
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from limpet.daemon.context import DaemonContext

if TYPE_CHECKING:
    from limpet.daemon.preview import PreviewProxy


class LatePreview:
    """A `PreviewProxy` that is made once, by whoever comes first."""

    def __init__(self, ctx: DaemonContext) -> None:
        self._ctx = ctx
        self._proxy: PreviewProxy | None = None
        self._making = asyncio.Lock()

    async def http(self, request: Request) -> Response:
        """Answer one request of a preview."""
        return await (self._proxy or await self._made()).http(request)

    async def websocket(self, ws: WebSocket) -> None:
        """Serve one socket of a preview."""
        await (self._proxy or await self._made()).websocket(ws)

    async def close(self) -> None:
        """End all connections, if there ever were any."""
        if self._proxy is not None:
            await self._proxy.close()

    async def _made(self) -> "PreviewProxy":
        async with self._making:
            if self._proxy is None:
                await asyncio.to_thread(importlib.import_module, "limpet.daemon.preview")
                from limpet.daemon.preview import PreviewProxy

                self._proxy = PreviewProxy(self._ctx)
            return self._proxy
