"""The event stream of a sandbox's page, and the daemon's routes behind the API."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from limpet.control.daemon_proxy import allowed_route
from limpet.control.sandboxes.streams import StalledError, at_most, without_stalls
from limpet.control.vm_events import split_frames
from limpet.errors import LimpetError, NotFoundError
from limpet.snapshots.judge import TooMuchError
from tests.control.sandboxes.live_page import LivePage, live_page

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LivePage]:
    async with live_page(Path(tmp_path_factory.mktemp("streams"))) as made:
        yield made


# -- vm-events ---------------------------------------------------------------------------------


async def test_a_page_that_opens_late_hears_how_things_stand(page: LivePage) -> None:
    async with page.events() as events:
        seen = await events.until("lifecycle")
    names = [name for name, _, _ in seen]
    assert names[0] == "sandbox"
    assert seen[0][1]["handle"] == page.handle
    assert ("phase", "ready") in [(name, data.get("kind")) for name, data, _ in seen]
    assert "status" in names
    assert all(id_ is not None for name, _, id_ in seen if name in ("status", "lifecycle"))


async def test_a_save_is_told_as_it_begins_and_ends(page: LivePage) -> None:
    async with page.events() as events:
        await events.until("lifecycle")
        saving = asyncio.create_task(page.app.api("POST", f"/agents/{page.agent}/snapshots", {}))
        await events.until("sandbox", lambda box: box["saving"])
        _, saved = await saving
        await events.until(
            "sandbox",
            lambda box: (
                not box["saving"] and box["last_save"] and box["last_save"]["id"] == saved["id"]
            ),
        )


async def test_a_stop_and_a_start_are_followed_on_one_stream(page: LivePage) -> None:
    async with page.events() as events:
        await events.until("lifecycle")
        await page.app.api("POST", f"/sandboxes/{page.handle}/stop", {})
        await events.until("gone")
        ended = (await page.box())["ended"]
        assert (ended["reason"], ended["by"], ended["through"]) == ("asked", "owner", "api-key")
        starting = asyncio.create_task(
            page.app.api("POST", "/vm/start", {"virtualMcpId": page.agent})
        )
        seen = await events.until("phase", lambda data: data["kind"] == "ready")
        kinds = [data["kind"] for name, data, _ in seen if name == "phase"]
        assert kinds == ["claiming", "starting-daemon", "configuring", "ready"]
        await events.until("lifecycle", lambda data: data["state"]["phase"] == "running")
        status, _ = await starting
        assert status == 200


async def test_a_browser_that_reconnects_goes_on_where_it_was(page: LivePage) -> None:
    async with page.events() as events:
        seen = await events.until("tasks")
    last = next(id_ for _, _, id_ in reversed(seen) if id_)
    async with page.daemon("POST", "write", json={"path": "seen.txt", "content": "x"}) as answer:
        assert answer.status == 200
    async with page.events(**{"Last-Event-ID": last}) as events:
        again = await events.until("file-changed", lambda data: data["path"].endswith("seen.txt"))
    assert "resync" not in [name for name, _, _ in again]
    assert "log" not in [name for name, _, _ in again]


async def test_events_of_an_agent_that_is_not_there_are_404(page: LivePage) -> None:
    async with page.app.http.get(
        f"{page.app.url}/api/local/vm-events",
        params={"virtualMcpId": "agt_nobody"},
        headers={"Authorization": f"Bearer {page.app.key}"},
    ) as answer:
        assert answer.status == 404
    async with page.app.http.get(
        f"{page.app.url}/api/local/vm-events", params={"virtualMcpId": page.agent}
    ) as answer:
        assert answer.status == 401


async def test_whole_frames_come_out_of_bytes_cut_anywhere() -> None:
    whole = b"id: 1\nevent: a\ndata: {}\n\n: beat\n\nevent: b\ndata: 2\n\n"

    async def cut(size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(whole), size):
            yield whole[start : start + size]
        yield b"event: half"

    for size in range(1, len(whole) + 1):
        frames = [frame async for frame in split_frames(cut(size))]
        assert b"".join(frames) == whole
        assert len(frames) == 3


async def test_an_event_without_an_end_is_not_kept_for_ever() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * (1 << 20)

    with pytest.raises(LimpetError, match="too large"):
        async for _ in split_frames(endless()):
            pass


async def test_a_stream_that_stalls_is_given_up() -> None:
    async def stalls() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.Event().wait()

    chunks = without_stalls(stalls(), 0.01)
    assert await anext(chunks) == b"one"
    with pytest.raises(StalledError):
        await anext(chunks)


# -- the daemon's routes -----------------------------------------------------------------------


async def test_files_and_commands_go_through_with_the_token_put_in(page: LivePage) -> None:
    async with page.daemon("POST", "write", json={"path": "a.txt", "content": "hi"}) as answer:
        assert (await answer.json())["bytesWritten"] == 2
    async with page.daemon("POST", "read", json={"path": "a.txt"}) as answer:
        assert "hi" in (await answer.json())["content"]
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    async with page.daemon("POST", "read", json={"path": "missing"}) as answer:
        assert answer.status == 400
        assert "error" in await answer.json()
    async with page.daemon("GET", "tasks?status=running") as answer:
        assert "tasks" in await answer.json()


async def test_a_file_is_replaced_only_while_it_is_the_one_that_was_read(page: LivePage) -> None:
    async with page.daemon("PUT", "upload?path=kept.txt", data=b"one") as answer:
        assert answer.status == 200
    async with page.daemon(
        "GET", "download?path=kept.txt", headers={"Range": "bytes=0-99"}
    ) as read:
        assert (read.status, await read.read()) == (206, b"one")
        assert read.headers["Content-Range"] == "bytes 0-2/3"
        etag = read.headers["ETag"]
    async with page.daemon("POST", "write", json={"path": "kept.txt", "content": "two"}) as answer:
        assert answer.status == 200
    stale = {"If-Match": etag}
    async with page.daemon("PUT", "upload?path=kept.txt", data=b"3", headers=stale) as refused:
        assert refused.status == 412
        there = (await refused.json())["etag"]
    known = {"If-None-Match": there}
    async with page.daemon("GET", "download?path=kept.txt", headers=known) as same:
        assert same.status == 304
    fresh = {"If-Match": there}
    async with page.daemon("PUT", "upload?path=kept.txt", data=b"three", headers=fresh) as answer:
        assert answer.status == 200
    async with page.daemon("POST", "list", json={}) as listed:
        sizes = {one["name"]: one["size"] for one in (await listed.json())["entries"]}
    assert sizes["kept.txt"] == 5


@pytest.mark.parametrize(
    "route",
    ["config", "snapshot/create", "snapshot/restore", "snapshot/origin", "", ".", "tasks/..",
     "tasks//kill", "exec/../config", "nothing", "idle/", "git/stash"],
)  # fmt: skip
async def test_routes_off_the_list_are_not_found(page: LivePage, route: str) -> None:
    with pytest.raises(NotFoundError):
        allowed_route(route)
    async with page.daemon("POST", route.replace("..", "%2e%2e"), json={}) as answer:
        assert answer.status in (404, 405), await answer.text()


async def test_a_background_tasks_output_streams(page: LivePage) -> None:
    command = "echo first; read line < go; echo second"
    async with page.daemon("POST", "bash", json={"command": "mkfifo go"}) as answer:
        assert answer.status == 200
    async with page.daemon(
        "POST", "bash", json={"command": command, "mode": "background"}
    ) as answer:
        task = (await answer.json())["taskId"]
    async with page.daemon("GET", f"tasks/{task}/stream") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        seen = b""
        while b"first" not in seen:
            seen += await stream.content.readany()
        async with page.daemon("POST", "bash", json={"command": "echo on > go; rm go"}) as answer:
            assert answer.status == 200
        seen += await stream.content.read()
    assert b"second" in seen
    assert b"event: end" in seen


async def test_a_terminal_is_a_web_socket_behind_the_api(page: LivePage) -> None:
    async with page.daemon("POST", "pty", json={}) as answer:
        terminal = (await answer.json())["id"]
    url = f"{page.app.url}/api/local/sandboxes/{page.handle}/daemon/pty/{terminal}"
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with page.app.http.ws_connect(url):
            pass
    bearer = {"Authorization": f"Bearer {page.app.key}"}
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with page.app.http.ws_connect(f"{url}-not", headers=bearer):
            pass
    async with page.app.http.ws_connect(url, headers=bearer) as socket:
        await socket.send_bytes(b"echo $((6 * 7))\n")
        shown = b""
        while b"42" not in shown:
            frame = await socket.receive()
            assert frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), frame
            shown += frame.data if isinstance(frame.data, bytes) else b""


async def test_a_reader_that_goes_away_leaves_no_stream_behind(page: LivePage) -> None:
    for _ in range(120):
        async with page.daemon("GET", "events") as stream:
            assert stream.status == 200, "the daemon has too many listeners"
            await stream.content.readline()


async def test_every_stream_ends_when_the_server_does(tmp_path: Path) -> None:
    async with live_page(tmp_path) as page, contextlib.AsyncExitStack() as stack:
        events = await stack.enter_async_context(page.events())
        await events.until("lifecycle")
        passed_on = await stack.enter_async_context(page.daemon("GET", "events"))
        await passed_on.content.readline()
        await page.app.limpet.save_all()
        async with asyncio.timeout(30):
            seen = await events.until("bye")
            assert await events.next() == ("end", None, None)
            await passed_on.content.read()
        assert seen
        async with page.get("/") as answer:
            assert answer.status == 503


async def test_a_stream_without_end_is_broken_off_at_its_limit() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"1234"

    chunks = at_most(endless(), 10)
    assert [await anext(chunks), await anext(chunks)] == [b"1234"] * 2
    with pytest.raises(TooMuchError, match=r"^The sandbox sent more than 10 bytes"):
        await anext(chunks)
