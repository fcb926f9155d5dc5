"""One request or WebSocket passed on between real servers on loopback."""

# ruff: noqa: SIM117

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
import uvicorn
from aiohttp import web
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from limpet.reverse_proxy import (
    Answer,
    ReverseProxy,
    Transform,
    UpstreamUnreachableError,
    end_to_end,
    request_target,
    sendable_code,
)

pytestmark = pytest.mark.anyio

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """An upstream server with one handler for everything."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{rest:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Front:
    """The asking side's server: everything goes on to `target`."""

    def __init__(self, target: str, transform: Transform | None = None) -> None:
        self.proxy = ReverseProxy()
        self.target = target
        self.transform = transform
        self.disconnects = 0
        self.seen: list[str | bytes] = []
        self.extra_headers: list[tuple[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            ws = WebSocket(scope, receive, send)
            url = self.target.replace("http", "ws", 1) + request_target(ws)
            headers = [*end_to_end(ws), *self.extra_headers]
            await self.proxy.websocket(ws, url, headers, on_message=self.seen.append)
            return
        request = Request(scope, receive)
        response: Response
        try:
            response = await self.proxy.http(
                request,
                self.target + request_target(request),
                headers=[*end_to_end(request), *self.extra_headers],
                transform=self.transform,
            )
        except UpstreamUnreachableError as error:
            response = PlainTextResponse(error.message, status_code=502)
        except ClientDisconnect:
            self.disconnects += 1
            return
        await response(scope, receive, send)


@asynccontextmanager
async def fronted(
    target: str, transform: Transform | None = None
) -> AsyncIterator[tuple[str, Front]]:
    front = Front(target, transform)
    config = uvicorn.Config(
        front, port=0, lifespan="off", log_level="error", ws="websockets-sansio"
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    with config.bind_socket() as sock:
        sock.listen()
        task = asyncio.create_task(server._serve([sock]))
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}", front
        finally:
            server.should_exit = server.force_exit = True
            await task
            await front.proxy.close()


async def test_bodies_headers_and_the_path_go_on_as_they_are() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        answer = web.Response(body=body[::-1], status=207, headers={"X-Path": request.raw_path})
        answer.headers.add("Set-Cookie", "a=1")
        answer.headers.add("Set-Cookie", "b=2")
        answer.headers["X-Had"] = ",".join(sorted(n.lower() for n in request.headers))
        return answer

    async with serving(handler) as upstream, fronted(upstream) as (url, _):
        async with aiohttp.ClientSession() as session:
            sent = session.post(
                url + "/a%2Fb//c?x=%20y&x=", data=b"123", headers={"X-Mine": "ü", "TE": "trailers"}
            )
            async with sent as answer:
                assert answer.status == 207
                assert await answer.read() == b"321"
                assert answer.headers["X-Path"] == "/a%2Fb//c?x=%20y&x="
                assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
                assert "x-mine" in answer.headers["X-Had"]
                assert "te" not in answer.headers["X-Had"].split(",")


async def test_a_path_cannot_turn_into_another_host() -> None:
    scope = {
        "type": "http",
        "path": "@evil",
        "raw_path": b"@evil:80/",
        "query_string": b"",
        "headers": [],
    }
    assert request_target(Request(scope)) == "/@evil:80/"


async def test_an_answer_streams_before_it_is_complete() -> None:
    go_on = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"first")
        await go_on.wait()
        await answer.write(b"second")
        return answer

    async with serving(handler) as upstream, fronted(upstream) as (url, _):
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert await answer.content.readexactly(5) == b"first"
            go_on.set()
            assert await answer.content.read() == b"second"


async def test_a_body_streams_before_it_is_complete() -> None:
    arrived = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        assert await request.content.readexactly(5) == b"first"
        arrived.set()
        return web.Response(body=await request.content.read())

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await arrived.wait()
        yield b"second"

    async with serving(handler) as upstream, fronted(upstream) as (url, _):
        async with aiohttp.ClientSession() as session, session.post(url, data=body()) as answer:
            assert await answer.read() == b"second"


async def test_an_answer_that_breaks_off_breaks_ours_off() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"first")
        assert request.transport is not None
        request.transport.abort()
        return answer

    async with serving(handler) as upstream, fronted(upstream) as (url, _):
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()


@pytest.mark.parametrize("answered", [False, True])
async def test_a_client_that_leaves_ends_the_request_upstream(answered: bool) -> None:
    reached, ended = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        if answered:
            await answer.prepare(request)
            await answer.write(b"first")
        reached.set()
        assert request.transport is not None
        closed = request.transport.is_closing
        try:
            while not closed():
                await asyncio.sleep(0.01)
        finally:
            ended.set()
        return answer

    async with serving(handler) as upstream, fronted(upstream) as (url, _):
        async with aiohttp.ClientSession() as session:
            asking = asyncio.create_task(session.get(url))
            await reached.wait()
            if answered:
                (await asking).close()
            else:
                asking.cancel()
            await asyncio.wait_for(ended.wait(), 10)


