"""A minimal daemon for tests of runners, and its evil twins. Run as a script; stdlib only."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

EVIL = sys.argv[1] if len(sys.argv) > 1 else "good"
TOKEN = os.fdopen(int(os.environ["DAEMON_TOKEN_FD"]), "rb").read().decode()
ROOT = Path(os.environ["SANDBOX_ROOT"])
CONFIG = ROOT / "state" / "config.json"
started = time.monotonic()
posted: list[object] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refused(self) -> bool:
        expected = "Bearer other" if EVIL == "wrong-token" else f"Bearer {TOKEN}"
        if self.headers.get("Authorization") == expected:
            return False
        self.answer(401, {"error": "unauthorized"})
        return True

    def body(self) -> object:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")

    def do_GET(self) -> None:
        if self.path == "/health":
            boot_id = "another" if EVIL == "lying" else os.environ["DAEMON_BOOT_ID"]
            if EVIL == "silent":
                threading.Event().wait()
            if EVIL == "never-ready" or (EVIL == "slow" and time.monotonic() - started < 0.7):
                self.answer(503, {"error": "still at it"})
                return
            self.answer(
                200,
                {
                    "ready": False,
                    "bootId": boot_id,
                    "configured": bool(posted),
                    "orchestrator": {"running": None, "pending": []},
                },
            )
        elif self.refused():
            return
        elif self.path == "/_sandbox/config":
            self.answer(200, {"bootId": os.environ["DAEMON_BOOT_ID"], "config": posted})
        elif self.path == "/_sandbox/env":
            self.answer(200, dict(os.environ))
        else:
            self.answer(404, {"error": "Not found"})

    def do_POST(self) -> None:
        body = self.body()
        if self.refused():
            return
        if self.path == "/_sandbox/config":
            if EVIL == "refusing":
                self.answer(400, {"error": "no such runtime"})
                return
            posted.append(body)
            self.answer(200, {"bootId": os.environ["DAEMON_BOOT_ID"], "transition": "bootstrap"})
        elif self.path == "/_sandbox/run":
            home = ROOT / "workspace" / "home"
            home.mkdir(parents=True, exist_ok=True)
            env = {n: v for n, v in os.environ.items() if not n.startswith("DAEMON_")}
            done = subprocess.run(
                body["argv"], capture_output=True, text=True, env=env, cwd=home, check=False
            )
            self.answer(
                200, {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
            )
        elif self.path == "/_sandbox/die":
            os._exit(9)
        else:
            self.answer(404, {"error": "Not found"})


def main() -> None:
    sys.stdout.write(f"stand-in daemon says hello {EVIL}\n")
    sys.stdout.flush()
    if not TOKEN:
        sys.exit("no token")
    if EVIL == "dying":
        sys.exit("I die at once")
    if EVIL == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if EVIL == "chatty":
        for _ in range(40):
            sys.stdout.write("x" * 100_000 + "\n")
    if "DAEMON_LISTEN_FD" in os.environ:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = socket.socket(fileno=int(os.environ["DAEMON_LISTEN_FD"]))
    else:
        where = (os.environ["DAEMON_HOST"], int(os.environ["DAEMON_PORT"]))
        server = ThreadingHTTPServer(where, Handler)
    server.serve_forever()


main()
