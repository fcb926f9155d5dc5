"""The event stream: state first, replay, resumption, clients that do not read."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from limpet.daemon.events import (
    CLIENT_BUFFER_BYTES,
    LOG_REPLAY_BYTES,
    MAX_CLIENTS,
    Broadcaster,
    Ring,
    TooManyClientsError,
)
from tests.daemon_process import DaemonProcess

pytestmark = pytest.mark.anyio

Event = tuple[str, str, Any]


def parse(frames: bytes) -> list[Event]:
    """(id, event, data) of each frame that is no comment."""
    found = []
    for frame in frames.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.splitlines() if line[:1] != ":")
        if fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


async def take(stream: AsyncIterator[bytes]) -> list[Event]:
    async with asyncio.timeout(10):
        return parse(await anext(stream))


async def test_a_subscriber_gets_the_state_in_order_then_the_logs() -> None:
    events = Broadcaster("boot")
    events.log("setup", "cloning\n")
    for name in ("scripts", "branch", "lifecycle", "status", "tasks"):
        events.set_state(name, {"is": name})
    events.log("setup", "done\n")
    opening = await take(events.subscribe())
    assert [(event, data) for _, event, data in opening] == [
        *((name, {"is": name}) for name in ("status", "lifecycle", "branch", "tasks", "scripts")),
        ("log", {"source": "setup", "data": "cloning\ndone\n"}),
    ]


async def test_an_equal_state_is_not_told_again() -> None:
    events = Broadcaster("boot")
    stream = events.subscribe()
    events.set_state("status", {"state": "running"})
    events.set_state("status", {"state": "running"})
    events.publish("reload", {})
    assert [event for _, event, _ in await take(stream)] == ["status", "reload"]


async def test_a_known_id_resumes_after_it() -> None:
    events = Broadcaster("boot")
    for n in range(5):
        events.publish("file-changed", {"path": str(n)})
    resumed = await take(events.subscribe("boot-3"))
    assert [(id_, data["path"]) for id_, _, data in resumed] == [("boot-4", "3"), ("boot-5", "4")]


@pytest.mark.parametrize("unknown", ["other-3", "boot-99", "boot-x", "junk", "boot--1"])
async def test_an_unknown_id_gets_everything_and_is_told(unknown: str) -> None:
    events = Broadcaster("boot")
    events.set_state("status", {"state": "running"})
    opening = await take(events.subscribe(unknown))
    assert [event for _, event, _ in opening] == ["resync", "status"]


async def test_an_id_that_is_too_old_is_unknown() -> None:
    events = Broadcaster("boot")
    for _ in range(20):
        events.publish("big", {"data": "x" * 100_000})
    assert (await take(events.subscribe("boot-1")))[0][1] == "resync"


async def test_a_client_that_does_not_read_is_dropped() -> None:
    events = Broadcaster("boot")
    slow, quick = events.subscribe(), events.subscribe()
    await anext(slow)
    for _ in range(CLIENT_BUFFER_BYTES // 100_000 + 2):
        events.publish("big", {"data": "x" * 100_000})
        await anext(quick)
    assert events.clients == 1
    assert [frame async for frame in slow] == []


async def test_more_than_a_hundred_clients_are_refused() -> None:
    events = Broadcaster("boot")
    streams = [events.subscribe() for _ in range(MAX_CLIENTS)]
    with pytest.raises(TooManyClientsError):
        events.subscribe()
    await anext(streams[0])
    await streams[0].aclose()  # type: ignore[attr-defined]
    events.subscribe()


def test_a_ring_keeps_the_end() -> None:
    ring = Ring(10)
    for text in ("abc", "defgh", "ijkl"):
        ring.append(text)
    assert (ring.text(), ring.truncated) == ("cdefghijkl", True)
    ring.append("m" * 30)
    assert ring.text() == "m" * 10


async def test_logs_are_replayed_up_to_their_cap() -> None:
    events = Broadcaster("boot")
    for _ in range(40):
        events.log("dev", "y" * 10_000)
    [(_, _, data)] = await take(events.subscribe())
    assert len(data["data"]) == LOG_REPLAY_BYTES


async def test_the_stream_over_http(http: aiohttp.ClientSession, daemon: DaemonProcess) -> None:
    async with http.get("/_sandbox/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["x-accel-buffering"] == "no"
        seen = b""
        async with asyncio.timeout(30):
            while b"event: file-changed" not in seen:
                if b"event: tasks" in seen and b"src/new.ts" not in seen:
                    async with http.post(
                        "/_sandbox/write", json={"path": "src/new.ts", "content": ""}
                    ):
                        pass
                seen += await stream.content.readany()
    changed = [data for _, event, data in parse(seen) if event == "file-changed"]
    assert {"path": "src/new.ts"} in changed


async def test_a_stream_that_comes_back_gets_what_it_missed_and_nothing_twice(
    http: aiohttp.ClientSession, daemon: DaemonProcess
) -> None:
    async def until(stream: aiohttp.ClientResponse, wanted: str) -> list[Event]:
        seen = b""
        async with asyncio.timeout(30):
            while wanted.encode() not in seen or not seen.endswith(b"\n\n"):
                seen += await stream.content.readany()
        return parse(seen)

    async def write(name: str) -> None:
        async with http.post("/_sandbox/write", json={"path": name, "content": ""}) as answer:
            assert answer.status == 200

    async with http.get("/_sandbox/events") as stream:
        await write("first.ts")
        last = (await until(stream, "first.ts"))[-1][0]
    await write("missed.ts")
    async with http.get("/_sandbox/events", headers={"Last-Event-ID": last}) as stream:
        again = await until(stream, "missed.ts")
    assert "first.ts" not in str(again)
    assert "resync" not in [event for _, event, _ in again]
    async with http.get("/_sandbox/events", headers={"Last-Event-ID": f"other-{last}"}) as stream:
        anew = await until(stream, "lifecycle")
    assert "resync" in [event for _, event, _ in anew]
