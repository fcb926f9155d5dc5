"""A server on loopback that speaks Google Cloud Storage's XML interface, as far as we use it.

Objects with generations, conditions on them, ranges, lists in pages, uploads in parts. It lets in
whoever signs with the one service account's key, and nobody else.
"""

import base64
import contextlib
import hashlib
import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

PAGE = 3
"""Keys in one page of a list: few, so that every longer list has pages."""
ACCOUNT = "limpet@tests.iam.gserviceaccount.com"


@dataclass(frozen=True, slots=True)
class _Object:
    body: bytes
    generation: int
    modified: str

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


@dataclass(slots=True)
class GcsServer:
    """What it holds, by bucket and key. `credentials` is the account's key file, as Google's."""

    key: rsa.RSAPrivateKey
    endpoint: str = ""
    buckets: dict[str, dict[str, _Object]] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def credentials(self) -> str:
        """The JSON that GOOGLE_APPLICATION_CREDENTIALS leads to."""
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        told = {"type": "service_account", "client_email": ACCOUNT, "private_key_id": "1"}
        return json.dumps({**told, "private_key": pem.decode()})

    def knows(self, authorization: str) -> bool:
        """Whether a bearer token was signed by the account."""
        signed, _, signature = authorization.removeprefix("Bearer ").rpartition(".")
        try:
            claims = json.loads(_decoded(signed.partition(".")[2]))
            self.key.public_key().verify(
                _decoded(signature), signed.encode(), padding.PKCS1v15(), SHA256()
            )
        except (InvalidSignature, ValueError):
            return False
        return bool(claims["iss"] == ACCOUNT)


@contextlib.contextmanager
def gcs_server() -> Iterator[GcsServer]:
    """The server, running until the block ends."""
    state = GcsServer(rsa.generate_private_key(65537, 2048))
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: GcsServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if (place := self._place()) is None:
            return
        bucket, key, query = place
        if "uploadId" in query:
            with self.state.lock:
                self.state.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
            self._answer(200, headers={"ETag": f'"{len(body)}"'})
            return
        self._store(bucket, key, body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if (place := self._place()) is None:
            return
        bucket, key, query = place
        if "uploads" in query:
            upload = str(next(self.state.numbers))
            self.state.uploads[upload] = {}
            self._xml(
                f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId>"
                "</InitiateMultipartUploadResult>"
            )
            return
        parts = self.state.uploads.pop(query["uploadId"][0])
        self._store(bucket, key, b"".join(parts[number] for number in sorted(parts)), xml=True)

    def do_DELETE(self) -> None:
        if (place := self._place()) is None:
            return
        bucket, key, query = place
        if "uploadId" in query:
            self.state.uploads.pop(query["uploadId"][0], None)
        elif bucket.pop(key, None) is None:
            self._refuse(404, "NoSuchKey")
            return
        self._answer(204)

    def do_GET(self) -> None:
        if (place := self._place()) is None:
            return
        bucket, key, query = place
        if not key:
            self._list(bucket, query)
            return
        found = bucket.get(key)
        if found is None:
            self._refuse(404, "NoSuchKey")
            return
        headers = {
            "ETag": found.etag,
            "x-goog-generation": str(found.generation),
            "Last-Modified": found.modified,
        }
        status, body = 200, found.body
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(body)), len(body) - 1)
            if start >= len(body):
                self._refuse(416, "InvalidRange")
                return
            headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
            status, body = 206, body[start : end + 1]
        self._answer(status, body, headers)

    do_HEAD = do_GET  # noqa: N815

    # -- inside --------------------------------------------------------------------------------

    def _place(self) -> tuple[dict[str, _Object], str, dict[str, list[str]]] | None:
        """The bucket, the key in it and the query; None when it was refused."""
        if not self.state.knows(self.headers.get("Authorization", "")):
            self._refuse(401, "AuthenticationRequired")
            return None
        url = urlsplit(self.path)
        name, _, key = unquote(url.path.removeprefix("/")).partition("/")
        bucket = self.state.buckets.get(name)
        if bucket is None:
            self._refuse(404, "NoSuchBucket")
            return None
        return bucket, key, parse_qs(url.query, keep_blank_values=True)

    def _store(
        self, bucket: dict[str, _Object], key: str, body: bytes, *, xml: bool = False
    ) -> None:
        wanted = self.headers.get("x-goog-if-generation-match")
        with self.state.lock:
            there = bucket.get(key)
            if wanted is not None and int(wanted) != (there.generation if there else 0):
                self._refuse(412, "PreconditionFailed")
                return
            made = _Object(body, next(self.state.numbers), formatdate(usegmt=True))
            bucket[key] = made
        headers = {"ETag": made.etag, "x-goog-generation": str(made.generation)}
        if xml:
            self._xml(
                f"<CompleteMultipartUploadResult><ETag>{escape(made.etag)}</ETag>"
                "</CompleteMultipartUploadResult>",
                headers,
            )
        else:
            self._answer(200, headers=headers)

    def _list(self, bucket: dict[str, _Object], query: dict[str, list[str]]) -> None:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        keys = sorted(key for key in list(bucket) if key.startswith(prefix) and key > after)
        shown, rest = keys[:PAGE], keys[PAGE:]
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(bucket[key].body)}</Size>"
            f"<Generation>{bucket[key].generation}</Generation>"
            f"<ETag>{escape(bucket[key].etag)}</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key in shown
        )
        more = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if rest else ""
        self._xml(f"<ListBucketResult>{contents}{more}</ListBucketResult>")

    def _refuse(self, status: int, code: str) -> None:
        if self.command == "HEAD":
            self._answer(status)
        else:
            self._xml(f"<Error><Code>{code}</Code></Error>", status=status)

    def _xml(self, text: str, headers: dict[str, str] | None = None, *, status: int = 200) -> None:
        told = {"Content-Type": "application/xml", **(headers or {})}
        self._answer(status, f"<?xml version='1.0' encoding='UTF-8'?>{text}".encode(), told)

    def _answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
