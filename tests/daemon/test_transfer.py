"""Transfers by URL: only to hosts on the list, only https, and nothing left when they fail."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from limpet.daemon.transfer import check_url
from limpet.errors import InvalidInputError
from tests.daemon_process import DaemonProcess

pytestmark = pytest.mark.anyio
ALLOWED = ("files.test", "*.bucket.test")


@pytest.mark.parametrize("url", ["https://files.test/a", "https://files.test:8443/a?b=c",
                                 "https://FILES.test./a", "https://x.y.bucket.test/a"])  # fmt: skip
def test_urls_that_are_taken(url: str) -> None:
    assert check_url(url, ALLOWED) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://files.test/a", "https://other.test/a", "https://bucket.test/a", "file:///etc/passwd",
        "https://files.test@other.test/", "https://user:pw@files.test/", "https://127.0.0.1/",
        "https://[::1]/", "https://2130706433/", "https://0x7f000001/", "https://files.test.evil/",
        "https://xbucket.test/", "", "https://", "https://files.test:99999/", "//files.test/a",
    ],
)  # fmt: skip
def test_urls_that_are_not(url: str) -> None:
    with pytest.raises(InvalidInputError):
        check_url(url, ALLOWED)


def test_no_list_allows_nothing() -> None:
    with pytest.raises(InvalidInputError, match="host not allowed"):
        check_url("https://localhost/", ())


@dataclass
class Files:
    url: str = ""
    received: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return ca, path


@pytest.fixture
async def files(authority: tuple[trustme.CA, Path]) -> AsyncIterator[Files]:
    served = Files()

    async def get(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name == "redirect":
            raise web.HTTPFound("/plain")
        if name == "astray":
            raise web.HTTPFound("https://elsewhere.test/plain")
        if name == "missing":
            raise web.HTTPNotFound
        if name == "huge":
            return web.Response(headers={"Content-Length": str(600 << 20)})
        if name == "broken":
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b"x" * 10)
            assert request.transport is not None
            request.transport.close()
            return response
        return web.Response(body=b"hello")

    async def put(request: web.Request) -> web.Response:
        served.received[request.match_info["name"]] = await request.read()
        return web.Response(status=201)

    app = web.Application()
    app.add_routes([web.get("/{name}", get), web.put("/{name}", put)])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority[0].issue_cert("localhost").configure_cert(context)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    served.url = f"https://localhost:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


@pytest.fixture
def allowing(root: Path, authority: tuple[trustme.CA, Path]) -> Iterator[DaemonProcess]:
    with DaemonProcess.running(
        root / "workspace", OFFLOAD_ALLOWED_HOSTS="localhost", SSL_CERT_FILE=str(authority[1]),
        NO_PROXY="localhost", no_proxy="localhost",
    ) as daemon:  # fmt: skip
        yield daemon


async def test_files_come_and_go(allowing: DaemonProcess, files: Files, repo: Path) -> None:
    for name in ("plain", "redirect"):
        body = {"path": f"in/{name}", "url": f"{files.url}/{name}"}
        done = await asyncio.to_thread(allowing.post, "/write_from_url", body)
        assert done == {"ok": True, "path": f"in/{name}", "size": 5}
        assert (repo / "in" / name).read_bytes() == b"hello"
    (repo / "out").write_bytes(b"x" * 1_000_000)
    body = {"path": "out", "url": f"{files.url}/out"}
    assert (await asyncio.to_thread(allowing.post, "/upload_to_url", body))["size"] == 1_000_000
    assert files.received["out"] == b"x" * 1_000_000


@pytest.mark.parametrize(
    ("name", "status"),
    [("astray", 400), ("missing", 502), ("huge", 413), ("broken", 502)],
)
async def test_what_fails_leaves_nothing(
    allowing: DaemonProcess, files: Files, repo: Path, root: Path, name: str, status: int
) -> None:
    (repo / "kept").write_text("kept")
    for path in ("kept", "fresh"):
        body = {"path": path, "url": f"{files.url}/{name}"}
        answer = await asyncio.to_thread(allowing.post, "/write_from_url", body, status)
        assert answer["error"]
    assert (repo / "kept").read_text() == "kept"
    assert [p.name for p in repo.iterdir()] == ["kept"]
    assert [p.name for p in (root / "scratch").iterdir()] == ["cache"]


async def test_a_stranger_is_not_spoken_to(daemon: DaemonProcess, files: Files) -> None:
    body = {"path": "a", "url": f"{files.url}/plain"}
    answer = await asyncio.to_thread(daemon.post, "/write_from_url", body, 400)
    assert "host not allowed" in answer["error"]
