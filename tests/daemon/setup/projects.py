"""Small real projects, and a daemon that is told to bring one up."""

import json
from collections.abc import Mapping
from typing import Any

from tests.daemon_process import DaemonProcess
from tests.live import poll_until

SERVER_JS = """\
const http = require('http');
const crypto = require('crypto');
const page = '<!doctype html><title>hi</title><body>hello</body>';
const server = http.createServer((q, r) => {
  if (q.url === '/headers') {
    r.setHeader('content-type', 'application/json');
    r.end(JSON.stringify(q.headers));
  } else if (q.url === '/crash') {
    r.end('bye', () => process.exit(3));
  } else if (q.url === '/env') {
    r.end(JSON.stringify(process.env));
  } else if (q.url === '/away') {
    r.writeHead(302, { location: `http://localhost:${server.address().port}/there?x=1`,
      'set-cookie': ['a=1; Domain=localhost; Path=/', 'limpet_session=stolen', 'b=2'] }).end();
  } else if (q.url.startsWith('/to?')) {
    r.writeHead(302, { location: q.url.slice(4) }).end();
  } else if (q.url === '/stream') {
    r.setHeader('content-type', 'text/html');
    r.write('<body><p>first</p>');
    server.once('go-on', () => r.end('<p>second</p></body></html>'));
  } else if (q.url === '/go-on') {
    server.emit('go-on');
    r.end('ok');
  } else if (q.url === '/framed') {
    r.setHeader('content-type', 'text/html');
    r.setHeader('x-frame-options', 'DENY');
    r.setHeader('content-security-policy', "default-src 'self'; frame-ancestors 'none'");
    r.end(page);
  } else {
    r.setHeader('content-type', process.env.PLAIN ? 'application/json' : 'text/html');
    r.end(process.env.PLAIN ? '{}' : page);
  }
});
server.on('upgrade', (q, socket) => {
  const key = q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  const protocol = q.headers['sec-websocket-protocol'];
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\n' +
    'Connection: Upgrade\\r\\nSec-WebSocket-Accept: ' + accept + '\\r\\n' +
    (protocol ? 'Sec-WebSocket-Protocol: ' + protocol.split(',')[0].trim() + '\\r\\n' : '') +
    '\\r\\n');
  const text = JSON.stringify({ url: q.url, host: q.headers.host, origin: q.headers.origin,
    cookie: q.headers.cookie, token: q.headers['x-limpet-token'] });
  const body = Buffer.from(text);
  const frame = Buffer.from([0x81, 126, body.length >> 8, body.length & 255]);
  socket.write(Buffer.concat([frame, body]));
  socket.on('error', () => {});
  socket.on('data', (d) => {
    const size = d[1] & 127, mask = d.subarray(2, 6);
    if ((d[0] & 15) !== 1 || size > 125) return;
    const said = Buffer.from(d.subarray(6, 6 + size).map((b, i) => b ^ mask[i % 4])).toString();
    if (said === 'close') socket.end(Buffer.concat([Buffer.from([0x88, 6, 0x10, 0xe1]),
      Buffer.from('done')]));
    else socket.write(Buffer.concat([Buffer.from([0x81, said.length]), Buffer.from(said)]));
  });
});
const port = Number(process.env.FIXED_PORT || process.env.PORT || 3000);
server.listen(port, '127.0.0.1', () =>
  console.log(`Local: http://127.0.0.1:${server.address().port}/`));
"""


def manifest(**more: object) -> str:
    """A package.json with a dev server and one local dependency."""
    return json.dumps(
        {
            "name": "small",
            "version": "1.0.0",
            "private": True,
            "scripts": {"dev": "node server.js", "hello": "echo hello"},
            "dependencies": {"dep": "file:./dep"},
            **more,
        }
    )


def app_files(**more: object) -> Mapping[str, str]:
    """A tiny web app that installs without any network."""
    return {
        "package.json": manifest(**more),
        "server.js": SERVER_JS,
        "dep/package.json": json.dumps({"name": "dep", "version": "1.0.0"}),
    }


def configure(daemon: DaemonProcess, url: str | None, **more: Any) -> dict[str, Any]:
    """Post a config with this repository."""
    patch: dict[str, Any] = dict(more)
    if url is not None:
        repository: dict[str, Any] = {"cloneUrl": url}
        if "branch" in patch:
            repository["branch"] = patch.pop("branch")
        patch.setdefault("git", {})["repository"] = repository
        patch["git"].setdefault(
            "identity", {"userName": "Ann Example", "userEmail": "ann@example.invalid"}
        )
    answer: dict[str, Any] = daemon.post("/config", patch)
    return answer


def health(daemon: DaemonProcess) -> dict[str, Any]:
    """`GET /health`."""
    found: dict[str, Any] = daemon.http.request("GET", f"{daemon.url}/health").json()
    return found


def wait_phase(daemon: DaemonProcess, *phases: str, timeout_s: float = 60.0) -> str:
    """The phase, once it is one of `phases` and no step runs."""

    def reached() -> str | None:
        now = health(daemon)
        busy = now["orchestrator"]["running"] or now["orchestrator"]["pending"]
        return now["phase"] if now["phase"] in phases and not busy else None

    try:
        phase: str = poll_until(f"phase {phases}", reached, timeout_s, 0.05)
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {health(daemon)}\n{setup_log(daemon)}") from None
    return phase


def events_now(daemon: DaemonProcess) -> list[tuple[str, Any]]:
    """The state and logs that a new subscriber gets."""
    answer = daemon.http.request(
        "GET", f"{daemon.url}/_sandbox/events", preload_content=False, timeout=10.0
    )
    text = b""
    try:
        for chunk in answer.stream(65536):
            text += chunk
            break
    finally:
        answer.close()
    found = []
    for frame in text.decode().split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":")
        )
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def state(daemon: DaemonProcess, event: str) -> Any:
    """The present value of an event."""
    return next((data for name, data in events_now(daemon) if name == event), None)


def lifecycle(daemon: DaemonProcess) -> dict[str, Any]:
    """The present lifecycle."""
    found: dict[str, Any] = state(daemon, "lifecycle")["state"]
    return found


def setup_log(daemon: DaemonProcess, source: str = "setup") -> str:
    """What is kept of the setup's log."""
    return "".join(
        data["data"]
        for name, data in events_now(daemon)
        if name == "log" and data["source"] == source
    )
