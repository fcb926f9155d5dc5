"""Previews on the wire, byte by byte: both proxies, an odd dev server, hostile clients."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.control.sandboxes.live_page import LivePage, live_page
from tests.previews.wire_server import WIRE_JS

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LivePage]:
    async with live_page(Path(tmp_path_factory.mktemp("wire")), WIRE_JS) as made:
        yield made


async def raw(page: LivePage, request: str | bytes, *, timeout_s: float = 30) -> bytes:
    """All that comes back for these very bytes; `HOST` stands for the preview's host."""
    data = request.encode() if isinstance(request, str) else request
    data = data.replace(b"HOST", page.host.encode()).replace(b"\n", b"\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", page.app.port)
    try:
        writer.write(data)
        await writer.drain()
        async with asyncio.timeout(timeout_s):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def ask(page: LivePage, target: str, *, method: str = "GET", more: str = "") -> bytes:
    return await raw(page, f"{method} {target} HTTP/1.1\nHost: HOST\n{more}Connection: close\n\n")


async def seen(page: LivePage) -> list[dict[str, Any]]:
    answer = await ask(page, "/seen")
    found: list[dict[str, Any]] = json.loads(body_of(answer))
    return found


def status_of(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    return int(found[1]) if found else 0


def head_of(answer: bytes) -> str:
    return answer.partition(b"\r\n\r\n")[0].decode("latin-1").lower()


def body_of(answer: bytes) -> bytes:
    """The body, its chunks put together; fails when it does not end as it should."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    whole = b""
    while True:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return whole
        whole += rest[:length]
        body = rest[length + 2 :]


def is_whole(answer: bytes) -> bool:
    """Whether the answer says itself that nothing is missing."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    if length is not None:
        return len(body) == int(length[1])
    return body.endswith(b"0\r\n\r\n")


SMUGGLED = "GET /smuggled HTTP/1.1\nHost: HOST\n\n"
TWO_WAYS = {
    "length-and-chunked": "Content-Length: 4\nTransfer-Encoding: chunked\n\n0\n\n" + SMUGGLED,
    "chunked-and-length": "Transfer-Encoding: chunked\nContent-Length: 4\n\n0\n\n" + SMUGGLED,
    "unknown-coding": "Transfer-Encoding: xchunked\n\n0\n\n" + SMUGGLED,
    "chunked-not-last": "Transfer-Encoding: chunked, identity\n\n0\n\n" + SMUGGLED,
    "space-before-colon": "Transfer-Encoding : chunked\n\n0\n\n" + SMUGGLED,
    "two-lengths": "Content-Length: 0\nContent-Length: 5\n\n" + SMUGGLED,
    "signed-length": "Content-Length: +5\n\n" + SMUGGLED,
    "listed-length": "Content-Length: 5, 5\n\n" + SMUGGLED,
    "folded": "X: a\n Transfer-Encoding: chunked\nContent-Length: 4\n\n0\n\n" + SMUGGLED,
    "two-hosts": "Host: evil.example\nConnection: close\n\n",
    "nul": "X: a\0b\n\n",
}


@pytest.mark.parametrize("rest", TWO_WAYS.values(), ids=TWO_WAYS.keys())
async def test_a_request_that_can_be_read_two_ways_is_refused(page: LivePage, rest: str) -> None:
    answer = await raw(page, "POST /a HTTP/1.1\nHost: HOST\n" + rest)
    assert status_of(answer) in {400, 421}, answer[:300]
    urls = [one["url"] for one in await seen(page)]
    assert "/smuggled" not in urls
    assert "/a" not in urls


NATIVE = """
/_sandbox/idle //_sandbox/idle /%5fsandbox/idle /%5Fsandbox/idle /x/../_sandbox/idle
/./_sandbox/idle /_sandbox/./idle /x/%2e%2e/_sandbox/idle /%2e/_sandbox/idle /_sandbox%2fidle
/%2f_sandbox/idle /_SANDBOX/idle /_sandbox;x/idle /_sandbox/idle?x /_decopilot_vm/idle
/%255fsandbox/idle /\\_sandbox/idle /_sandbox\\idle /health /health?x /%68ealth
http://HOST/_sandbox/idle http://127.0.0.1/_sandbox/idle /_sandbox /_sandbox/ /_sandbox/idle/..
/?/../_sandbox/idle /_sandbox#/idle
""".split()


@pytest.mark.parametrize("target", NATIVE)
async def test_no_way_to_write_a_path_reaches_the_daemons_own_routes(
    page: LivePage, target: str
) -> None:
    answer = await ask(page, target)
    assert status_of(answer) in {200, 400, 404}, answer[:300]
    for secret in (b"activitySeq", b"bootId", b"orchestrator"):
        assert secret not in answer


async def test_a_path_goes_on_letter_by_letter(page: LivePage) -> None:
    for target in ("/a%2Fb/%7Ec//d/../e?q=%zz&r=a+b", "/%E2%82%AC/;p=1?x=/../y", "/a?b?c"):
        await ask(page, target)
        assert (await seen(page))[-1]["url"] == target


async def test_what_is_for_the_next_hop_alone_goes_no_further(page: LivePage) -> None:
    await ask(
        page, "/hop", more="TE: trailers\nProxy-Authorization: Basic x\nX-Gone: 1\n"
        "X-Forwarded-For: 6.6.6.6\nX-Forwarded-Host: evil\nForwarded: for=1\n"
        "X-Forwarded-Proto: https\n"
        "X-Limpet-Port: 1\nX-Limpet-Ports-At: http://evil/{port}\nConnection: X-Gone\n",
    )  # fmt: skip
    [told] = [one for one in await seen(page) if one["url"] == "/hop"]
    pairs = list(zip(told["headers"][::2], told["headers"][1::2], strict=True))
    names = [name.lower() for name, _ in pairs]
    for gone in ("te", "proxy-authorization", "x-gone", "forwarded", "x-limpet-port",
                 "x-limpet-ports-at", "x-limpet-token"):  # fmt: skip
        assert gone not in names
    values = {name.lower(): value for name, value in pairs}
    assert values["x-forwarded-host"] == page.host
    assert values["x-forwarded-proto"] == "http"
    assert "6.6.6.6" not in values["x-forwarded-for"]
    assert names.count("host") == 1
    answer = head_of(await ask(page, "/hop"))
    assert "x-secret" not in answer
    assert "proxy-authenticate" not in answer


@pytest.mark.parametrize("path", ["/broken", "/broken-chunked"])
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
async def test_an_answer_that_breaks_off_never_ends_well(
    page: LivePage, path: str, accept: str
) -> None:
    answer = await ask(page, path, more=f"Accept: {accept}\n")
    assert status_of(answer) == 200
    assert not is_whole(answer), answer


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/204", 204, b""), ("/304", 304, b""), ("/hints", 200, b"after hints"),
        ("/trailers", 200, b"body"), ("/until-closed", 200, b"to the end"), ("/split", 200, b"ok"),
        ("/large-header", 200, b"ok"), ("/refused", 413, b"big"),
    ],
)  # fmt: skip
async def test_odd_answers_end_as_they_should(
    page: LivePage, path: str, status: int, body: bytes
) -> None:
    answer = await ask(page, path)
    assert status_of(answer) == status
    assert body_of(answer) == body
    assert "x-sum" not in head_of(answer)


