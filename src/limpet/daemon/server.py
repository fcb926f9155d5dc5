"""The HTTP server around the app: its socket, and a uvicorn that does not poll."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import Any, Literal, cast

import uvicorn

from limpet.daemon.settings import DaemonSettings
from limpet.errors import LimpetError

BACKLOG = 1024
MAX_SOCKET_MESSAGE_BYTES = 64 * 1024 * 1024
GRACE_S = 2


class PortTakenError(LimpetError):
    """Another process listens where the daemon should."""

    code = "port_taken"
    exit_code = 3


def open_socket(settings: DaemonSettings) -> socket.socket:
    """The listening socket, whose connections end when a client takes nothing for too long.

    `PortTakenError` when another has the port.
    """
    listener = _listener(settings)
    if listener.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
        # Inherited by every connection: the kernel gives up on a window that stays shut.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, settings.stall_s * 1000)
    return listener


def _listener(settings: DaemonSettings) -> socket.socket:
    """Inherited, a Unix socket (`unix:/path`), or bound here."""
    if settings.listen_fd is not None:
        try:
            inherited = socket.socket(fileno=settings.listen_fd)
        except OSError as error:
            raise LimpetError(
                f"DAEMON_LISTEN_FD={settings.listen_fd} is no socket: {error}"
            ) from error
        os.set_inheritable(inherited.fileno(), False)
        inherited.setblocking(False)
        return inherited
    host = settings.host
    if host.startswith("unix:"):
        return _unix_socket(host.removeprefix("unix:"))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTakenError(
            f"cannot listen on {host} port {settings.port}: {error.strerror}",
            hint="Set DAEMON_PORT to a port that is free.",
        ) from error
    listener.setblocking(False)
    return listener


def _unix_socket(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTakenError(f"cannot listen on {path}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


def _late_websocket(*args: Any, **kwargs: Any) -> asyncio.Protocol:
    """What speaks WebSocket, loaded with the first one that comes."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    return WebSocketsSansIOProtocol(*args, **kwargs)


class Server(uvicorn.Server):
    """uvicorn, told to stop by `stop` alone and asleep while nothing comes in."""

    def __init__(
        self,
        app: Any,
        *,
        http: "type[asyncio.Protocol] | Literal['httptools']" = "httptools",
        websockets: bool = True,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=http,
            ws=cast("type[asyncio.Protocol]", _late_websocket) if websockets else "none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=GRACE_S,
        )
        super().__init__(config)
        self._stop = asyncio.Event()

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until `stop`; what is open then has two seconds to end."""
        await self._serve([listener])

    def stop(self) -> None:
        """End the serving."""
        self._stop.set()

    async def main_loop(self) -> None:
        """Wait; uvicorn's own loop wakes ten times a second."""
        await self._stop.wait()
        self.should_exit = True
