"""Buckets alone: lost answers, large bodies on a condition, and errors that say what to do."""

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from limpet.errors import InvalidInputError, PreconditionFailedError, StoreUnavailableError
from limpet.stores import objectstore
from limpet.stores.base import ReplaceIf
from limpet.stores.settings import BUCKET, ENDPOINT, PREFIX, REGION, open_store
from tests.stores.contents import parts, read
from tests.stores.s3_server import KEYS

pytestmark = pytest.mark.anyio


async def test_a_put_whose_answer_was_lost_was_made(bucket: dict[str, str], tmp_path: Path) -> None:
    store = open_store(bucket, tmp_path)
    first = await store.put("k", b"the same", condition="create-only")
    again = await store.put("k", parts(b"the ", b"same"), condition="create-only")
    assert again.etag == first.etag
    changed = await store.put("k", b"other", condition=ReplaceIf(first.etag))
    assert (await store.put("k", b"other", condition=ReplaceIf(first.etag))).etag == changed.etag


async def test_what_is_long_is_created_once_and_replaces_nothing(
    bucket: dict[str, str], tmp_path: Path
) -> None:
    store = open_store(bucket, tmp_path)
    long = [bytes([n]) * (9 << 20) for n in range(8)]
    first = await store.put("k", parts(*long), condition="create-only")
    assert await read(store, "k") == b"".join(long)
    read_on = False

    async def other() -> AsyncIterator[bytes]:
        nonlocal read_on
        for chunk in long:
            yield chunk[::-1]
        read_on = True
        yield b"and more"

    with pytest.raises(PreconditionFailedError):
        await store.put("k", other(), condition="create-only")
    assert not read_on, "it is told before all of it was read"
    with pytest.raises(InvalidInputError, match="cannot replace"):
        await store.put("k", parts(*long, b"x"), condition=ReplaceIf(first.etag))
    seen = await store.head("k")
    assert seen is not None
    assert seen.etag == first.etag


async def test_prefixes_keep_stores_apart(bucket: dict[str, str], tmp_path: Path) -> None:
    one = open_store(bucket, tmp_path)
    other = open_store({**bucket, PREFIX: "some"}, tmp_path)
    await one.put("k", b"x")
    assert await other.head("k") is None
    assert [o.key async for o in one.list("")] == ["k"]
    assert one.where == f"s3://{bucket[BUCKET]}/some/prefix"


@pytest.mark.parametrize("operation", ["put", "get", "head", "delete", "list"])
async def test_a_bucket_that_is_not_there_is_no_empty_one(
    bucket: dict[str, str], tmp_path: Path, operation: str
) -> None:
    store = open_store({**bucket, BUCKET: "there-is-none"}, tmp_path)
    acts = {
        "put": lambda: store.put("k", b"x"),
        "get": lambda: store.get("k"),
        "head": lambda: store.head("k"),
        "delete": lambda: store.delete("k"),
        "list": lambda: anext(store.list("v1/")),
    }
    with pytest.raises(StoreUnavailableError, match="there is no such bucket") as told:
        await acts[operation]()
    assert BUCKET in told.value.hint


async def test_a_store_that_does_not_answer_is_said(
    bucket: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 1)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    store = open_store({**bucket, ENDPOINT: f"http://127.0.0.1:{port}"}, tmp_path)
    with pytest.raises(StoreUnavailableError, match="does not answer") as told:
        await store.head("k")
    assert ENDPOINT in told.value.hint