async def test_what_is_no_http_is_a_gateways_error(page: LivePage) -> None:
    assert status_of(await ask(page, "/nonsense")) == 502


async def test_head_and_ranges_go_through(page: LivePage) -> None:
    head = await ask(page, "/sized", method="HEAD")
    assert (status_of(head), body_of(head)) == (200, b"")
    assert "content-length: 5" in head_of(head)
    part = await ask(page, "/range", more="Range: bytes=2-4\n")
    assert (status_of(part), body_of(part)) == (206, b"bytes=2-4")
    assert "content-range: bytes 2-4/10" in head_of(part)


async def test_a_body_is_asked_for_before_it_is_sent(page: LivePage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", page.app.port)
    head = f"POST /sink HTTP/1.1\r\nHost: {page.host}\r\nContent-Length: 4\r\n"
    writer.write(f"{head}Expect: 100-continue\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(30):
        assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")
        await reader.readline()
        writer.write(b"body")
        answer = await reader.read()
    assert body_of(answer) == b"4"
    writer.close()


async def test_chunks_go_both_ways_while_they_come(page: LivePage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", page.app.port)
    head = f"POST /echo HTTP/1.1\r\nHost: {page.host}\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + b"5\r\nfirst\r\n")
    async with asyncio.timeout(30):
        assert b"first" in await reader.readuntil(b"first\r\n")
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")
        assert b"second" in await reader.readuntil(b"0\r\n\r\n")
        writer.write(f"GET /kept HTTP/1.1\r\nHost: {page.host}\r\n\r\n".encode())
        assert b"/kept" in await reader.readuntil(b"/kept"), "the connection is kept alive"
    writer.close()


async def test_server_sent_events_come_as_they_are_sent(page: LivePage) -> None:
    async with page.get("/drip") as answer:
        assert await answer.content.readuntil(b"\n\n") == b"data: first\n\n"
        async with page.get("/go-on"):
            pass
        assert await answer.content.readuntil(b"\n\n") == b"data: second\n\n"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_client_that_leaves_is_missed_upstream(page: LivePage, method: str) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", page.app.port)
    rest = "Content-Length: 1000\r\n\r\nhalf" if method == "POST" else "\r\n"
    writer.write(f"{method} /hang HTTP/1.1\r\nHost: {page.host}\r\n{rest}".encode())
    await until_hanging(page, 1)
    writer.close()
    await until_hanging(page, 0)


async def until_hanging(page: LivePage, number: int) -> None:
    async with asyncio.timeout(30):
        while int(body_of(await ask(page, "/hanging"))) != number:
            await asyncio.sleep(0.05)


async def test_headers_have_a_limit(page: LivePage) -> None:
    answer = await ask(page, "/", more=f"X-Large: {'y' * 30_000}\n")
    assert status_of(answer) in {200, 431}
    answer = await ask(page, "/", more=f"X-Large: {'y' * 300_000}\n")
    assert status_of(answer) in {0, 400, 431, 502}
    assert status_of(await ask(page, "/")) == 200
