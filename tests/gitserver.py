"""A real git server for tests: git http-backend behind HTTPS on loopback, with its own CA.

with GitServer.start(tmp_path / "git") as server:
    url = server.add_repository("small", {"a.txt": "hello"})
    environ = server.environ
"""

import base64
import contextlib
import gzip
import os
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme

AUTHOR = {
    "GIT_AUTHOR_NAME": "Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.invalid",
    "GIT_COMMITTER_NAME": "Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.invalid",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(*args: str, cwd: Path, **env: str) -> str:
    """Run git as the tester, without the machine's own settings; its output."""
    done = subprocess.run(
        ["git", *args],
        cwd=cwd,
        env={**os.environ, **AUTHOR, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"git {' '.join(args)}: {done.stdout}"
    return done.stdout.strip()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    git: "GitServer"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that break off are what some tests are about."""


class GitServer:
    """Serves the bare repositories in `folder`. `credentials` (user, password) turn on basic auth.

    `failing` is called with each request's path; the status it returns is answered instead, and
    for 0 the answer breaks off in its middle, and text is where it redirects to.
    """

    def __init__(self, folder: Path, credentials: tuple[str, str] | None = None) -> None:
        self.folder = folder
        self.credentials = credentials
        self.request_count = 0
        self.clone_count = 0
        self.paths: list[str] = []
        self.seen_headers: list[str] = []
        self.failing: Callable[[str], int | str | None] = lambda _: None
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.git = self
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @classmethod
    @contextlib.contextmanager
    def start(
        cls, folder: Path, credentials: tuple[str, str] | None = None
    ) -> Iterator["GitServer"]:
        """A server that answers until the block ends."""
        server = cls(folder, credentials)
        server._thread.start()
        try:
            yield server
        finally:
            server._server.shutdown()
            server._server.server_close()
            server._thread.join()

    @property
    def origin(self) -> str:
        """`https://127.0.0.1:<port>`."""
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    @property
    def environ(self) -> dict[str, str]:
        """What a control plane needs for its sandboxes to reach this server and trust it."""
        port = self._server.server_address[1]
        return {"GIT_SSL_CAINFO": str(self.ca_file), "LIMPET_SANDBOX_HOST_PORTS": str(port)}

    def url(self, name: str, *, authenticated: bool = False) -> str:
        """The clone URL of a repository, with the credentials in it if told so."""
        origin = self.origin
        if authenticated:
            assert self.credentials is not None
            user, password = self.credentials
            origin = origin.replace("https://", f"https://{user}:{password}@")
        return f"{origin}/{name}.git"

    def bare(self, name: str) -> Path:
        """The bare repository's folder."""
        return self.folder / f"{name}.git"

    def add_repository(
        self, name: str, files: Mapping[str, str], *, branch: str = "main", empty: bool = False
    ) -> str:
        """A repository with one commit of `files` on `branch`; its clone URL."""
        bare = self.bare(name)
        git("init", "-q", "--bare", "-b", branch, str(bare), cwd=self.folder)
        git("config", "http.receivepack", "true", cwd=bare)
        if not empty:
            self.commit(name, files, branch=branch)
        return self.url(name)

    def commit(
        self, name: str, files: Mapping[str, str], *, branch: str = "main", message: str = "files"
    ) -> str:
        """Add one commit to a branch of the repository, made if it is not there; its hash."""
        bare = self.bare(name)
        work = self.folder / f"{name}.work"
        if not work.exists():
            git("init", "-q", "-b", branch, str(work), cwd=self.folder)
            git("remote", "add", "origin", str(bare), cwd=work)
        git("checkout", "-q", "-B", branch, cwd=work)
        for path, text in files.items():
            target = work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        git("add", "-A", cwd=work)
        git("commit", "-q", "--allow-empty", "-m", message, cwd=work)
        git("push", "-q", "-f", "origin", branch, cwd=work)
        return git("rev-parse", "HEAD", cwd=work)

    def head(self, name: str, branch: str) -> str | None:
        """What a branch of the bare repository points at."""
        with contextlib.suppress(AssertionError):
            return git("rev-parse", "-q", "--verify", f"refs/heads/{branch}", cwd=self.bare(name))
        return None

    def admits(self, header: str | None) -> bool:
        """Whether a request may go on."""
        if self.credentials is None:
            return True
        wanted = base64.b64encode(":".join(self.credentials).encode()).decode()
        return header == f"Basic {wanted}"


class _Handler(BaseHTTPRequestHandler):
    """One request as CGI of git http-backend."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Advertise refs."""
        self._serve(b"")

    def do_POST(self) -> None:
        """Fetch or push."""
        self._serve(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _serve(self, body: bytes) -> None:
        server = self.server.git
        path, _, query = self.path.partition("?")
        server.request_count += 1
        server.paths.append(self.path)
        server.seen_headers.append(str(self.headers))
        status = server.failing(self.path)
        if isinstance(status, str):
            self._answer(301, [("Location", status)], b"moved")
            return
        if status == 0:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"001e# service=git-upload-pack\n")
            self.close_connection = True
            return
        if status is not None:
            self._answer(status, [], b"made to fail")
            return
        if not server.admits(self.headers.get("Authorization")):
            self._answer(401, [("WWW-Authenticate", 'Basic realm="git"')], b"who are you?")
            return
        plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        if path.endswith("/git-upload-pack") and re.search(rb"want [0-9a-f]{40}", plain):
            server.clone_count += b"have " not in plain
        env = {
            **os.environ,
            **AUTHOR,
            "GIT_PROJECT_ROOT": str(server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(plain)),
            "REMOTE_USER": "tester",
            "REMOTE_ADDR": "127.0.0.1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=plain, env=env, stdout=subprocess.PIPE, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
        status = next((int(v.split()[0]) for n, v in headers if n.lower() == "status"), 200)
        self._answer(status, [(n, v) for n, v in headers if n.lower() != "status"], content)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
