"""A small real HTTP server on the loopback whose answers a test decides, one route at a time.

It speaks what the SDK must cope with on the wire: errors, streams that go on, streams that break.
"""

import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from limpet.sdk import Client, Place

KEY = "lk_test_key"


@dataclass(frozen=True)
class Asked:
    """A request as it came in. `cut` when its chunked body broke off."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    cut: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What is answered. An iterable body goes out in chunks; with `cut` it never ends properly."""

    body: object = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


Handler = Callable[[Asked], Answer]


def error(status: int, code: str, message: str = "no", hint: str = "") -> Answer:
    return Answer({"error": {"code": code, "message": message, "hint": hint}}, status)


def sse(*events: tuple[str, object] | tuple[str, object, str]) -> Iterator[bytes]:
    """Events as they go over the wire: (name, data) or (name, data, id)."""
    for name, data, *event_id in events:
        ident = f"id: {event_id[0]}\n" if event_id else ""
        yield f"{ident}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


class Wire:
    """The server. Handlers are looked up by "METHOD /path"; others are 404."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.asked: list[Asked] = []
        self.arrived: queue.Queue[Asked] = queue.Queue()
        wire = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None: ...

            def _serve(self) -> None:
                wire._answer(self)

            do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextmanager
    def client(self) -> Iterator[Client]:
        with Client(Place(self.url, KEY)) as client:
            yield client

    def on(self, route: str, answer: Answer | Handler | object) -> None:
        """Answer "METHOD /path below the org" so from now on."""
        method, path = route.split(" ")
        where = path if path.startswith("/api/") else f"/api/local{path}"
        if isinstance(answer, Answer):
            self.handlers[f"{method} {where}"] = lambda _: answer
        elif callable(answer):
            self.handlers[f"{method} {where}"] = answer
        else:
            self.handlers[f"{method} {where}"] = lambda _: Answer(answer)

    def last(self, route: str) -> Asked:
        """The last request to "METHOD /path"."""
        method, path = route.split(" ")
        return [a for a in self.asked if (a.method, a.path) == (method, f"/api/local{path}")][-1]

    def _answer(self, door: BaseHTTPRequestHandler) -> None:
        url = urlsplit(door.path)
        body, cut = _body_of(door)
        headers = {name.lower(): value for name, value in door.headers.items()}
        asked = Asked(door.command, url.path, dict(parse_qsl(url.query)), headers, body, cut)
        self.asked.append(asked)
        self.arrived.put(asked)
        if cut:
            door.close_connection = True
            return
        if headers.get("authorization") != f"Bearer {KEY}":
            answer = error(401, "unauthorized", "Sign in first")
        else:
            handler = self.handlers.get(f"{door.command} {url.path}")
            answer = handler(asked) if handler else error(404, "not_found", f"no {door.path}")
        _send(door, answer)


def _body_of(door: BaseHTTPRequestHandler) -> tuple[bytes, bool]:
    if door.headers.get("Transfer-Encoding") != "chunked":
        return door.rfile.read(int(door.headers.get("Content-Length") or 0)), False
    body = b""
    while line := door.rfile.readline().strip():
        size = int(line, 16)
        body += door.rfile.read(size)
        door.rfile.readline()
        if size == 0:
            return body, False
    return body, True


def _send(door: BaseHTTPRequestHandler, answer: Answer) -> None:
    body = answer.body
    streamed = isinstance(body, Iterable) and not isinstance(body, bytes | str | dict | list)
    door.send_response(answer.status)
    for name, value in answer.headers.items():
        door.send_header(name, value)
    if not streamed:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if "Content-Length" not in answer.headers:
            door.send_header("Content-Length", str(len(content)))
        door.end_headers()
        door.wfile.write(content)
        door.close_connection = answer.cut
        return
    assert isinstance(body, Iterable)
    door.send_header("Transfer-Encoding", "chunked")
    door.end_headers()
    try:
        for chunk in body:
            door.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            door.wfile.flush()
        if not answer.cut:
            door.wfile.write(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass
    door.close_connection = door.close_connection or answer.cut
