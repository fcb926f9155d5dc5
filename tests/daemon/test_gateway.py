"""The daemon's end of a gateway: HTTP from inside, handed out through a WebSocket and back."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from limpet.daemon.gateway import MAX_BODY_BYTES, MAX_REQUESTS, WINDOW_BYTES
from tests.daemon.test_pipes import memory_kib
from tests.daemon_process import DaemonProcess

pytestmark = pytest.mark.anyio

PATIENCE_S = 60


@dataclass
class ControlPlane:
    """Plays the control plane's part on `/gateway`, frame by frame."""

    ws: aiohttp.ClientWebSocketResponse
    port: int = 0
    told: list[dict[str, Any]] = field(default_factory=list)
    bodies: dict[int, bytearray] = field(default_factory=dict)
    takes: bool = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def say(self, **message: Any) -> None:
        await self.ws.send_str(json.dumps(message))

    async def piece(self, number: int, data: bytes) -> None:
        await self.ws.send_bytes(number.to_bytes(4, "big") + data)

    async def hear(self) -> dict[str, Any]:
        """Take in one frame; a body's piece is told as one, too."""
        async with asyncio.timeout(PATIENCE_S):
            message = await self.ws.receive()
        if message.type == aiohttp.WSMsgType.BINARY:
            number, data = int.from_bytes(message.data[:4], "big"), message.data[4:]
            self.bodies.setdefault(number, bytearray()).extend(data)
            if self.takes:
                await self.say(type="taken", id=number, bytes=len(data))
            return {"type": "piece", "id": number, "size": len(data)}
        assert message.type == aiohttp.WSMsgType.TEXT, (message, self.ws.close_code)
        told: dict[str, Any] = json.loads(message.data)
        self.told.append(told)
        return told

    async def until(self, kind: str, number: int | None = None) -> dict[str, Any]:
        while True:
            told = await self.hear()
            if told["type"] == kind and number in {None, told.get("id")}:
                return told

    async def answer(self, number: int, *pieces: bytes, status: int = 200) -> None:
        await self.say(type="answer", id=number, status=status, headers=[["X-Mine", "yes"]])
        for piece in pieces:
            await self.piece(number, piece)
        await self.say(type="end", id=number)


@contextlib.asynccontextmanager
async def gateway(http: aiohttp.ClientSession) -> AsyncIterator[ControlPlane]:
    async with http.ws_connect("/_sandbox/gateway") as ws:
        plane = ControlPlane(ws)
        plane.port = (await plane.until("listening"))["port"]
        yield plane


@pytest.fixture
async def inside() -> AsyncIterator[aiohttp.ClientSession]:
    """A client in the sandbox."""
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_request_is_handed_out_and_its_answer_comes_back_as_it_comes(
    http: aiohttp.ClientSession, inside: aiohttp.ClientSession
) -> None:
    body = bytes(range(256)) * 4000
    async with gateway(http) as plane:
        asking = asyncio.create_task(
            inside.post(f"{plane.url}/v1/x%20y?beta=true", data=body, headers={"X-Api-Key": "t"})
        )
        asked = await plane.until("request")
        assert (asked["method"], asked["path"]) == ("POST", "/v1/x%20y?beta=true")
        assert ["x-api-key", "t"] in asked["headers"]
        await plane.until("end", asked["id"])
        assert bytes(plane.bodies[asked["id"]]) == body
        await plane.say(
            type="answer",
            id=asked["id"],
            status=201,
            headers=[["Content-Type", "text/event-stream"], ["Content-Length", "5"]],
        )
        answer = await asking
        assert (answer.status, answer.content_type) == (201, "text/event-stream")
        for event in (b"data: 1\n\n", b"data: 2\n\n"):
            await plane.piece(asked["id"], event)
            assert await answer.content.readany() == event  # before there is any more
        await plane.say(type="end", id=asked["id"])
        assert await answer.read() == b""


async def test_many_are_open_at_once_and_too_many_are_refused(
    http: aiohttp.ClientSession, inside: aiohttp.ClientSession
) -> None:
    async with gateway(http) as plane:
        asking = [
            asyncio.create_task(inside.get(f"{plane.url}/{number}"))
            for number in range(MAX_REQUESTS)
        ]
        asked = [await plane.until("request") for _ in asking]
        async with inside.get(f"{plane.url}/more") as refused:
            assert refused.status == 503
            assert "requests" in (await refused.json())["error"]["message"]
        for one in reversed(asked):
            await plane.answer(one["id"], one["path"].encode())
        for number, task in enumerate(asking):
            async with await task as answer:
                assert await answer.text() == f"/{number}"
        again = asyncio.create_task(inside.get(f"{plane.url}/again"))
        await plane.answer((await plane.until("request"))["id"], b"again")
        assert await (await again).text() == "again"


