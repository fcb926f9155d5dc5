"""Whatever frames a client sends, the daemon goes on and leaves no program behind."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import aiohttp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limpet.daemon.pipes import WINDOW_BYTES
from tests.daemon.piping import Piping
from tests.daemon_process import TOKEN, DaemonProcess
from tests.live import poll_until

EXAMPLES = 300

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
starts = st.builds(
    lambda argv, env: {"type": "start", "argv": argv, "env": env},
    st.sampled_from([["cat"], ["true"], ["yes"], ["sh", "-c", "exec <&-; echo x"], ["sleep", "99"]])
    | st.lists(st.text(max_size=10), max_size=3),
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=2) | st.just({}),
)
messages = (
    starts
    | st.sampled_from([{"type": "end"}, {"type": "kill"}])
    | st.builds(lambda n: {"type": "taken", "bytes": n}, st.integers() | st.integers(0, 70_000))
    | values
)
frames = (
    messages.map(json.dumps)
    | st.text(max_size=50)
    | st.binary(max_size=200)
    | st.sampled_from([bytes(65_536), bytes(WINDOW_BYTES), bytes(WINDOW_BYTES + 1)])
)
sequences = st.tuples(starts.map(json.dumps) | frames, st.lists(frames, max_size=8))


def test_no_frames_harm_the_daemon_or_leave_a_program(tmp_path: Path) -> None:
    workspace = tmp_path / "root" / "workspace"
    with DaemonProcess.running(workspace) as daemon:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            database=None,
        )
        @given(sequences)
        def holds(sent: tuple[str | bytes, list[str | bytes]]) -> None:
            asyncio.run(converse(daemon, [sent[0], *sent[1]]))

        holds()
        poll_until("no program to be left", lambda: not running(daemon), 30, 0.05)
        assert daemon.request("GET", "/idle").status == 200
        poll_until("the daemon to be idle", lambda: idle_ms(daemon) > 0, 30, 0.05)


async def converse(daemon: DaemonProcess, sent: list[str | bytes]) -> None:
    """Send it all; what the daemon says must be of its protocol, and each socket must end."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession(daemon.url, headers=headers) as http,
        http.ws_connect("/_sandbox/pipe") as ws,
    ):
        program = Piping(ws, acknowledges=False)
        for frame in sent:
            with contextlib.suppress(ConnectionError):
                await (ws.send_str(frame) if isinstance(frame, str) else ws.send_bytes(frame))
        with contextlib.suppress(ConnectionError):
            await ws.send_str("that is all")
        assert await program.until_closed() in {1000, 1003, 1008}
    kinds = {message["type"] for message in program.told}
    assert kinds <= {"started", "taken", "closed", "stderr", "exit", "end", "error"}
    assert len(program.output) <= 2 * WINDOW_BYTES


def running(daemon: DaemonProcess) -> list[Any]:
    answer = daemon.request("GET", "/tasks?status=running")
    listed: list[Any] = json.loads(answer.data)["tasks"]
    return listed


def idle_ms(daemon: DaemonProcess) -> int:
    return int(json.loads(daemon.request("GET", "/idle").data)["idleMs"])
