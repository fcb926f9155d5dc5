"""The preview: everything that is no native route goes on to the sandbox's dev server.

The dev server sees requests as if they came from `localhost:<port>`, so that its host checks pass
behind any domain, and never our token or our cookies.
"""

import json
import re
from collections import deque
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.websockets import WebSocket

from limpet.daemon import preview_pages
from limpet.daemon.context import DaemonContext
from limpet.daemon.preview_addresses import address_mender
from limpet.daemon.preview_inject import injected
from limpet.daemon.preview_script import script
from limpet.daemon.setup.detect import STARTERS
from limpet.daemon.setup.ports import Listening
from limpet.reverse_proxy import (
    UNREACHABLE_CODE,
    Answer,
    HeaderList,
    ReverseProxy,
    UpstreamUnreachableError,
    close_at_once,
    end_to_end,
    request_target,
)

OUR_COOKIES: Final = re.compile(r"limpet_(?:session|preview(?:_.*)?)")
SMALL_FRAME_BYTES: Final = 64
REMEMBERED_FRAMES: Final = 64
_FORWARDED: Final = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port")
_OURS: Final = (
    "x-limpet-token",
    "x-limpet-port",
    "x-limpet-ports-at",
    "x-limpet-page",
    "x-limpet-poll",
)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})
_DOMAIN: Final = re.compile(r";\s*domain\s*=\s*([^;]*)", re.IGNORECASE)
_CLIENT: Final = re.compile(
    r'\A\s*(?:"?ping"?|\{\s*"(?:event|type)"\s*:\s*"(?P<name>[a-z-]+)".*)\s*\Z', re.DOTALL
)
_CHATTER: Final = {
    "event": frozenset(
        [
            "ping",
            "pong",
            "browser-logs",
            "span-end",
            "client-success",
            "client-error",
            "client-warning",
            "client-added-page",
            "client-removed-page",
            "client-full-reload",
            "client-reload-page",
            "client-hmr-latency",
        ]
    ),
    "type": frozenset(["ping", "pong", "turbopack-subscribe", "turbopack-unsubscribe"]),
}
"""What hot-reload clients say by themselves, over and over: signs of life, and how reloads went."""
MAX_CHATTER: Final = 64 * 1024
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NO_STORE: Final = {"Cache-Control": "no-store"}


