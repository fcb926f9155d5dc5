"""A registry on loopback that has one image: https://distribution.github.io/distribution/spec/api/."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "limpet/empty"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@contextlib.contextmanager
def registry(layer_bytes: int) -> Iterator[str]:
    """The name, with the registry's address, of an image whose one layer is so large."""
    blobs: dict[str, bytes] = {}
    manifest = _image(blobs, layer_bytes)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            kind, _, what = self.path.removeprefix(f"/v2/{NAME}/").partition("/")
            if self.path == "/v2/":
                self.answer(b"{}", "application/json")
            elif kind == "manifests":
                self.answer(manifest, _MANIFEST)
            elif kind == "blobs" and what in blobs:
                self.answer(blobs[what], "application/octet-stream")
            else:
                self.send_error(404)

        def answer(self, body: bytes, media_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", _digest(body))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}/{NAME}:1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _image(blobs: dict[str, bytes], layer_bytes: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        file = tarfile.TarInfo("noise")
        file.size = layer_bytes
        tar.addfile(file, io.BytesIO(os.urandom(layer_bytes)))
    layer = gzip.compress(made.getvalue(), 1)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(made.getvalue())]},
        }
    ).encode()
    kept = {_digest(blob): blob for blob in (layer, config)}
    blobs |= kept
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _described(config, "application/vnd.docker.container.image.v1+json"),
            "layers": [_described(layer, "application/vnd.docker.image.rootfs.diff.tar.gzip")],
        }
    ).encode()


def _described(blob: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(blob), "digest": _digest(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"