async def test_the_port_is_gone_with_the_socket_and_what_was_open_is_told(
    http: aiohttp.ClientSession, inside: aiohttp.ClientSession
) -> None:
    async with gateway(http) as plane:
        waiting = asyncio.create_task(inside.get(f"{plane.url}/waiting"))
        begun = asyncio.create_task(inside.get(f"{plane.url}/begun"))
        for _ in range(2):
            asked = await plane.until("request")
            if asked["path"] == "/begun":
                await plane.say(type="answer", id=asked["id"], status=200)
                await plane.piece(asked["id"], b"half")
        answer = await begun
        assert await answer.content.readany() == b"half"
    told = await waiting
    assert told.status == 502
    assert (await told.json())["type"] == "error"
    assert "any more" in (await told.json())["error"]["message"]
    with pytest.raises(aiohttp.ClientPayloadError):
        await answer.read()
    with pytest.raises(aiohttp.ClientConnectorError):
        await inside.get(f"{plane.url}/later")


async def test_a_client_that_goes_is_told_and_the_others_go_on(
    http: aiohttp.ClientSession, inside: aiohttp.ClientSession
) -> None:
    async with gateway(http) as plane:
        leaving = asyncio.create_task(inside.get(f"{plane.url}/leaving"))
        asked = await plane.until("request")
        leaving.cancel()
        await plane.until("gone", asked["id"])
        await plane.answer(asked["id"], b"too late")
        in_the_middle = asyncio.create_task(inside.get(f"{plane.url}/middle"))
        asked = await plane.until("request")
        await plane.say(type="answer", id=asked["id"], status=200)
        (await in_the_middle).close()
        await plane.until("gone", asked["id"])
        staying = asyncio.create_task(inside.get(f"{plane.url}/staying"))
        asked = await plane.until("request")
        await plane.answer(asked["id"], b"here")
        assert await (await staying).text() == "here"


async def test_an_answer_that_breaks_off_is_no_whole_one(
    http: aiohttp.ClientSession, inside: aiohttp.ClientSession
) -> None:
    async with gateway(http) as plane:
        for begins in (False, True):
            asking = asyncio.create_task(inside.get(plane.url))
            asked = await plane.until("request")
            if begins:
                await plane.say(type="answer", id=asked["id"], status=200)
                await plane.piece(asked["id"], b"half")
            await plane.say(type="broken", id=asked["id"])
            answer = await asking
            if begins:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.read()
            else:
                assert answer.status == 502
                assert (await answer.json())["error"]["message"] == "The answer broke off."


async def test_neither_side_is_sent_more_than_a_window(
    http: aiohttp.ClientSession, inside: aiohttp.ClientSession, daemon: DaemonProcess
) -> None:
    async with gateway(http) as plane:
        plane.takes = False

        async def flood() -> AsyncIterator[bytes]:
            while True:
                yield bytes(65536)

        async def upload() -> None:
            with contextlib.suppress(aiohttp.ClientError):
                await inside.post(plane.url, data=flood())

        asking = asyncio.create_task(upload())
        asked = await plane.until("request")
        while len(plane.bodies.get(asked["id"], b"")) < WINDOW_BYTES - 65536:
            await plane.hear()
        before = memory_kib(daemon.process.pid)
        # A second request is heard, and nothing more of the first comes before it.
        other = asyncio.create_task(inside.get(f"{plane.url}/other"))
        await plane.until("request")
        assert len(plane.bodies[asked["id"]]) <= WINDOW_BYTES
        number = plane.told[-1]["id"]
        await plane.answer(number)
        async with await other:
            pass
        assert memory_kib(daemon.process.pid) - before < 8 * 1024
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

        slow = asyncio.create_task(inside.get(f"{plane.url}/slow"))
        asked = await plane.until("request")
        await plane.say(type="answer", id=asked["id"], status=200)
        await slow
        await plane.piece(asked["id"], bytes(WINDOW_BYTES + 1))
        with contextlib.suppress(AssertionError):
            while (await plane.hear())["type"] != "error":
                pass
        assert "window" in plane.told[-1]["error"]


