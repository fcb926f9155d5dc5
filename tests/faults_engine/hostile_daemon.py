"""A daemon that speaks the protocol and lies: `state/evil` says how. Started by the host runner.

What it is sent by the control plane it keeps in `state/received-...`.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from limpet.snapshots.media_type import MEDIA_TYPE
from tests.faults_engine.hostile_streams import CASES, PLANS, Answer, beyond_base, good, of

TOKEN = os.fdopen(int(os.environ["DAEMON_TOKEN_FD"]), "rb").read().decode()
STATE = Path(os.environ["SANDBOX_ROOT"]) / "state"
BOOT = os.environ["DAEMON_BOOT_ID"]


def evil() -> str:
    """How it lies now; nothing when it does not."""
    path = STATE / "evil"
    return path.read_text() if path.exists() else ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(
                {"ready": False, "bootId": BOOT, "configured": False, "version": "1",
                 "orchestrator": {"running": None, "pending": []},
                 "snapshotFormats": [MEDIA_TYPE]}
            )  # fmt: skip
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": "unauthorized"}, 401)
        elif self.path.startswith("/_sandbox/config"):
            self.answer({"bootId": BOOT, "config": {}})
        elif self.path.startswith("/_sandbox/idle"):
            told = {"lastActivityAt": "2026-01-01T00:00:00Z", "idleMs": 1, "activitySeq": 7}
            self.answer(told)
        elif self.path.startswith("/_sandbox/snapshot/origin"):
            told = {"snapshot": None, "generation": None, "unsaved": False, "detached": False}
            self.answer({**told, "empty": evil() not in PLANS})
        else:
            self.answer({"error": "Not found"}, 404)

    def do_POST(self) -> None:
        body = self.read()
        (STATE / f"received-{time.monotonic_ns()}").write_bytes(body)
        if self.path.startswith("/_sandbox/snapshot/create"):
            base = self.headers.get("X-Limpet-Base")
            case = CASES.get(evil())
            if evil() == "wrong about its base" and base is not None:
                case = Answer(of(lambda: beyond_base(base)))
            self.stream(case or Answer(of(lambda: good(base)), quick=True))
        elif self.path.startswith("/_sandbox/config"):
            self.answer({"bootId": BOOT, "transition": "none"})
        elif self.path.startswith("/_sandbox/snapshot/plan"):
            self.stream(Answer(PLANS[evil()]))
        elif self.path.startswith("/_sandbox/snapshot/restore"):
            self.restored()
        else:
            self.answer({})

    def restored(self) -> None:
        how = evil()
        if how == "answers an error":
            self.answer({"error": "x" * 100_000}, 500)
        elif how == "answers no object":
            self.answer([1, 2])
        else:
            self.answer({"ok": True, "files": 1, "bytes": 1, "receipt": {}})

    def read(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, told: object, status: int = 200) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, answer: Answer) -> None:
        self.close_connection = True
        headers = {"X-Limpet-Activity-Seq": "7", "X-Limpet-Boot-Id": BOOT, **answer.headers}
        self.send_response(answer.status)
        if answer.media_type is not None:
            self.send_header("Content-Type", answer.media_type)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            self.send(answer.body())
            if answer.ends:
                self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the control plane has heard enough

    def send(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            if piece:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.daemon_threads = True
    server.socket.close()
    server.socket = socket.socket(fileno=int(os.environ["DAEMON_LISTEN_FD"]))
    server.serve_forever()


main()