class _Refusing(BaseHTTPRequestHandler):
    """Answers everything with one status and body."""

    status = 500
    body = b""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815 (as its base asks)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def refusing(status: int, body: bytes) -> Iterator[str]:
    handler = type("Handler", (_Refusing,), {"status": status, "body": body})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "said", "hinted"),
    [
        (403, "InvalidAccessKeyId", "does not accept the credentials", "access key"),
        (403, "SignatureDoesNotMatch", "does not accept the credentials", "access key"),
        (400, "ExpiredToken", "does not accept the credentials", "role"),
        (403, "RequestTimeTooSkewed", "clock is wrong", "NTP"),
        (400, "AuthorizationHeaderMalformed", "another region", REGION),
        (301, "PermanentRedirect", "another region", REGION),
        (403, "AccessDenied", "not allowed", "doctor --store"),
        (403, "SomethingNew", "not allowed", "doctor --store"),
        (404, "NoSuchBucket", "no such bucket", BUCKET),
        (503, "SlowDown", "overloaded", "later"),
        (500, "InternalError", "HTTP 500 InternalError", "again"),
        (418, "<script>", "HTTP 418", "again"),
    ],
)
async def test_what_a_store_refuses_is_told_without_what_it_repeats(
    bucket: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    status: int, code: str, said: str, hinted: str,
) -> None:  # fmt: skip
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 1)
    secret = "AKIAREPEATED"
    body = f"<Error><Code>{code}</Code><AWSAccessKeyId>{secret}</AWSAccessKeyId></Error>".encode()
    with refusing(status, body) as endpoint:
        store = open_store({**bucket, ENDPOINT: endpoint}, tmp_path)
        for act in (lambda: store.put("k", b"x"), lambda: store.get("k")):
            with pytest.raises(StoreUnavailableError, match=said) as told:
                await act()
            assert hinted in told.value.hint
            assert secret not in told.value.message + told.value.hint


async def test_no_credentials_at_all_is_said(
    bucket: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 0)
    with refusing(404, b"") as nowhere:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", nowhere)
        store = open_store(bucket, tmp_path)
        with pytest.raises(StoreUnavailableError, match="no credentials were found") as told:
            await store.put("k", b"x")
    assert "AWS_ACCESS_KEY_ID" in told.value.hint


@pytest.mark.parametrize(
    ("value", "kind", "where"),
    [
        ("plain-name", "s3", "s3://plain-name/sandbox-snapshots"),
        ("s3://plain-name", "s3", "s3://plain-name/sandbox-snapshots"),
        ("gs://plain-name", "gcs", "gs://plain-name/sandbox-snapshots"),
        ("AZ://plain-name", "azure", "az://plain-name/sandbox-snapshots"),
    ],
)
def test_whose_bucket_it_is_stands_before_its_name(
    keys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, kind: str, where: str
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    store = open_store({BUCKET: value}, tmp_path)
    assert (store.kind, store.where) == (kind, where)


@pytest.mark.parametrize(
    "value", ["ftp://x-y-z", "s3://", "a", "has space", "a/b-c", "s3://a-b/c", "://abc"]
)
def test_what_names_no_bucket_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(InvalidInputError, match=BUCKET):
        open_store({BUCKET: value}, tmp_path)


def test_settings_that_no_client_can_use_are_told_without_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "not base64, and a secret")
    with pytest.raises(InvalidInputError) as told:
        open_store({BUCKET: "az://container", REGION: "x"}, tmp_path)
    assert "secret" not in told.value.message + told.value.hint


async def test_an_error_that_only_looks_like_the_end_of_an_object_is_one(
    bucket: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 0)
    with refusing(500, b"<Error><Code>InternalError</Code> 416 InvalidRange</Error>") as endpoint:
        store = open_store({**bucket, ENDPOINT: endpoint}, tmp_path)
        with pytest.raises(StoreUnavailableError, match="HTTP 500"):
            await store.get("a-416-b", start=416)


def test_an_installation_without_clients_for_buckets_says_so(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
sys.modules["obstore"] = None
from limpet.errors import InvalidInputError
from limpet.stores.settings import open_store
open_store({}, Path(sys.argv[1]))
try:
    open_store({"SANDBOX_SNAPSHOTS_BUCKET": "a-bucket"}, Path(sys.argv[1]))
except InvalidInputError as error:
    print(error.message, error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    assert BUCKET in done.stdout
    assert "limpet[control]" in done.stdout
