"""An S3 server on loopback that refuses: puts on a condition, as some real ones do, or more."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

REPEATED: Final = "a-secret-that-servers-repeat"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is refused, and how. `of` is an HTTP method, `LIST`, `CONDITION` or `ALL`."""

    of: str
    status: int
    code: str


UNCONDITIONAL: Final = Refusal("CONDITION", 501, "NotImplemented")


@contextlib.contextmanager
def refusing_server(
    refusal: Refusal | None = UNCONDITIONAL, *, ignoring: str = ""
) -> Iterator[str]:
    """Its endpoint; every bucket is there. Other conditions than the header `ignoring` it keeps."""
    state = {"objects": {}, "refusal": refusal, "ignoring": ignoring}
    handler = type("Handler", (_Handler,), state)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _etag(body: bytes | None) -> str:
    return f'"{hashlib.md5(body or b"", usedforsecurity=False).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    objects: dict[str, bytes]
    refusal: Refusal | None
    ignoring: str

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        absent, present = self._condition("If-None-Match"), self._condition("If-Match")
        if self._refused("CONDITION" if absent or present else "PUT"):
            return
        there = self.objects.get(self._key())
        if (absent and there is not None) or (present and present != _etag(there)):
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        self.objects[self._key()] = body
        self._answer(200, etag_of=body)

    def do_DELETE(self) -> None:
        if self._refused("DELETE"):
            return
        self.objects.pop(self._key(), None)
        self._answer(204)

    def do_GET(self) -> None:
        key = self._key()
        if self._refused(self.command if "/" in key else "LIST"):
            return
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

    def _condition(self, header: str) -> str | None:
        return None if header == self.ignoring else self.headers.get(header)

    def _refused(self, what: str) -> bool:
        """Whether it is refused, and was answered so. The answer repeats what it should not."""
        if self.refusal is None or self.refusal.of not in (what, "ALL"):
            return False
        told = f"<Code>{self.refusal.code}</Code><Message>{REPEATED}</Message>"
        self._answer(self.refusal.status, f"<Error>{told}</Error>".encode())
        return True

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
        self,
        status: int,
        body: bytes = b"",
        *,
        etag_of: bytes | None = None,
        content_range: str = "",
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", _etag(etag_of))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