class PreviewProxy:
    """Owns the connections to the dev server."""

    def __init__(self, ctx: DaemonContext) -> None:
        self._ctx = ctx
        self._proxy = ReverseProxy()
        self._script = script(ctx.settings.allowed_origins)
        self._next_ports: set[int] = set()

    async def close(self) -> None:
        """End all connections."""
        await self._proxy.close()

    async def http(self, request: Request) -> Response:
        """Answer one request of a preview."""
        trusted = self._trusted(request)
        asked = _asked_port(request) if trusted else None
        target = self._target(asked)
        if target is None:
            return self._nowhere(request, asked)
        is_page = _is_navigation(request)

        def transform(answer: Answer) -> Answer | Response:
            return self._changed(request, answer, target, trusted=trusted, is_page=is_page)

        try:
            response = await self._proxy.http(
                request,
                _origin("http", target) + request_target(request),
                headers=self._headers(request, target, trusted=trusted, is_page=is_page),
                transform=transform,
            )
        except UpstreamUnreachableError as error:
            return self._unreachable(request, error)
        if not _is_idle_request(request):
            self._ctx.activity.touch("preview request")
        return response

    async def websocket(self, ws: WebSocket) -> None:
        """Join a preview's WebSocket with the dev server's."""
        trusted = self._trusted(ws)
        target = self._target(_asked_port(ws) if trusted else None)
        if target is None:
            reason = "upstream not reachable" if self._expected else "no upstream dev server"
            await close_at_once(ws, UNREACHABLE_CODE, reason)
            return
        await self._proxy.websocket(
            ws,
            _origin("ws", target) + request_target(ws),
            self._headers(ws, target, trusted=trusted, is_page=False),
            on_message=None if _is_idle_request(ws) else _Frames(self._ctx).seen,
        )

    @property
    def _expected(self) -> bool:
        return self._ctx.setup.port_expected

    def _trusted(self, connection: HTTPConnection) -> bool:
        """Whether the control plane's preview host asks: then its word on the outside counts."""
        token = connection.headers.get("x-limpet-token")
        return token is not None and self._ctx.token.matches(token)

    def _target(self, asked: int | None) -> Listening | None:
        if asked is not None:
            return self._ctx.setup.own_port(asked)
        return self._ctx.setup.preview_target()

    # -- what the dev server sees ----------------------------------------------------------------

    def _headers(
        self, connection: HTTPConnection, target: Listening, *, trusted: bool, is_page: bool
    ) -> HeaderList:
        dropped = {"host", "cookie", "origin", "forwarded", *_FORWARDED, *_OURS}
        if not trusted:
            dropped.add("authorization")
        if is_page:
            dropped |= {"accept-encoding", "range", "if-range"}
        given = connection.headers
        headers = end_to_end(connection, without=dropped)
        own_host = f"localhost:{target.port}"
        scheme, public_host = _public(connection, trusted=trusted)
        headers.append(("host", own_host))
        for cookie in given.getlist("cookie"):
            if kept := without_our_cookies(cookie):
                headers.append(("cookie", kept))
        origin = given.get("origin")
        if origin is not None:
            ours = _netloc(origin) == public_host
            if ours and not self._compares_as_it_is(connection, target):
                origin = f"http://{own_host}"
            headers.append(("origin", origin))
        if is_page:
            headers.append(("accept-encoding", "identity"))
        client = connection.client.host if connection.client else ""
        before = given.get("x-forwarded-for") if trusted else None
        headers.append(("x-forwarded-host", public_host))
        headers.append(("x-forwarded-proto", scheme))
        headers.append(("x-forwarded-for", ", ".join(part for part in (before, client) if part)))
        port = public_host.rpartition(":")[2] if not public_host.endswith("]") else ""
        if not port.isdigit():
            port = "443" if scheme == "https" else "80"
        headers.append(("x-forwarded-port", port))
        return headers

    def _compares_as_it_is(self, connection: HTTPConnection, target: Listening) -> bool:
        """Whether the server compares the origin with X-Forwarded-Host, as Next does for actions.

        Others compare it with `Host`, and Next does for its own development resources.
        """
        if connection.scope.get("method", "GET") in _SAFE_METHODS:
            return False
        return "next-action" in connection.headers or target.port in self._next_ports

    # -- what the browser sees -------------------------------------------------------------------

    def _changed(
        self, request: Request, answer: Answer, target: Listening, *, trusted: bool, is_page: bool
    ) -> Answer | Response:
        headers = answer.headers
        if headers.get("x-powered-by") == "Next.js":
            self._next_ports.add(target.port)
        content_type = headers.get("content-type", "")
        is_html = content_type.lower().startswith(("text/html", "application/xhtml+xml"))
        if answer.status >= 500:
            self._ctx.events.log(
                "daemon", f"preview: {request.method} {request.url.path} -> {answer.status}\n"
            )
        if (
            is_page
            and request.method == "GET"
            and request.url.path == "/"
            and not is_html
            and (answer.status == 200 or answer.status >= 400)
        ):
            page, name = preview_pages.no_page(content_type)
            return HTMLResponse(page, headers={**_NO_STORE, "X-Limpet-Page": name})
        del headers["x-frame-options"]
        injects = is_page and is_html and "utf-16" not in content_type.lower() and answer.decoded()
        for name in ("content-security-policy", "content-security-policy-report-only"):
            policies = headers.getlist(name)
            del headers[name]
            if not injects:  # where our script goes in, no policy can stay that forbids it
                for policy in policies:
                    if kept := without_frame_ancestors(policy):
                        headers.append(name, kept)
        if "location" in headers:
            headers["location"] = self._location(request, headers["location"], target, trusted)
        scheme, public = _public(request, trusted=trusted)
        cookies = headers.getlist("set-cookie")
        del headers["set-cookie"]
        for cookie in cookies:
            if (mapped := mapped_cookie(cookie, public)) is not None:
                headers.append("set-cookie", mapped)
        if injects:
            del headers["content-length"]
            if request.method != "HEAD" and answer.status not in {204, 304}:
                mend = address_mender(target.port, scheme, public)
                answer.body = injected(answer.body, self._script, mend)
        return answer

    def _location(self, request: Request, location: str, target: Listening, trusted: bool) -> str:
        at = request.headers.get("x-limpet-ports-at", "") if trusted else ""
        mapped = mapped_location(location, target.port, *_public(request, trusted=trusted))
        if mapped != location or not at:
            return mapped
        port = loopback_port(location)
        if port is None or self._ctx.setup.own_port(port) is None:
            return location
        return at.replace("{port}", str(port)) + _path_of(location)

    def _nowhere(self, request: Request, asked: int | None) -> Response:
        if asked is not None:
            error = UpstreamUnreachableError(f"nothing listens on port {asked}")
            return self._no_answer(request, error, preview_pages.no_port(asked))
        if self._expected:
            error = UpstreamUnreachableError("nothing is on the dev server's port")
            return self._unreachable(request, error)
        page, name = preview_pages.no_server(self._ctx.setup.phase, self._log())
        headers = {**_NO_STORE, "Retry-After": "2", "X-Limpet-Page": name}
        return HTMLResponse(page, status_code=503, headers=headers)

    def _unreachable(self, request: Request, error: UpstreamUnreachableError) -> Response:
        shown = preview_pages.starting(self._ctx.setup.phase, self._log())
        return self._no_answer(request, error, shown)

    @staticmethod
    def _no_answer(
        request: Request, error: UpstreamUnreachableError, shown: tuple[str, str]
    ) -> Response:
        navigates = request.headers.get("sec-fetch-mode") == "navigate"
        if request.url.path == "/" or navigates or _by_our_page(request):
            headers = {**_NO_STORE, "Retry-After": "1", "X-Limpet-Page": shown[1]}
            return HTMLResponse(shown[0], status_code=503, headers=headers)
        body = {"error": f"proxy error: {error.message}"}
        return JSONResponse(body, status_code=502, headers=_NO_STORE)

    def _log(self) -> str:
        """What tells best how far it is: what the setup says, or the dev server's own log."""
        logs = self._ctx.events.logs()
        state = self._ctx.events.state("lifecycle")
        error = str(state["state"].get("error", "")) if isinstance(state, dict) else ""
        said = logs.get("setup", "")
        if self._ctx.setup.phase in {"starting", "running", "crashed", "start-failed"}:
            said = next((logs[name] for name in STARTERS if logs.get(name)), said)
        first = error.partition("\n")[0]
        return said if first in said else f"{said}\n{first}"


