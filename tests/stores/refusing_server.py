"""An S3 server on loopback that answers puts on a condition with 501, as some real ones do."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@contextlib.contextmanager
def refusing_server() -> Iterator[str]:
    """Its endpoint; every bucket is there."""
    handler = type("Handler", (_Handler,), {"objects": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    objects: dict[str, bytes]

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("If-None-Match") or self.headers.get("If-Match"):
            self._answer(501, b"<Error><Code>NotImplemented</Code></Error>")
            return
        self.objects[self._key()] = body
        self._answer(200, etag_of=body)

    def do_DELETE(self) -> None:
        self.objects.pop(self._key(), None)
        self._answer(204)

    def do_GET(self) -> None:
        key = self._key()
        if "/" not in key:
            self._list(f"{key}/")
        elif (body := self.objects.get(key)) is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        elif asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            part = body[int(first) : int(last or len(body)) + 1]
            told = f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"
            self._answer(206, part, etag_of=body, content_range=told)
        else:
            self._answer(200, body, etag_of=body)

    do_HEAD = do_GET  # noqa: N815 (as its base asks)

    def _key(self) -> str:
        """Bucket and key; the bucket alone where a list is asked for."""
        return unquote(urlsplit(self.path).path).removeprefix("/")

    def _list(self, bucket: str) -> None:
        prefix = bucket + parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]
        contents = "".join(
            f"<Contents><Key>{key.removeprefix(bucket)}</Key><Size>{len(body)}</Size><ETag>x</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, body in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        self._answer(200, f"<ListBucketResult>{contents}</ListBucketResult>".encode())

    def _answer(
        self, status: int, body: bytes = b"", *, etag_of: bytes = b"", content_range: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.md5(etag_of, usedforsecurity=False).hexdigest()}"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
