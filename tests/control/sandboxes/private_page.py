"""A private preview on a served control plane, and visitors who want to see it."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from tests.control.sandboxes.live_page import LivePage, live_page

DOMAIN = "preview.test:8443"
Kind = Literal["named", "local", "port", "loopback"]
KINDS: tuple[Kind, ...] = ("named", "local", "port", "loopback")
TELLING_JS = """\
const http = require('http');
const crypto = require('crypto');
const seen = [];
const note = (q) => seen.push([q.method, q.url, q.headers.cookie || '', q.headers.referer || '']);
const server = http.createServer((q, r) => {
  if (q.url === '/seen') return r.end(JSON.stringify(seen.splice(0)));
  note(q);
  if (q.url === '/drip') {
    r.writeHead(200, { 'content-type': 'text/event-stream' });
    r.write('data: first\\n\\n');
  } else {
    r.setHeader('content-type', 'text/html');
    r.end('<!doctype html><title>t</title><body>the secret app</body>');
  }
});
server.on('upgrade', (q, socket) => {
  note(q);
  const key = q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\n' +
    'Connection: Upgrade\\r\\nSec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n');
  socket.write(Buffer.concat([Buffer.from([0x81, 6]), Buffer.from('secret')]));
  socket.on('error', () => {});
});
server.listen(Number(process.env.PORT || 3000), '127.0.0.1', () =>
  console.log(`Local: http://127.0.0.1:${server.address().port}/`));
"""


@dataclass(frozen=True)
class Got:
    status: int
    headers: Any
    text: str

    @property
    def shows_the_app(self) -> bool:
        return "the secret app" in self.text

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that were set, with all that is said of them, by name."""
        lines = self.headers.getall("Set-Cookie", [])
        return {line.partition("=")[0]: line for line in lines}

    @property
    def cookie(self) -> str:
        """What a browser would send from now on."""
        return "; ".join(line.partition(";")[0] for line in self.cookies.values())


@dataclass
class PrivatePage:
    """`http` keeps no cookies: what is sent is what a test says."""

    page: LivePage
    http: aiohttp.ClientSession
    dev_port: int
    loopback: str

    def base(self, kind: Kind) -> str:
        """The address that a browser has, without its last slash."""
        page = self.page
        return {
            "named": f"https://{page.handle}.{DOMAIN}",
            "local": f"http://{page.host}",
            "port": f"http://{page.handle}--{self.dev_port}.localhost:{page.app.port}",
            "loopback": self.loopback.rstrip("/"),
        }[kind]

    def served(self, url: str) -> tuple[URL, dict[str, str]]:
        """Where a URL is really served, and the host that is asked for."""
        parts = urlsplit(url)
        where = parts.netloc if parts.hostname == "localhost" else f"127.0.0.1:{self.page.app.port}"
        rest = url.split(parts.netloc, 1)[1] or "/"
        return URL(f"http://{where}{rest}", encoded=True), {"Host": parts.netloc}

    async def go(self, url: str, cookie: str = "", method: str = "GET", **headers: str) -> Got:
        """One request, as of a browser that shows pages."""
        where, sent = self.served(url)
        sent |= {"Accept": "text/html", **{n.replace("_", "-"): v for n, v in headers.items()}}
        if cookie:
            sent["Cookie"] = cookie
        async with self.http.request(method, where, headers=sent, allow_redirects=False) as answer:
            return Got(answer.status, answer.headers, (await answer.read()).decode())

    @contextlib.asynccontextmanager
    async def socket(
        self, kind: Kind, cookie: str = "", path: str = "/hot", **headers: str
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        where, sent = self.served(self.base(kind) + path)
        sent |= headers | ({"Cookie": cookie} if cookie else {})
        async with self.http.ws_connect(where, headers=sent) as socket:
            yield socket

    async def seen(self) -> list[list[str]]:
        """What the app was asked since the last time: method, target, cookies, referer."""
        got = await self.go(f"{self.base('local')}/seen", cookie=await self.own_cookie())
        found: list[list[str]] = json.loads(got.text)
        return found

    async def own_cookie(self, kind: Kind = "local") -> str:
        """The cookie of somebody who was let in."""
        _, way = await self.api("POST", "/open", {"at": f"{self.base(kind)}/"})
        got = await self.go(way["url"])
        assert got.status in (200, 303), got.text
        return got.cookie

    async def api(
        self, method: str, path: str = "", body: Mapping[str, object] | None = None
    ) -> tuple[int, Any]:
        """One of the operations on the preview."""
        where = f"/sandboxes/{self.page.handle}/preview{path}"
        return await self.page.app.api(method, where, body)

    async def make(self, access: str) -> Any:
        status, sharing = await self.api("PATCH", "", {"access": access})
        assert status == 200, sharing
        return sharing


@contextlib.asynccontextmanager
async def private_page(folder: Path, **settings: Any) -> AsyncIterator[PrivatePage]:
    """One whose preview is private."""
    async with (
        live_page(folder, TELLING_JS, preview_url=f"https://{DOMAIN}", **settings) as page,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        async with page.events() as events:
            has = await events.until("sandbox", lambda box: box["loopback_preview_url"])
        async with page.events() as events:
            told = await events.until("lifecycle", lambda data: data["state"]["phase"] == "running")
        port = told[-1][1]["state"]["port"]
        made = PrivatePage(page, http, port, has[-1][1]["loopback_preview_url"])
        await made.make("private")
        yield made