class _Frames:
    """Tells a person's messages from a client that says the same little thing over and over."""

    def __init__(self, ctx: DaemonContext) -> None:
        self._ctx = ctx
        self._small: deque[str | bytes] = deque(maxlen=REMEMBERED_FRAMES)

    def seen(self, frame: str | bytes) -> None:
        if is_chatter(frame):
            return
        if len(frame) < SMALL_FRAME_BYTES:
            if frame in self._small:
                return
            self._small.append(frame)
        self._ctx.activity.touch("preview message")


def is_chatter(frame: str | bytes) -> bool:
    """Whether a message is one that a client sends by itself, however long it is."""
    text = frame if isinstance(frame, str) else frame[:MAX_CHATTER].decode(errors="replace")
    begins = _CLIENT.match(text[:MAX_CHATTER])
    if begins is None:
        return False
    if begins["name"] is None:
        return True
    if not any(begins["name"] in names for names in _CHATTER.values()):
        return False
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and any(
        found.get(key) in names
        for key, names in _CHATTER.items()
        if isinstance(found.get(key), str)
    )


def without_our_cookies(header: str) -> str:
    """A `Cookie` header without our cookies; '' when nothing is left."""
    kept = [
        part.strip()
        for part in header.split(";")
        if part.strip() and not OUR_COOKIES.fullmatch(part.split("=", 1)[0].strip())
    ]
    return "; ".join(kept)


