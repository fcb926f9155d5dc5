"""Pages for a browser, and a server of them that stands for the previews of one control plane."""

import asyncio
import contextlib
import socket
import struct
import zlib
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from limpet.control.preview_address import Site
from limpet.ids import Handle

HANDLE = Handle("s-pictured")
SITE = Site("http", "localhost", 7099)
RED = (255, 0, 0)
WHITE = (255, 255, 255)

SQUARE = """<!doctype html><title>Square</title><style>body{margin:0;background:#fff}
#square{position:absolute;left:100px;top:100px;width:200px;height:200px;background:#f00}
</style><div id=square></div><h1>Hello</h1>"""


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


class Previews:
    """Serves `pages` by path; `asked` are the paths that were asked for, `reached` says
    that there is one.

    `/never` is answered at the end alone; `hung` is set once somebody waits for it. `/until-tried`
    is answered once `/tried` was asked for.
    """

    def __init__(self, pages: dict[str, str]) -> None:
        self.pages = pages
        self.asked: list[str] = []
        self.reached = asyncio.Event()
        self.hosts: set[str] = set()
        self.tried = asyncio.Event()
        self.hung = asyncio.Event()
        self.let_go = asyncio.Event()

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked.append(path)
        self.reached.set()
        self.hosts.add(request.headers["host"])
        if path == "/tried":
            self.tried.set()
        if path == "/until-tried":
            await self.tried.wait()
        if path == "/never":
            self.hung.set()
            await self.let_go.wait()
        if path == "/away":
            return RedirectResponse(request.query_params["to"])
        page = self.pages.get(path)
        return HTMLResponse(page or "none", 200 if page is not None else 404)

    @contextlib.asynccontextmanager
    async def serve(self, listener: socket.socket) -> AsyncIterator[None]:
        """As `PreviewHosts.serving_unwatched` does."""
        app = Starlette(routes=[Route("/{path:path}", self._answer)])
        server = _Quiet(
            uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            self.let_go.set()
            self.tried.set()
            server.should_exit = server.force_exit = True
            await serving


def pixel(png: bytes, x: int, y: int) -> tuple[int, ...]:
    """The colour at a place of a PNG that is not interlaced, of 8 bits (RGB or RGBA)."""
    width, height, depth, colours = struct.unpack(">IIBB", png[16:26])
    assert depth == 8
    size = {2: 3, 6: 4}[colours]
    assert x < width
    assert y < height
    packed, at = b"", 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        packed += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    raw, stride, above = zlib.decompress(packed), width * size, bytearray(width * size)
    for row in range(y + 1):
        start = row * (stride + 1)
        line = bytearray(raw[start + 1 : start + 1 + stride])
        _unfilter(raw[start], line, above, size)
        above = line
    return tuple(above[x * size : x * size + 3])


def _unfilter(kind: int, line: bytearray, above: bytearray, size: int) -> None:
    """Take a PNG's filter off a row (PNG, 9.2)."""
    for i in range(len(line)):
        left = line[i - size] if i >= size else 0
        corner = above[i - size] if i >= size else 0
        up = above[i]
        if kind == 1:
            add = left
        elif kind == 2:
            add = up
        elif kind == 3:
            add = (left + up) // 2
        elif kind == 4:
            guess = left + up - corner
            near = {left: abs(guess - left)}
            near.setdefault(up, abs(guess - up))
            near.setdefault(corner, abs(guess - corner))
            add = min((abs(guess - v), n, v) for n, v in enumerate((left, up, corner)))[2]
        else:
            add = 0
        line[i] = (line[i] + add) & 255


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height
