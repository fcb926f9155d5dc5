"""Buckets: what the local folder does, a real S3 server does too; every error says what to do."""

import contextlib
import itertools
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest

from limpet.errors import (
    InvalidInputError,
    PreconditionFailedError,
    StoreUnavailableError,
)
from limpet.stores import objectstore
from limpet.stores.base import ReplaceIf, SandboxStore
from limpet.stores.local import LocalStore
from limpet.stores.objectstore import MAX_CONDITIONAL_BYTES
from limpet.stores.probe import probe_store
from limpet.stores.settings import (
    BUCKET,
    ENDPOINT,
    FORCE_PATH_STYLE,
    PREFIX,
    REGION,
    open_store,
)
from tests.stores.s3_server import KEYS, make_bucket, s3_server

pytestmark = pytest.mark.anyio
_numbers = itertools.count()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as found:
        yield found


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def asked(endpoint: str, keys: None) -> dict[str, str]:
    """What asks for a new bucket."""
    bucket = f"bucket-{next(_numbers)}"
    make_bucket(endpoint, bucket)
    return {BUCKET: bucket, ENDPOINT: endpoint, FORCE_PATH_STYLE: "1", PREFIX: "some/prefix"}


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SandboxStore:
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    return open_store(request.getfixturevalue("asked"), tmp_path)


async def read(
    store: SandboxStore, key: str, *, start: int = 0, length: int | None = None
) -> bytes | None:
    chunks = await store.get(key, start=start, length=length)
    return None if chunks is None else b"".join([chunk async for chunk in chunks])