async def test_a_body_that_is_too_large_is_refused(
    http: aiohttp.ClientSession, inside: aiohttp.ClientSession
) -> None:
    async with gateway(http) as plane:
        asking = asyncio.create_task(inside.post(plane.url, data=bytes(MAX_BODY_BYTES + 1)))
        await plane.until("gone")
        assert sum(map(len, plane.bodies.values())) <= MAX_BODY_BYTES
        assert (await asking).status == 413


async def test_headers_without_end_and_nonsense_are_cut(
    http: aiohttp.ClientSession, inside: aiohttp.ClientSession
) -> None:
    async with gateway(http) as plane:
        for begin in (b"GET / HTTP/1.1\r\nX: ", b"GET /"):
            reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
            writer.write(begin)
            with contextlib.suppress(ConnectionError):
                for _ in range(64):
                    writer.write(b"x" * 65536)
                    await writer.drain()
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(PATIENCE_S):
                    await reader.read()
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
        writer.write(b"\x16\x03\x01nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 150_000 + b"\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 431")
        writer.close()
        asking = asyncio.create_task(inside.get(plane.url))
        await plane.answer((await plane.until("request"))["id"], b"well")
        assert await (await asking).text() == "well"


async def test_a_frame_of_the_control_planes_that_does_not_fit_ends_the_gateway(
    http: aiohttp.ClientSession, inside: aiohttp.ClientSession
) -> None:
    for frames in (
        ["nonsense"],
        ["[]"],
        [b"abc"],
        ['{"type": "answer", "id": 1, "status": 99}'],
        ['{"type": "answer", "id": 1, "status": 200, "headers": [["a b", "c"]]}'],
        ['{"type": "answer", "id": 1, "status": 200, "headers": [["a", "c\\r\\nd: e"]]}'],
        ['{"type": "answer", "id": 1, "status": 200}'] * 2,
        ['{"type": "end", "id": 1}'],
        ['{"type": "taken", "id": 1, "bytes": 5}'],
        [(1).to_bytes(4, "big") + b"body"],
    ):
        async with gateway(http) as plane:
            asking = asyncio.create_task(inside.get(plane.url))
            assert (await plane.until("request"))["id"] == 1
            for frame in frames:
                await (
                    plane.ws.send_str(frame)
                    if isinstance(frame, str)
                    else plane.ws.send_bytes(frame)
                )
            assert (await plane.until("error"))["error"]
            async with asyncio.timeout(PATIENCE_S):
                closed = await plane.ws.receive()
            assert closed.type == aiohttp.WSMsgType.CLOSE
            with contextlib.suppress(aiohttp.ClientError):
                (await asking).close()


async def test_only_the_token_opens_one_never_a_browser_and_not_without_end(
    http: aiohttp.ClientSession, daemon: DaemonProcess
) -> None:
    async with aiohttp.ClientSession() as stranger:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await stranger.ws_connect(f"{daemon.url}/_sandbox/gateway")
        assert refused.value.status == 401
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect("/_sandbox/gateway", origin="http://page.example")
    assert refused.value.status == 403
    async with contextlib.AsyncExitStack() as stack:
        planes = [await stack.enter_async_context(gateway(http)) for _ in range(16)]
        assert len({plane.port for plane in planes}) == 16
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect("/_sandbox/gateway")
        assert refused.value.status == 429


async def test_its_port_is_no_preview(http: aiohttp.ClientSession, daemon: DaemonProcess) -> None:
    async with gateway(http) as plane:
        listed = json.loads(daemon.request("GET", "/previews").data)["ports"]
        assert plane.port not in [one["port"] for one in listed]
        async with http.get("/", headers={"X-Limpet-Port": str(plane.port)}) as answer:
            assert answer.status in {502, 503}


async def test_a_daemon_that_ends_lets_go_of_it(
    http: aiohttp.ClientSession, inside: aiohttp.ClientSession, daemon: DaemonProcess
) -> None:
    async with gateway(http) as plane:
        waiting = asyncio.create_task(inside.get(plane.url))
        await plane.until("request")
        daemon.process.terminate()
        assert await asyncio.to_thread(daemon.process.wait, 30) == 0
        with contextlib.suppress(aiohttp.ClientError):
            assert (await waiting).status == 502
