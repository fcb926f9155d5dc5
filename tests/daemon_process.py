"""The real daemon as a process of its own, started by SPEC's environment contract alone."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from tests.live import poll_until

TOKEN = "test-token-" + "t" * 32


@dataclass
class DaemonProcess:
    """`python -m limpet.daemon` on a workspace, behind a listening socket that it inherits."""

    workspace: Path
    environ: Mapping[str, str]
    process: subprocess.Popen[bytes]
    url: str
    http: urllib3.PoolManager

    @classmethod
    @contextlib.contextmanager
    def running(
        cls, workspace: Path, *, wait: bool = True, **environ: str
    ) -> Iterator["DaemonProcess"]:
        """A daemon that answers; killed with all it started when the block ends."""
        workspace.mkdir(parents=True, exist_ok=True)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(64)
            port = listener.getsockname()[1]
            process = subprocess.Popen(
                [sys.executable, "-m", "limpet.daemon"],
                env={
                    **os.environ,
                    "DAEMON_TOKEN": TOKEN,
                    "APP_ROOT": str(workspace),
                    "DAEMON_LISTEN_FD": str(listener.fileno()),
                    **environ,
                },
                pass_fds=[listener.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
            )
        http = urllib3.PoolManager(retries=False, timeout=120.0)
        daemon = cls(workspace, environ, process, f"http://127.0.0.1:{port}", http)
        try:
            if wait:
                poll_until("the daemon's health", daemon.healthy, 30, 0.05)
            yield daemon
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()
            http.clear()

    def healthy(self) -> bool:
        """Whether `/health` answers; fails at once when the process has ended."""
        if self.process.poll() is not None:
            said = self.process.stdout.read().decode() if self.process.stdout else ""
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{said}")
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return self.http.request("GET", f"{self.url}/health").status == 200
        return False

    def request(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """One request with the token."""
        return self.http.request(
            method,
            f"{self.url}/_sandbox{path}",
            body=body,
            headers={"Authorization": f"Bearer {TOKEN}", **headers},
        )

    def post(self, path: str, body: object, status: int = 200) -> Any:
        """The JSON answer of a POST; fails on another status."""
        answer = self.request(
            "POST", path, json.dumps(body).encode(), **{"Content-Type": "application/json"}
        )
        assert answer.status == status, (path, answer.status, answer.data[:500])
        return json.loads(answer.data) if answer.data else None

    def create(self) -> bytes:
        """A snapshot as plain tar."""
        answer = self.request("POST", "/snapshot/create")
        assert answer.status == 200, (answer.status, answer.data[:500])
        return bytes(answer.data)

    def restore(self, tar: bytes) -> urllib3.BaseHTTPResponse:
        """The answer to a restore of `tar`."""
        return self.request(
            "POST", "/snapshot/restore", tar, **{"Content-Type": "application/x-tar"}
        )
