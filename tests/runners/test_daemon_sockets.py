"""What we make of a daemon's WebSockets when the daemon is anything but ours."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limpet.errors import DaemonError, DaemonUnreachableError, LimpetError
from limpet.runners.daemon_client import DaemonClient
from limpet.runners.daemon_gateway import Asked, reverse_stream
from limpet.runners.daemon_pipe import ProgramRefusedError, piped

pytestmark = pytest.mark.anyio

WINDOW = 1000
STARTED = json.dumps({"type": "started", "id": "task1", "window": WINDOW})
LISTENING = json.dumps({"type": "listening", "port": 4000})
Frame = str | bytes

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=5,
)
messages = values | st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["taken", "stderr", "closed", "end", "exit", "error", "started", "request", "gone"]
        )
    },
    optional={
        "id": st.integers(-1, 3) | values,
        "bytes": st.integers(-5, 2000) | values,
        "data": st.text(max_size=9) | values,
        "exitCode": st.integers() | values,
        "reason": values,
        "method": st.just("GET") | values,
        "path": st.just("/") | values,
        "headers": st.just([["a", "b"]]) | values,
    },
)
frames = messages.map(json.dumps) | st.text(max_size=20) | st.binary(max_size=WINDOW + 50)


@asynccontextmanager
async def evil_daemon(*sent: Frame, closes: bool = True) -> AsyncIterator[DaemonClient]:
    """One that sends these on every socket, and then closes it or says no more."""

    async def socket(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        if request.path.endswith("pipe"):
            await ws.receive()
        with contextlib.suppress(ConnectionError):
            for frame in sent:
                await (ws.send_str(frame) if isinstance(frame, str) else ws.send_bytes(frame))
            if not closes:
                async for message in ws:
                    if message.type == aiohttp.WSMsgType.TEXT and '"close"' in message.data:
                        break
        await ws.close()
        return ws

    app = web.Application()
    app.router.add_get("/_sandbox/pipe", socket)
    app.router.add_get("/_sandbox/gateway", socket)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with DaemonClient(url, "token") as client:
            yield client
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ([], DaemonUnreachableError),
        ([b"bytes"], DaemonUnreachableError),
        (["{"], DaemonError),
        (["[]"], DaemonError),
        (['{"type": "exit"}'], DaemonError),
        (['{"type": "started"}'], DaemonError),
        (['{"type": "error", "error": "no such program"}'], ProgramRefusedError),
    ],
    ids=range(7),
)
async def test_a_program_that_does_not_begin_well_is_an_error(
    sent: list[Frame], error: type[LimpetError]
) -> None:
    async with evil_daemon(*sent) as client:
        with pytest.raises(error):
            async with piped(client, ["x"], {}):
                pass


@pytest.mark.parametrize(
    "sent",
    [
        [bytes(WINDOW + 1)],
        [bytes(WINDOW), b"x"],
        ['{"type": "taken", "bytes": 1}'],
        ['{"type": "stderr", "data": 5}'],
        ['{"type": "exit"}'],
        ['{"type": "whatever"}'],
        ["nonsense"],
        ['{"type": "error", "error": "broke"}'],
        [],
    ],
    ids=range(9),
)
async def test_a_program_whose_daemon_breaks_the_protocol_is_given_up(sent: list[Frame]) -> None:
    async with evil_daemon(STARTED, *sent) as client, piped(client, ["x"], {}) as program:
        with pytest.raises(LimpetError):
            await program.wait()
        with pytest.raises(LimpetError):
            async for _ in program.output():
                pass
        with pytest.raises(LimpetError):
            await program.send(b"x" * 5000)


async def test_a_daemon_that_never_takes_anything_does_not_keep_us_from_leaving(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("limpet.runners.daemon_pipe.GONE_WITHIN_S", 0.1)
    async with (
        evil_daemon(STARTED, closes=False) as client,
        piped(client, ["x"], {}) as program,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await program.send(b"x" * 5000)


@pytest.mark.parametrize(
    "sent", [[], [b"bytes"], ["{"], ['{"type": "listening", "port": 0}'], ['{"port": 4000}']]
)
async def test_a_gateway_that_does_not_begin_well_is_an_error(sent: list[Frame]) -> None:
    async with evil_daemon(*sent) as client:
        with pytest.raises(LimpetError):
            async with reverse_stream(client, no_answer):
                pass


async def test_a_gateways_requests_are_bounded() -> None:
    request = {"type": "request", "method": "POST", "path": "/", "headers": []}
    held = 0
    most = 0

    async def hold(_: Asked) -> None:
        nonlocal held, most
        held += 1
        most = max(most, held)
        try:
            await asyncio.Event().wait()
        finally:
            held -= 1

    many = [json.dumps({**request, "id": number}) for number in range(1, 500)]
    one = json.dumps({**request, "id": 1})
    for sent in (
        many,
        [one, one],
        [json.dumps({**request, "id": 1 << 40})],
        [one, *[(1).to_bytes(4, "big") + bytes(65536)] * 5],
        [one, '{"type": "end", "id": 1}', (1).to_bytes(4, "big") + b"x"],
        [one, '{"type": "taken", "id": 1, "bytes": 1}'],
    ):
        async with (
            evil_daemon(LISTENING, *sent, closes=False) as client,
            reverse_stream(client, hold) as port,
        ):
            assert port == 4000
            async with asyncio.timeout(30):
                while client_sockets(client):  # it is broken off with, and all are let go
                    await asyncio.sleep(0.01)
            assert held == 0
        assert most <= 128


def client_sockets(client: DaemonClient) -> int:
    """How many connections are in use."""
    assert client._session is not None
    connector = client._session.connector
    assert connector is not None
    return len(connector._acquired)


async def no_answer(asked: Asked) -> None:
    await asked.body(100)
    await asked.begin(200, [])
    await asked.send(b"x" * 1000)
    await asked.end()


def test_no_frames_of_a_daemon_harm_us() -> None:
    @settings(
        max_examples=200,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
    )
    @given(st.lists(frames, max_size=6))
    def holds(sent: list[Frame]) -> None:
        asyncio.run(converse(sent))

    holds()


async def converse(sent: list[Frame]) -> None:
    async with asyncio.timeout(60):
        async with evil_daemon(STARTED, *sent) as client, piped(client, ["x"], {}) as program:
            with contextlib.suppress(LimpetError):
                async for _ in program.output():
                    pass
            with contextlib.suppress(LimpetError):
                await program.wait()
            assert len(program.errors()) <= 20_000
        async with (
            evil_daemon(LISTENING, *sent) as client,
            reverse_stream(client, no_answer),
        ):
            pass
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not [task for task in left if "limpet" in repr(task.get_coro())]