async def test_nothing_listening_is_unreachable() -> None:
    async with fronted("http://127.0.0.1:1") as (url, _):
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 502


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_and_head_requests_end_well(status: int) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": "1234"})
        return web.Response(status=status, headers={"ETag": '"x"'})

    async with serving(handler) as upstream, fronted(upstream) as (url, _):
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as answer:
                assert answer.status == status
                assert answer.headers["ETag"] == '"x"'
            async with session.head(url) as answer:
                assert answer.headers["Content-Length"] == "1234"


async def test_a_compressed_answer_goes_on_untouched_and_can_be_made_plain() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        body = gzip.compress(b"plain " * 10_000)
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    def plain(answer: Answer) -> Answer:
        assert answer.decoded()
        return answer

    async with serving(handler) as upstream:
        for transform in (None, plain):
            async with fronted(upstream, transform) as (url, _):
                async with aiohttp.ClientSession() as session, session.get(url) as answer:
                    assert await answer.read() == b"plain " * 10_000
                    assert ("Content-Encoding" in answer.headers) == (transform is None)


async def echo(request: web.Request) -> web.StreamResponse:
    ws = web.WebSocketResponse(protocols=("vite-hmr", "other"))
    await ws.prepare(request)
    async for message in ws:
        if message.type is aiohttp.WSMsgType.TEXT and message.data == "close":
            await ws.close(code=4321, message=b"as you said")
        elif message.type is aiohttp.WSMsgType.TEXT:
            await ws.send_str(message.data)
        else:
            await ws.send_bytes(message.data)
    request.app["closed"].append(ws.close_code)
    return ws


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[str, list[int]]]:
    app = web.Application()
    closed: list[int] = []
    app["closed"] = closed
    app.router.add_route("*", "/{rest:.*}", echo)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", closed
    finally:
        await runner.cleanup()


@pytest.mark.filterwarnings("ignore:It is recommended to use web.AppKey")
async def test_a_websocket_passes_frames_protocols_and_closes_both_ways() -> None:
    async with echoing() as (upstream, closed), fronted(upstream) as (url, front):
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(url + "/hmr?token=1", protocols=["vite-hmr"]) as ws:
                assert ws.protocol == "vite-hmr"
                await ws.send_str("ü" * 100_000)
                assert await ws.receive_str() == "ü" * 100_000
                await ws.send_bytes(b"\0" * 2_000_000)
                assert await ws.receive_bytes() == b"\0" * 2_000_000
                await ws.send_str("close")
                message = await ws.receive()
                assert (message.data, message.extra) == (4321, "as you said")
            async with session.ws_connect(url) as ws:
                await ws.send_str("x")
                await ws.receive_str()
                await ws.close(code=4001, message=b"mine")
            while len(closed) < 2:
                await asyncio.sleep(0.01)
            assert closed[1] == 4001
        assert [len(m) for m in front.seen] == [100_000, 2_000_000, 5, 1]


@pytest.mark.filterwarnings("ignore:It is recommended to use web.AppKey")
async def test_many_frames_keep_their_order_and_their_kind() -> None:
    async with echoing() as (upstream, _), fronted(upstream) as (url, _front):
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:

            async def send() -> None:
                for number in range(3000):
                    await ws.send_str(f"{number}")
                    await ws.send_bytes(b"%d" % number)

            sending = asyncio.create_task(send())
            for number in range(3000):
                assert await ws.receive_str() == f"{number}"
                assert await ws.receive_bytes() == b"%d" % number
            await sending


@pytest.mark.filterwarnings("ignore:It is recommended to use web.AppKey")
async def test_a_line_that_is_cut_on_either_side_ends_the_other() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.receive()
        assert request.transport is not None
        request.transport.abort()
        return ws

    async with serving(cut) as upstream, fronted(upstream) as (url, _):
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
            await ws.send_str("now")
            message = await ws.receive()
            assert (message.data, message.extra) == (1011, "upstream connection lost")
    async with echoing() as (upstream, closed), fronted(upstream) as (url, _):
        async with aiohttp.ClientSession() as session:
            ws = await session.ws_connect(url)
            await ws.send_str("x")
            await ws.receive_str()
            assert ws._response.connection is not None
            transport = ws._response.connection.transport
            assert transport is not None
            transport.abort()
        async with asyncio.timeout(30):
            while not closed:
                await asyncio.sleep(0.01)
        assert closed[0] in {1000, 1001}


async def test_a_websocket_to_nowhere_closes_with_1011() -> None:
    async with fronted("http://127.0.0.1:1") as (url, _), aiohttp.ClientSession() as session:
        async with session.ws_connect(url, protocols=["vite-hmr"]) as ws:
            message = await ws.receive()
            assert (message.data, message.extra) == (1011, "upstream not reachable")


async def test_a_refused_handshake_is_refused_on() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=403)

    async with serving(handler) as upstream, fronted(upstream) as (url, _):
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(url)
            assert caught.value.status == 403


@pytest.mark.parametrize(
    ("code", "sent"),
    [(1000, 1000), (1005, 1000), (1006, 1011), (4000, 4000), (1015, 1011), (12, 1011)],
)
def test_only_codes_that_may_be_sent_are(code: int, sent: int) -> None:
    assert sendable_code(code, lost=1011) == sent
