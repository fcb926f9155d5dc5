"""Serves a folder of plain files, and has open pages load themselves anew when a file changes.

A program of its own, of the standard library alone: it runs in the sandbox like any dev server, as
the sandbox's user, by whatever Python 3 there is. HOST and PORT say where; the argument is the
folder. Pages get a line of script that listens to `/.limpet/changes`; of the files that were asked
for, the times are looked at twice a second while somebody listens.
"""

import os
import sys
import threading
import urllib.parse
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

CHANGES = "/.limpet/changes"
LOOK_S = 0.5
MAX_WATCHED = 5000
MAX_PAGE_BYTES = 8 * 1024 * 1024
_SCRIPT = (
    "<script>(()=>{{const s=new EventSource('{path}?since={since}');"
    "s.onmessage=()=>{{s.close();location.reload()}}}})()</script>"
)


class Watched:
    """The files that pages were made of. One listener's thread looks; all are told."""

    def __init__(self) -> None:
        self._seen: dict[str, object] = {}
        self._lock = threading.Lock()
        self._generation = 0

    def add(self, path: str) -> None:
        """Remember how a file looks now."""
        with self._lock:
            if path not in self._seen and len(self._seen) < MAX_WATCHED:
                self._seen[path] = _look(path)

    def generation(self) -> int:
        """A number that grows whenever a file was found changed."""
        with self._lock:
            for path, before in self._seen.items():
                now = _look(path)
                if now != before:
                    self._seen[path] = now
                    self._generation += 1
            return self._generation


def _look(path: str) -> object:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class Handler(SimpleHTTPRequestHandler):
    """Files as they are, pages with the line of script."""

    protocol_version = "HTTP/1.1"
    watched = Watched()
    ending = threading.Event()
    extensions_map = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".svg": "image/svg+xml",
        ".webp": "image/webp",
        ".avif": "image/avif",
        ".woff2": "font/woff2",
    }

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of what was served."""

    def end_headers(self) -> None:
        """Let nothing be kept: what is looked at is being worked on."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def do_GET(self) -> None:
        """A file, a page, or the stream of changes."""
        if urllib.parse.urlsplit(self.path).path == CHANGES:
            self._tell_changes()
        elif not self._page(body=True):
            super().do_GET()

    def do_HEAD(self) -> None:
        """The same without what is in it."""
        if not self._page(body=False):
            super().do_HEAD()

    def send_head(self):  # type: ignore[no-untyped-def]
        """As ever, but nothing that leads out of the folder, and of nothing that git keeps."""
        if self._place() is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        del self.headers["If-Modified-Since"]  # it counts in seconds, and edits come quicker
        return super().send_head()

    def _place(self) -> "str | None":
        """The file that is asked for; None for one that is not to be served."""
        path = self.translate_path(self.path)
        top = os.path.realpath(self.directory)
        real = os.path.realpath(path)
        inside = os.path.relpath(real, top).split("/")
        if inside[0] == ".." or ".git" in inside:
            return None
        self.watched.add(path)
        return path

    def _page(self, *, body: bool) -> bool:
        """Answer with a page; whether it was one."""
        path = self._place()
        if path is None:
            return False
        if os.path.isdir(path) and urllib.parse.urlsplit(self.path).path.endswith("/"):  # noqa: PTH112
            path = os.path.join(path, "index.html")  # noqa: PTH118
        elif not os.path.exists(path) and os.path.isfile(path + ".html"):  # noqa: PTH110, PTH113
            path += ".html"
        if not path.endswith((".html", ".htm")) or not os.path.isfile(path):  # noqa: PTH113
            return False
        self.watched.add(path)
        since = self.watched.generation()  # before it is read: a change after that is told
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                page = file.read(MAX_PAGE_BYTES + 1)
        except OSError:
            return False
        if len(page) > MAX_PAGE_BYTES:
            return False
        script = _SCRIPT.format(path=CHANGES, since=since).encode()
        end = page.lower().rfind(b"</body>")
        page = page[:end] + script + page[end:] if end >= 0 else page + script
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if body:
            self.wfile.write(page)
        return True

    def _tell_changes(self) -> None:
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        given = urllib.parse.urlsplit(self.path).query.removeprefix("since=")
        before = int(given) if given.isdigit() else self.watched.generation()
        quiet = 0.0
        try:
            self.wfile.write(b"retry: 500\n\n")
            while True:
                now = self.watched.generation()
                if now != before:
                    before = now
                    self.wfile.write(b"data: changed\n\n")
                if self.ending.wait(LOOK_S):
                    return
                quiet += LOOK_S
                if quiet >= 15:  # so that a page that has gone is noticed
                    quiet = 0.0
                    self.wfile.write(b": still here\n\n")
        except OSError:
            return


class Server(ThreadingHTTPServer):
    """Threads do not keep it alive."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A browser that breaks off is nobody's error."""


def main() -> None:
    """Serve until ended."""
    os.chdir(sys.argv[1])
    host, port = os.environ.get("HOST") or "127.0.0.1", int(os.environ.get("PORT") or "0")
    server = Server((host, port), Handler)
    shown = "localhost" if host in {"0.0.0.0", "127.0.0.1"} else host
    print(f"Serving files at http://{shown}:{server.server_address[1]}/", flush=True)  # noqa: T201
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        Handler.ending.set()


if __name__ == "__main__":
    main()