async def parts(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


# -- what every store does ------------------------------------------------------------------------


async def test_what_was_put_comes_back_whole_and_in_ranges(store: SandboxStore) -> None:
    seen = await store.put("a/b", parts(b"x" * 3_000_000, b"tail"))
    assert seen.size_bytes == 3_000_004
    told = await store.head("a/b")
    assert told is not None
    assert (told.key, told.size_bytes, told.etag) == ("a/b", 3_000_004, seen.etag)
    assert abs(told.modified_at_s - seen.modified_at_s) < 60
    assert (await read(store, "a/b") or b"")[-5:] == b"xtail"
    assert await read(store, "a/b", start=3_000_000) == b"tail"
    assert await read(store, "a/b", start=2_999_999, length=3) == b"xta"
    assert await read(store, "a/b", start=3_000_002, length=99) == b"il"
    assert await read(store, "a/b", start=9_000_000) == b""
    assert await read(store, "a/b", start=9_000_000, length=5) == b""
    assert await read(store, "a/b", length=0) == b""
    assert await read(store, "a/missing") is None
    assert await read(store, "a/missing", length=0) is None
    assert await read(store, "a/missing", start=7) is None
    assert await store.head("a/missing") is None


async def test_an_empty_object_is_one(store: SandboxStore) -> None:
    for key, body in (("bytes", b""), ("stream", parts())):
        assert (await store.put(key, body)).size_bytes == 0
        assert await read(store, key) == b""
        assert await read(store, key, length=9) == b""


async def test_a_large_body_goes_up_in_parts(store: SandboxStore) -> None:
    body = [bytes([n]) * 5_000_001 for n in range(5)]
    seen = await store.put("large", parts(*body))
    assert seen.size_bytes == 25_000_005
    told = await store.head("large")
    assert told is not None
    assert told.etag == seen.etag
    assert await read(store, "large") == b"".join(body)


@pytest.mark.parametrize("size", [3, 20_000_000])
async def test_a_body_that_breaks_leaves_what_was_there(store: SandboxStore, size: int) -> None:
    await store.put("k", b"old")

    async def broken() -> AsyncIterator[bytes]:
        yield b"n" * size
        raise FileNotFoundError("the body's own")

    with pytest.raises(FileNotFoundError, match="the body's own"):
        await store.put("k", broken())
    assert await read(store, "k") == b"old"


async def test_create_only_never_replaces(store: SandboxStore) -> None:
    await store.put("k", b"first", condition="create-only")
    with pytest.raises(PreconditionFailedError):
        await store.put("k", parts(b"second"), condition="create-only")
    assert await read(store, "k") == b"first"


async def test_replace_if_wants_the_very_object(store: SandboxStore) -> None:
    first = await store.put("k", b"first")
    second = await store.put("k", b"second", condition=ReplaceIf(first.etag))
    assert second.etag != first.etag
    with pytest.raises(PreconditionFailedError):
        await store.put("k", b"third", condition=ReplaceIf(first.etag))
    with pytest.raises(PreconditionFailedError):
        await store.put("never", b"x", condition=ReplaceIf(first.etag))
    assert await read(store, "k") == b"second"
    assert await store.head("never") is None


async def test_of_many_that_create_at_once_one_wins(store: SandboxStore) -> None:
    won: list[int] = []

    async def create(number: int) -> None:
        with contextlib.suppress(PreconditionFailedError):
            await store.put("k", b"%d" % number, condition="create-only")
            won.append(number)

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(create, number)
    assert len(won) == 1
    assert await read(store, "k") == b"%d" % won[0]


async def test_a_list_has_every_key_below_in_order(store: SandboxStore) -> None:
    for key in ("p/b", "p/a~1/x", "p/a", "q", "p/c/d/e", "pp/x", "p/b-2"):
        await store.put(key, key.encode())

    async def listed(prefix: str) -> list[str]:
        return [one.key async for one in store.list(prefix)]

    assert await listed("p/") == sorted(["p/b", "p/a~1/x", "p/a", "p/c/d/e", "p/b-2"])
    assert await listed("p/b") == ["p/b", "p/b-2"]
    assert await listed("nothing/") == []
    assert len(await listed("")) == 7


async def test_deleting_twice_is_no_error(store: SandboxStore) -> None:
    await store.put("k", b"x")
    await store.delete("k")
    await store.delete("k")
    assert await store.head("k") is None


@pytest.mark.parametrize("key", ["", "../x", "a//b", "/a", ".hidden", "A", "a\0b", "a" * 1001])
async def test_a_key_that_is_none_is_refused(store: SandboxStore, key: str) -> None:
    for act in (lambda: store.put(key, b""), lambda: store.get(key), lambda: store.head(key)):
        with pytest.raises(InvalidInputError):
            await act()
    with pytest.raises(InvalidInputError):
        await store.delete(key)


async def test_a_range_that_cannot_be_is_refused(store: SandboxStore) -> None:
    for start, length in ((-1, None), (0, -1)):
        with pytest.raises(InvalidInputError, match="range"):
            await store.get("k", start=start, length=length)


async def test_the_probe_finds_nothing_wrong(store: SandboxStore) -> None:
    assert [one for one in await probe_store(store) if not one.ok] == []


# -- buckets alone --------------------------------------------------------------------------------


async def test_a_put_whose_answer_was_lost_was_made(asked: dict[str, str], tmp_path: Path) -> None:
    store = open_store(asked, tmp_path)
    first = await store.put("k", b"the same", condition="create-only")
    again = await store.put("k", parts(b"the ", b"same"), condition="create-only")
    assert again.etag == first.etag
    changed = await store.put("k", b"other", condition=ReplaceIf(first.etag))
    assert (await store.put("k", b"other", condition=ReplaceIf(first.etag))).etag == changed.etag


async def test_what_is_too_large_for_a_condition_is_refused(
    asked: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(asked, tmp_path)
    monkeypatch.setattr(objectstore, "MAX_CONDITIONAL_BYTES", 1 << 20)
    await store.put("k", parts(bytes(1 << 20)), condition="create-only")
    with pytest.raises(InvalidInputError, match="on a condition"):
        await store.put("other", parts(bytes(1 << 20), b"x"), condition="create-only")
    assert await store.head("other") is None
    assert MAX_CONDITIONAL_BYTES > 64 << 20


async def test_prefixes_keep_stores_apart(asked: dict[str, str], tmp_path: Path) -> None:
    one = open_store(asked, tmp_path)
    other = open_store({**asked, PREFIX: "some"}, tmp_path)
    await one.put("k", b"x")
    assert await other.head("k") is None
    assert [o.key async for o in one.list("")] == ["k"]
    assert one.where == f"s3://{asked[BUCKET]}/some/prefix"


@pytest.mark.parametrize("operation", ["put", "get", "head", "delete", "list"])
async def test_a_bucket_that_is_not_there_is_no_empty_one(
    asked: dict[str, str], tmp_path: Path, operation: str
) -> None:
    store = open_store({**asked, BUCKET: "there-is-none"}, tmp_path)
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
    asked: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 1)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    store = open_store({**asked, ENDPOINT: f"http://127.0.0.1:{port}"}, tmp_path)
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
    asked: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    status: int, code: str, said: str, hinted: str,
) -> None:  # fmt: skip
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 1)
    secret = "AKIAREPEATED"
    body = f"<Error><Code>{code}</Code><AWSAccessKeyId>{secret}</AWSAccessKeyId></Error>".encode()
    with refusing(status, body) as endpoint:
        store = open_store({**asked, ENDPOINT: endpoint}, tmp_path)
        for act in (lambda: store.put("k", b"x"), lambda: store.get("k")):
            with pytest.raises(StoreUnavailableError, match=said) as told:
                await act()
            assert hinted in told.value.hint
            assert secret not in told.value.message + told.value.hint


async def test_no_credentials_at_all_is_said(
    asked: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 0)
    with refusing(404, b"") as nowhere:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", nowhere)
        store = open_store(asked, tmp_path)
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