def mapped_cookie(header: str, public_host: str = "") -> str | None:
    """A `Set-Cookie` for the public host alone; None for a cookie of ours.

    A domain that is a loopback's, or that the public host lies in, goes: other sandboxes lie in it
    too.
    """
    name = header.split("=", 1)[0].strip()
    if OUR_COOKIES.fullmatch(name):
        return None
    found = _DOMAIN.search(header)
    if found is None:
        return header
    domain = found[1].strip().strip(".").strip("[]").lower()
    public = public_host.lower().rpartition(":")[0] or public_host.lower()
    if domain in _LOOPBACK or f".{public}".endswith(f".{domain}"):
        return header[: found.start()] + header[found.end() :]
    return header


def mapped_location(location: str, port: int, scheme: str = "", public_host: str = "") -> str:
    """A redirect to the dev server's own address as one on the host that was asked.

    So is one to that host in the clear where it was asked over TLS: a server that is told the host
    and not the scheme, or believes only the one, makes such.
    """
    if loopback_port(location, port) == port:
        return _path_of(location)
    in_the_clear = scheme == "https" and location.lower().startswith("http://")
    return _path_of(location) if in_the_clear and _netloc(location) == public_host else location


def _public(connection: HTTPConnection, *, trusted: bool) -> tuple[str, str]:
    """The scheme and the host, with its port, that the browser asked for."""
    given = connection.headers
    scheme = connection.scope.get("scheme", "http").replace("ws", "http", 1)
    if not trusted:
        return scheme, given.get("host", "").lower()
    scheme = given.get("x-forwarded-proto") or scheme
    return scheme, (given.get("x-forwarded-host") or given.get("host", "")).lower()


def loopback_port(location: str, otherwise: int = 80) -> int | None:
    """The port of an absolute redirect to this machine; None for one that goes elsewhere."""
    try:
        parts = urlsplit(location)
        if (parts.hostname or "") not in _LOOPBACK:
            return None
        return parts.port or {"http": 80, "https": 443}.get(parts.scheme, otherwise)
    except ValueError:
        return None


def _path_of(location: str) -> str:
    """The path of an absolute address and all after it; never the beginning of another host."""
    rest = location.split("//", 1)[1]
    cut = min((i for i in (rest.find(c) for c in "/?#") if i >= 0), default=len(rest))
    return "/" + rest[cut:].lstrip("/\\")


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def without_frame_ancestors(policy: str) -> str:
    """A content security policy that says nothing of framing."""
    kept = [
        part.strip()
        for part in policy.split(";")
        if part.strip() and part.split()[0].lower() != "frame-ancestors"
    ]
    return "; ".join(kept)


def _is_navigation(request: Request) -> bool:
    """Whether the answer is to be a top-level document (or that of a frame)."""
    if request.method not in {"GET", "HEAD"}:
        return request.headers.get("sec-fetch-mode") == "navigate"
    if _by_our_page(request):
        return True
    destination = request.headers.get("sec-fetch-dest")
    if destination is not None:
        return destination in {"document", "iframe", "frame"}
    return "text/html" in request.headers.get("accept", "")


def _by_our_page(request: HTTPConnection) -> bool:
    """Whether one of our own pages looks whether there is something to show by now."""
    return "x-limpet-page" in request.headers


def _is_idle_request(request: HTTPConnection) -> bool:
    """Whether a request is a client's own polling and nobody's work."""
    if request.headers.get("x-limpet-poll") == "1" or _by_our_page(request):
        return True
    return "vite-ping" in request.headers.get("accept", "")


def _asked_port(connection: HTTPConnection) -> int | None:
    """The port that a `<handle>--<port>` host asks for."""
    given = connection.headers.get("x-limpet-port", "")
    return (
        int(given) if given.isascii() and given.isdigit() and 0 < int(given[:6]) < 65536 else None
    )


def _origin(scheme: str, target: Listening) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{scheme}://{host}:{target.port}"
