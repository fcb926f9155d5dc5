"""Terminals over WebSocket: input, size, what was on the screen, the end and why."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.daemon_process import TOKEN, DaemonProcess

pytestmark = pytest.mark.anyio


async def open_terminal(http: aiohttp.ClientSession, **body: Any) -> str:
    async with http.post("/_sandbox/pty", json=body) as answer:
        id_: str = (await answer.json())["id"]
        return id_


async def shown_until(ws: aiohttp.ClientWebSocketResponse, wanted: str) -> str:
    """What the terminal shows up to `wanted`."""
    shown = ""
    async with asyncio.timeout(30):
        while wanted not in shown:
            message = await ws.receive()
            assert message.type in {aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT}, message
            if message.type == aiohttp.WSMsgType.BINARY:
                shown += message.data.decode()
    return shown


async def end_of(ws: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The `exit` message."""
    async with asyncio.timeout(30):
        while True:
            message = await ws.receive()
            if message.type == aiohttp.WSMsgType.TEXT:
                data: dict[str, Any] = json.loads(message.data)
                if data["type"] == "exit":
                    assert (await ws.receive()).type == aiohttp.WSMsgType.CLOSE
                    return data


async def test_a_terminal_takes_input_and_size_and_tells_its_end(
    http: aiohttp.ClientSession, repo: Path
) -> None:
    id_ = await open_terminal(http, cols=91, rows=33)
    async with http.ws_connect(f"/_sandbox/pty/{id_}") as ws:
        await ws.send_json({"type": "input", "data": "tty -s && stty size; pwd\r"})
        assert str(repo) in (shown := await shown_until(ws, f"{repo}\r\n"))
        assert "33 91" in shown
        await ws.send_json({"type": "resize", "cols": 70, "rows": 20})
        await ws.send_bytes(b"stty size\r")
        await shown_until(ws, "20 70\r\n")
        await ws.send_bytes(b"exit 5\r")
        assert (await end_of(ws))["exitCode"] == 5


async def test_who_comes_back_sees_what_was_on_the_screen(http: aiohttp.ClientSession) -> None:
    id_ = await open_terminal(http)
    async with http.ws_connect(f"/_sandbox/pty/{id_}") as ws:
        await ws.send_bytes(b"echo be''fore\r")
        await shown_until(ws, "before\r\n")
    async with (
        http.ws_connect(f"/_sandbox/pty/{id_}") as one,
        http.ws_connect(f"/_sandbox/pty/{id_}") as two,
    ):
        for ws in (one, two):
            await shown_until(ws, "before\r\n")
        await one.send_bytes(b"echo bo''th\r")
        for ws in (one, two):
            await shown_until(ws, "both\r\n")


async def test_a_terminal_is_busy_while_something_runs_in_it(http: aiohttp.ClientSession) -> None:
    async def busy() -> bool:
        async with http.get("/_sandbox/pty") as answer:
            found = {one["id"]: one["busy"] for one in (await answer.json())["terminals"]}
        return bool(found[id_])

    id_ = await open_terminal(http)
    async with http.ws_connect(f"/_sandbox/pty/{id_}") as ws:
        await ws.send_bytes(b"echo rea''dy\r")
        await shown_until(ws, "ready\r\n")
        assert not await busy()
        await ws.send_bytes(b"sleep 1000 & echo beg''un\r")
        await shown_until(ws, "begun\r\n")
        assert await busy()
        await ws.send_bytes(b"kill %1; wait; echo do''ne\r")
        await shown_until(ws, "done\r\n")
        assert not await busy()
        await ws.send_bytes(b"exit\r")
        await end_of(ws)
        assert not await busy()
    id_ = await open_terminal(http, command="sleep 1000")
    assert await busy()
    async with http.post(f"/_sandbox/tasks/{id_}/kill") as answer:
        assert answer.status == 200


async def test_killing_the_task_ends_the_terminal(http: aiohttp.ClientSession) -> None:
    id_ = await open_terminal(http, command="sleep 1000")
    async with http.ws_connect(f"/_sandbox/pty/{id_}") as ws:
        async with http.post(f"/_sandbox/tasks/{id_}/kill") as answer:
            assert answer.status == 200
        assert (await end_of(ws))["status"] == "killed"


async def test_sockets_ask_for_the_token_and_unknown_ones_are_404(
    http: aiohttp.ClientSession, daemon: DaemonProcess
) -> None:
    id_ = await open_terminal(http)
    async with aiohttp.ClientSession() as stranger:
        for path, status in ((f"/pty/{id_}", 401), ("/pty/task99", 401)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await stranger.ws_connect(f"{daemon.url}/_sandbox{path}")
            assert refused.value.status == status
        for path in ("/pty/task99", "/nothing"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await stranger.ws_connect(
                    f"{daemon.url}/_sandbox{path}", headers={"X-Limpet-Token": TOKEN}
                )
            assert refused.value.status == 404


async def test_nonsense_is_told_and_the_terminal_goes_on(http: aiohttp.ClientSession) -> None:
    id_ = await open_terminal(http)
    async with http.ws_connect(f"/_sandbox/pty/{id_}") as ws:
        for nonsense in ("{", "[]", '{"type": "resize", "cols": 0, "rows": 9999}', '{"type": 1}'):
            await ws.send_str(nonsense)
        await ws.send_bytes(b"echo al''ive\r")
        await shown_until(ws, "alive\r\n")


async def test_where_no_terminal_can_be_had_a_shell_still_works(root: Path) -> None:
    with DaemonProcess.running(root / "workspace", LIMPET_WITHOUT="pty") as daemon:
        async with aiohttp.ClientSession(
            daemon.url, headers={"Authorization": f"Bearer {TOKEN}"}
        ) as http:
            id_ = await open_terminal(http)
            async with http.ws_connect(f"/_sandbox/pty/{id_}") as ws:
                await ws.send_bytes(b"echo fall''back\r")
                await shown_until(ws, "fallback\n")
                await ws.send_bytes(b"exit 3\r")
                assert (await end_of(ws))["exitCode"] == 3


async def test_typing_is_work(http: aiohttp.ClientSession) -> None:
    id_ = await open_terminal(http)
    async with http.ws_connect(f"/_sandbox/pty/{id_}") as ws:
        async with http.get("/_sandbox/idle") as answer:
            before = (await answer.json())["activitySeq"]
        await ws.send_bytes(b"echo ty''ped\r")
        await shown_until(ws, "typed\r\n")
        async with http.get("/_sandbox/idle") as answer:
            assert (await answer.json())["activitySeq"] > before
