import asyncio
import resource
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from limpet.errors import (
    DaemonError,
    DaemonUnreachableError,
    InvalidInputError,
    SnapshotDamagedError,
)
from limpet.ids import BootId, SnapshotId
from limpet.runners.daemon_client import DaemonClient, Origin

pytestmark = pytest.mark.anyio
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MIB = 1024 * 1024


@asynccontextmanager
async def daemon(routes: dict[str, Handler]) -> AsyncIterator[DaemonClient]:
    app = web.Application(client_max_size=1 << 40)
    for route, handler in routes.items():
        method, path = route.split(" ")
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with DaemonClient(url, "t0ken") as client:
            yield client
    finally:
        await runner.cleanup()


def answers(value: object, status: int = 200) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.json_response(value, status=status)

    return handler


async def test_health_is_asked_without_the_token() -> None:
    seen: list[str | None] = []

    async def health(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.json_response(
            {
                "ready": True,
                "bootId": "b1",
                "configured": True,
                "orchestrator": {"running": "install", "pending": ["start"]},
                "version": "1",
            }
        )

    async with daemon({"GET /health": health}) as client:
        answer = await client.health()
    assert seen == [None]
    assert (answer.boot_id, answer.ready, answer.running, answer.pending) == (
        "b1",
        True,
        "install",
        ("start",),
    )


async def test_every_other_call_carries_the_token_and_nothing_of_the_callers_credentials() -> None:
    seen: list[dict[str, str]] = []

    async def echo(request: web.Request) -> web.StreamResponse:
        seen.append(dict(request.headers))
        return web.json_response({})

    async with daemon({"GET /_sandbox/tasks": echo}) as client:
        headers = {
            "authorization": "Bearer stolen",
            "Cookie": "limpet_session=1",
            "X-Limpet-Token": "x",
            "Host": "evil",
            "X-Kept": "1",
        }
        async with client.request("GET", "/_sandbox/tasks", headers=headers) as answer:
            assert answer.status == 200
    assert seen[0]["Authorization"] == "Bearer t0ken"
    assert seen[0]["X-Kept"] == "1"
    assert "Cookie" not in seen[0]
    assert "X-Limpet-Token" not in seen[0]
    assert seen[0]["Host"] != "evil"


@pytest.mark.parametrize(
    "answer", [[], "text", {"ready": "yes", "bootId": "b"}, {"ready": True, "bootId": 3}, {}]
)
async def test_a_daemon_that_answers_nonsense_is_an_error(answer: object) -> None:
    async with daemon({"GET /health": answers(answer)}) as client:
        with pytest.raises(DaemonError):
            await client.health()


async def test_the_daemons_own_words_and_status_are_in_the_error() -> None:
    async with daemon(
        {"POST /_sandbox/config": answers({"error": "clone URL is immutable"}, 409)}
    ) as client:
        with pytest.raises(DaemonError, match="immutable") as caught:
            await client.post_config({})
    assert caught.value.daemon_status == 409


async def test_nobody_listening_is_unreachable() -> None:
    async with DaemonClient("http://127.0.0.1:1", "t") as client:
        with pytest.raises(DaemonUnreachableError):
            await client.health()


async def test_a_daemon_that_never_answers_is_unreachable_after_the_time_out() -> None:
    release = asyncio.Event()

    async def never(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.json_response({})

    async with daemon({"GET /health": never}) as client:
        with pytest.raises(DaemonUnreachableError, match="in time"):
            await client.health(timeout_s=0.05)
        release.set()


async def test_a_daemon_that_trickles_its_json_is_unreachable_after_the_time_out() -> None:
    release = asyncio.Event()

    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await release.wait()
        return response

    async with daemon({"GET /health": trickle}) as client:
        with pytest.raises(DaemonUnreachableError, match="in time"):
            await client.health(timeout_s=0.05)
        release.set()


async def test_an_endless_json_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limpet.runners.daemon_answers.MAX_JSON_BYTES", MIB)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    async with daemon({"GET /health": endless}) as client:
        with pytest.raises(DaemonError, match="over"):
            await client.health(timeout_s=30)


async def test_a_redirect_is_not_followed() -> None:
    async def away(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.1:1/")

    async with (
        daemon({"GET /_sandbox/x": away}) as client,
        client.request("GET", "/_sandbox/x") as answer,
    ):
        assert answer.status == 302


@pytest.mark.parametrize("path", ["health", "", "/a b", "/a\r\nX: 1", "http://other/"])
async def test_a_path_that_is_none_is_refused(path: str) -> None:
    async with DaemonClient("http://127.0.0.1:1", "t") as client:
        with pytest.raises(InvalidInputError):
            await client.call("GET", path)


async def test_a_path_is_sent_as_it_was_given() -> None:
    seen: list[str] = []

    async def echo(request: web.Request) -> web.StreamResponse:
        seen.append(request.raw_path)
        return web.json_response({})

    async with daemon({"GET /{rest:.*}": echo}) as client:
        await client.call("GET", "/_sandbox/tasks/a%2Fb?x=%20+y")
    assert seen == ["/_sandbox/tasks/a%2Fb?x=%20+y"]


async def test_a_save_streams_with_its_headers() -> None:
    async def create(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"X-Limpet-Activity-Seq": "7"})
        response.content_type = "application/x-tar"
        await response.prepare(request)
        await response.write(b"one")
        await response.write(b"two")
        return response

    async with (
        daemon({"POST /_sandbox/snapshot/create": create}) as client,
        client.create_snapshot() as (status, headers, body),
    ):
        read = b"".join([chunk async for chunk in body])
    assert (status, headers["x-limpet-activity-seq"], read) == (200, "7", b"onetwo")


async def test_an_empty_save_is_204_and_another_running_is_an_error() -> None:
    async def empty(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async with (
        daemon({"POST /_sandbox/snapshot/create": empty}) as client,
        client.create_snapshot() as answer,
    ):
        assert answer.status == 204
        assert [chunk async for chunk in answer.body] == []
    busy = answers({"error": "another save runs"}, 409)
    async with daemon({"POST /_sandbox/snapshot/create": busy}) as client:
        with pytest.raises(DaemonError, match="another"):
            async with client.create_snapshot():
                pass


async def test_a_save_that_breaks_off_raises() -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async with (
        daemon({"POST /_sandbox/snapshot/create": broken}) as client,
        client.create_snapshot() as answer,
    ):
        with pytest.raises(DaemonUnreachableError):
            async for _chunk in answer.body:
                pass


async def test_a_restore_streams_both_ways_with_flat_memory() -> None:
    total = 0

    async def restore(request: web.Request) -> web.StreamResponse:
        nonlocal total
        async for chunk in request.content.iter_any():
            total += len(chunk)
        assert request.headers["X-Limpet-Generation"] == "3"
        return web.json_response({"ok": True, "files": 1, "bytes": total, "receipt": {}})

    async def chunks() -> AsyncIterator[bytes]:
        block = bytes(MIB)
        for _ in range(512):
            yield block

    async with daemon({"POST /_sandbox/snapshot/restore": restore}) as client:
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = await client.restore(chunks(), {"X-Limpet-Generation": "3"})
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert answer["bytes"] == 512 * MIB
    assert grown_kib < 64 * 1024


async def test_a_restore_whose_source_fails_raises_the_sources_error_and_never_ends_cleanly() -> (
    None
):
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def restore(request: web.Request) -> web.StreamResponse:
        try:
            async for _chunk in request.content.iter_any():
                pass
        except BaseException as error:
            ended.set_result(type(error).__name__)
            raise
        ended.set_result("clean")
        return web.json_response({})

    async def damaged() -> AsyncIterator[bytes]:
        yield b"half a tar"
        raise SnapshotDamagedError("the stored snapshot is cut off")

    async with daemon({"POST /_sandbox/snapshot/restore": restore}) as client:
        with pytest.raises(SnapshotDamagedError):
            await client.restore(damaged())
        assert await ended != "clean"


@asynccontextmanager
async def picky_daemon(refusals: list[int], received: list[bytes]) -> AsyncGenerator[DaemonClient]:
    """A daemon that refuses restores with these statuses before it asks for a body."""

    async def expect(request: web.Request) -> web.StreamResponse | None:
        if refusals:
            return web.json_response({"error": "refused"}, status=refusals.pop(0))
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    async def handler(request: web.Request) -> web.StreamResponse:
        received.append(await request.read())
        return web.json_response({"ok": True})

    app = web.Application()
    app.router.add_route("POST", "/_sandbox/snapshot/restore", handler, expect_handler=expect)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with DaemonClient(f"http://127.0.0.1:{runner.addresses[0][1]}", "t") as client:
            yield client
    finally:
        await runner.cleanup()


async def test_a_restore_that_is_refused_at_once_sends_no_body() -> None:
    started: list[bool] = []

    async def chunks() -> AsyncIterator[bytes]:
        started.append(True)
        yield b"x"

    for status, headers in ((422, {}), (409, {"X-Limpet-Plan": "gone"})):
        async with picky_daemon([status], []) as client:
            with pytest.raises(DaemonError) as caught:
                await client.restore(chunks(), headers)
        assert caught.value.daemon_status == status
    assert not started


async def test_a_restore_waits_for_a_daemon_that_still_gives_up_another_one() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"whole"

    received: list[bytes] = []
    async with picky_daemon([409, 409], received) as client:
        assert await client.restore(chunks()) == {"ok": True}
    assert received == [b"whole"]


async def test_events_stream_as_they_come() -> None:
    more = asyncio.Event()

    async def events(request: web.Request) -> web.StreamResponse:
        assert request.headers["Last-Event-ID"] == "b-1"
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"event: a\n\n")
        await more.wait()
        await response.write(b"event: b\n\n")
        return response

    async with daemon({"GET /_sandbox/events": events}) as client:
        stream = client.events(last_event_id="b-1")
        first = await anext(stream)
        more.set()
        rest = [chunk async for chunk in stream]
    assert first == b"event: a\n\n"
    assert b"".join(rest) == b"event: b\n\n"


async def test_typed_answers() -> None:
    told: list[object] = []

    async def committed(request: web.Request) -> web.StreamResponse:
        told.append(await request.json())
        return web.json_response({"ok": True})

    origin = {
        "snapshot": "s1",
        "generation": 2,
        "unsaved": True,
        "empty": False,
        "detached": False,
    }
    idle = {"lastActivityAt": "2026-01-01T00:00:00Z", "idleMs": 5, "activitySeq": 9}
    async with daemon(
        {
            "GET /_sandbox/snapshot/origin": answers(origin),
            "GET /_sandbox/idle": answers(idle),
            "POST /_sandbox/snapshot/committed": committed,
        }
    ) as client:
        assert await client.origin() == Origin(SnapshotId("s1"), 2, True, False, False)
        assert (await client.idle()).activity_seq == 9
        await client.committed(SnapshotId("s1"), generation=2, activity_seq=9, boot_id=BootId("b"))
    assert told == [{"snapshot": "s1", "generation": 2, "activitySeq": 9, "bootId": "b"}]


async def test_no_repr_or_error_tells_the_token() -> None:
    async with DaemonClient("http://127.0.0.1:1", "s3cret") as client:
        assert "s3cret" not in repr(client)
        with pytest.raises(DaemonUnreachableError) as caught:
            await client.config()
    assert "s3cret" not in repr(caught.value)
