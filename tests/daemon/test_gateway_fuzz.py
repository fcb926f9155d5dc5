"""Whatever frames the control plane's end sends, the daemon goes on and no port is left behind."""

import asyncio
import contextlib
import json
from pathlib import Path

import aiohttp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limpet.daemon.gateway import WINDOW_BYTES
from tests.daemon.test_gateway import ControlPlane, gateway
from tests.daemon.test_pipes_fuzz import values
from tests.daemon_process import TOKEN, DaemonProcess

EXAMPLES = 200

ids = st.integers(0, 3)
headers = st.lists(st.lists(st.text(max_size=5), max_size=3), max_size=2)
messages = (
    st.builds(
        lambda n, status, told: {"type": "answer", "id": n, "status": status, "headers": told},
        ids,
        st.integers(90, 610) | st.just(200),
        headers | st.just([["a", "b"]]),
    )
    | st.builds(lambda kind, n: {"type": kind, "id": n}, st.sampled_from(["end", "broken"]), ids)
    | st.builds(
        lambda n, size: {"type": "taken", "id": n, "bytes": size}, ids, st.integers(-1, 70_000)
    )
    | values
)
pieces = st.builds(
    lambda n, data: n.to_bytes(4, "big") + data,
    ids,
    st.binary(max_size=50) | st.sampled_from([bytes(65_536), bytes(WINDOW_BYTES)]),
)
frames = messages.map(json.dumps) | st.text(max_size=50) | pieces | st.binary(max_size=10)


def test_no_frames_harm_the_daemon_or_leave_a_port(tmp_path: Path) -> None:
    with DaemonProcess.running(tmp_path / "root" / "workspace") as daemon:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            database=None,
        )
        @given(st.lists(frames, max_size=8))
        def holds(sent: list[str | bytes]) -> None:
            asyncio.run(converse(daemon, sent))

        holds()
        assert daemon.request("GET", "/idle").status == 200
        asyncio.run(converse(daemon, []))


async def converse(daemon: DaemonProcess, sent: list[str | bytes]) -> None:
    """Send it all while three from inside wait; each of them gets an answer or an end."""
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession(daemon.url, headers=bearer) as http,
        aiohttp.ClientSession() as inside,
    ):
        async with gateway(http) as plane:
            asking = [asyncio.create_task(ask(inside, plane, size)) for size in (0, 10, 100_000)]
            for _ in asking:
                await plane.until("request")
            for frame in sent:
                with contextlib.suppress(ConnectionError):
                    await (
                        plane.ws.send_str(frame)
                        if isinstance(frame, str)
                        else plane.ws.send_bytes(frame)
                    )
            with contextlib.suppress(ConnectionError):
                await plane.say(type="close")
            with contextlib.suppress(AssertionError):  # until it closes
                while True:
                    await plane.hear()
        async with asyncio.timeout(60):
            await asyncio.gather(*asking)
        with contextlib.suppress(aiohttp.ClientConnectorError):
            await inside.get(plane.url)
            raise AssertionError("its port is still there")


async def ask(inside: aiohttp.ClientSession, plane: ControlPlane, size: int) -> None:
    with contextlib.suppress(aiohttp.ClientError):
        async with inside.post(plane.url, data=bytes(size)) as answer:
            await answer.read()
