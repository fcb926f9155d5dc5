"""The operations: what goes over the wire, and what streams do when they break."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from limpet.errors import NotFoundError, SnapshotDamagedError, TarDamagedError, UnreachableError
from limpet.sdk import Client, Event, feed
from tests.sdk.wire import Answer, Asked, Wire, error, sse

Call = Callable[[Client], object]


@pytest.mark.parametrize(
    ("route", "call", "sent"),
    [
        ("GET /agents/a", lambda c: c.agent("a"), None),
        ("POST /agents", lambda c: c.create_agent(template="webapp"), {"template": "webapp"}),
        ("PATCH /agents/a", lambda c: c.update_agent("a", title="T", pinned=False),
         {"title": "T", "pinned": False}),
        ("PATCH /agents/a", lambda c: c.update_agent("a", start_command="./serve"),
         {"start_command": "./serve"}),
        ("PATCH /agents/a", lambda c: c.update_agent("a", start_command=""),
         {"start_command": None}),
        ("PATCH /agents/a", lambda c: c.update_agent("a", acp_command="opencode acp"),
         {"acp_command": "opencode acp"}),
        ("PATCH /agents/a", lambda c: c.update_agent("a", acp_command=""),
         {"acp_command": None}),
        ("DELETE /agents/a", lambda c: c.delete_agent("a"), None),
        ("POST /vm/start", lambda c: c.start("a"), {"virtualMcpId": "a"}),
        ("POST /vm/start", lambda c: c.start("a", "b", hold=True, without_snapshot=True),
         {"virtualMcpId": "a", "branch": "b", "hold": "restored", "withoutSnapshot": True}),
        ("POST /vm/delete", lambda c: c.delete_sandbox("a", force=True),
         {"virtualMcpId": "a", "force": True}),
        ("GET /sandboxes/h", lambda c: c.sandbox("h"), None),
        ("POST /sandboxes/h/stop", lambda c: c.stop("h"), {"force": False}),
        ("POST /sandboxes/h/exec", lambda c: c.execute("h", "ls", cwd="/x", env={"A": "b"}),
         {"command": "ls", "cwd": "/x", "env": {"A": "b"}, "mode": "await"}),
        ("GET /sandboxes/h/logs", lambda c: c.logs("h"), None),
        ("GET /sandboxes/h/preview", lambda c: c.previews.sharing("h"), None),
        ("PATCH /sandboxes/h/preview", lambda c: c.previews.set_access("h", "private"),
         {"access": "private"}),
        ("POST /sandboxes/h/preview/links", lambda c: c.previews.share("h", at="u"),
         {"days": 7, "at": "u"}),
        ("DELETE /sandboxes/h/preview/links", lambda c: c.previews.unshare("h"), None),
        ("POST /sandboxes/h/preview/open", lambda c: c.previews.open("h"), {}),
        ("POST /sandboxes/h/daemon/tasks/t/kill", lambda c: c.kill_task("h", "t"), {}),
        ("POST /sandboxes/h/daemon/git/x", lambda c: c.daemon("h", "POST", "/git/x", {}), {}),
        ("POST /agents/a/snapshots", lambda c: c.save("a", name="n"), {"name": "n"}),
        ("GET /agents/a/snapshots/s", lambda c: c.snapshot("a", "s"), None),
        ("POST /agents/a/snapshots/s/fork", lambda c: c.fork("a", "s"), {}),
        ("POST /agents/a/snapshots/s/fork",
         lambda c: c.fork("a", "s", "b", to_branch="t", new_agent=True, title="T", name="n"),
         {"branch": "b", "to_branch": "t", "new_agent": {"title": "T"}, "name": "n"}),
        ("POST /agents/a/snapshots/s/fork", lambda c: c.fork("a", "s", new_agent=True),
         {"new_agent": {}}),
        ("PATCH /agents/a/snapshots/s", lambda c: c.name_snapshot("a", "s", None),
         {"name": None}),
        ("PATCH /agents/a/snapshots/s", lambda c: c.name_snapshot("a", "s", "n", "b"),
         {"branch": "b", "name": "n"}),
        ("DELETE /agents/a/snapshots/s", lambda c: c.delete_snapshot("a", "s", "b"), None),
        ("POST /threads", lambda c: c.threads.create("a", title="T"),
         {"agent_id": "a", "title": "T"}),
        ("GET /threads/t", lambda c: c.threads.get("t"), None),
        ("PATCH /threads/t", lambda c: c.threads.update("t", archived=True), {"archived": True}),
        ("DELETE /threads/t", lambda c: c.threads.delete("t"), None),
        ("POST /threads/t/messages", lambda c: c.threads.send("t", "hi", message_id="m"),
         {"text": "hi", "id": "m"}),
        ("POST /threads/t/stop", lambda c: c.threads.stop("t"), {"keep_queued": False}),
        ("POST /threads/t/undo", lambda c: c.threads.undo("t"), {}),
        ("POST /threads/t/fork", lambda c: c.threads.fork("t", "r", when="before"),
         {"run": "r", "when": "before"}),
        ("GET /threads/t/export", lambda c: c.threads.export("t"), None),
        ("POST /threads/import", lambda c: c.threads.import_("a", {"format": "x"}),
         {"agent_id": "a", "document": {"format": "x"}}),
        ("POST /model-providers", lambda c: c.model_providers.add("openai", api_key="k"),
         {"kind": "openai", "api_key": "k"}),
        ("DELETE /model-providers/p", lambda c: c.model_providers.delete("p"), None),
        ("POST /model-providers/p/test", lambda c: c.model_providers.test("p"), {}),
        ("POST /agents/a/mcp-servers", lambda c: c.mcp_servers.set("a", "s", "u"),
         {"name": "s", "url": "u"}),
        ("POST /agents/a/mcp-servers", lambda c: c.mcp_servers.set("a", "s", "u", {}),
         {"name": "s", "url": "u", "headers": {}}),
        ("DELETE /agents/a/mcp-servers/s", lambda c: c.mcp_servers.delete("a", "s"), None),
        ("POST /agents/a/mcp-servers/s/test", lambda c: c.mcp_servers.test("a", "s"), {}),
        ("POST /agents/a/snapshots/s/restore", lambda c: c.restore("a", "s", "b"), {"branch": "b"}),
    ],
)  # fmt: skip
def test_an_operation_is_its_route(
    wire: Wire, client: Client, route: str, call: Call, sent: object
) -> None:
    wire.on(route, {"ok": True})
    call(client)
    asked = wire.last(route)
    assert (asked.json if asked.body else None) == sent
    assert asked.headers.get("content-type") == ("application/json" if asked.body else None)


@pytest.mark.parametrize(
    ("route", "call", "answer", "given"),
    [
        ("GET /agents", lambda c: c.agents(), {"agents": [1]}, [1]),
        ("GET /templates", lambda c: c.templates(), {"templates": [2]}, [2]),
        ("GET /agents/a/mcp-servers", lambda c: c.mcp_servers.all("a"), {"servers": [8]}, [8]),
        ("GET /sandboxes", lambda c: c.sandboxes("a"), {"sandboxes": [3]}, [3]),
        ("GET /agents/a/snapshots", lambda c: c.snapshots("a", "b"), {"snapshots": [4]}, [4]),
        ("GET /sandboxes/h/daemon/tasks", lambda c: c.tasks("h"), {"tasks": [5]}, [5]),
        ("POST /sandboxes/h/daemon/tasks/kill-all", lambda c: c.kill_all_tasks("h"),
         {"killed": 6}, 6),
        ("GET /api/system", lambda c: c.system(), {"version": "7"}, {"version": "7"}),
        ("POST /api/sign-in-links", lambda c: c.sign_in_link(), {"url": "u"}, "u"),
    ],
)  # fmt: skip
def test_an_answer_is_unwrapped(
    wire: Wire, client: Client, route: str, call: Call, answer: object, given: object
) -> None:
    wire.on(route, answer)
    assert call(client) == given


def test_queries_are_quoted_and_left_out_when_not_given(wire: Wire, client: Client) -> None:
    wire.on("GET /agents/a/snapshots", {"snapshots": []})
    client.snapshots("a", "x/y&z=1")
    assert wire.last("GET /agents/a/snapshots").query == {"branch": "x/y&z=1"}
    client.snapshots("a")
    assert wire.last("GET /agents/a/snapshots").query == {}


# -- tars -----------------------------------------------------------------------------------------


def test_an_export_is_written_whole_with_its_progress(
    wire: Wire, client: Client, tmp_path: Path
) -> None:
    body = bytes(range(256)) * 20_000
    wire.on("GET /agents/a/snapshots/s/export", Answer(body))
    told: list[tuple[int, int | None]] = []
    target = tmp_path / "out.tar"
    target.write_bytes(b"older")
    size = client.export("a", "s", target, progress=lambda n, of: told.append((n, of)))
    assert target.read_bytes() == body
    assert (size, told[-1]) == (len(body), (len(body), len(body)))
    assert sorted(told) == told


@pytest.mark.parametrize(
    "answer",
    [
        Answer(iter([b"x" * 3000]), cut=True),
        Answer(b"x" * 3000, headers={"Content-Length": "9000"}, cut=True),
    ],
)
def test_an_export_that_breaks_off_leaves_what_was_there(
    wire: Wire, client: Client, tmp_path: Path, answer: Answer
) -> None:
    wire.on("GET /agents/a/snapshots/s/export", answer)
    target = tmp_path / "out.tar"
    target.write_bytes(b"older")
    with pytest.raises(UnreachableError):
        client.export("a", "s", target)
    assert target.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == ["out.tar"]


def test_an_export_of_a_damaged_snapshot_makes_no_file(
    wire: Wire, client: Client, tmp_path: Path
) -> None:
    wire.on("GET /agents/a/snapshots/s/export", error(422, "snapshot_damaged"))
    with pytest.raises(SnapshotDamagedError):
        client.export("a", "s", tmp_path / "out.tar")
    assert not list(tmp_path.iterdir())


def test_an_import_streams_the_file(wire: Wire, client: Client, tmp_path: Path) -> None:
    body = bytes(range(256)) * 20_000
    (tmp_path / "in.tar").write_bytes(body)
    wire.on("POST /agents/a/snapshots/import", {"id": "s"})
    told: list[int] = []
    made = client.import_tar(
        "a", tmp_path / "in.tar", branch="b", progress=lambda n, _: told.append(n)
    )
    asked = wire.last("POST /agents/a/snapshots/import")
    assert made["id"] == "s"
    assert asked.body == body
    assert asked.headers["content-type"] == "application/x-tar"
    assert asked.headers["transfer-encoding"] == "chunked"
    assert asked.query == {"branch": "b"}
    assert told[-1] == len(body)


def test_an_import_that_breaks_off_never_looks_whole(
    wire: Wire, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "in.tar").write_bytes(b"x" * (3 << 20))

    def stop(sent: int, _: int | None) -> None:
        if sent > 1 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.import_tar("a", tmp_path / "in.tar", progress=stop)
    assert wire.arrived.get(timeout=10).cut


def test_a_refused_import_tells_why(wire: Wire, client: Client, tmp_path: Path) -> None:
    (tmp_path / "in.tar").write_bytes(b"no tar")
    wire.on("POST /agents/a/snapshots/import", error(422, "tar_damaged"))
    with pytest.raises(TarDamagedError):
        client.import_tar("a", tmp_path / "in.tar")


# -- events ---------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "RECONNECT_S", (0.0, 0.0, 0.0))


@pytest.mark.usefixtures("quick")
def test_events_go_on_after_the_last_one_when_the_stream_breaks(wire: Wire, client: Client) -> None:
    streams = [
        Answer(sse(("phase", {"kind": "claiming"}), ("log", {"n": 1}, "boot-1")), cut=True),
        Answer(sse(("log", {"n": 2}, "boot-2"))),
        error(503, "unreachable"),
        Answer(sse(("log", {"n": 3}, "boot-3"), ("bye", {}))),
    ]
    wire.on("GET /vm-events", lambda _: streams.pop(0))
    names = [(e.name, e.json().get("n")) for e in client.events("a", "b")]
    assert names == [("phase", None), ("log", 1), ("log", 2), ("log", 3), ("bye", None)]
    asked = [a.headers.get("last-event-id") for a in wire.asked]
    assert asked == [None, "boot-1", "boot-2", "boot-2"]
    assert wire.asked[0].query == {"virtualMcpId": "a", "branch": "b"}


@pytest.mark.usefixtures("quick")
def test_a_server_that_stays_away_is_told_in_the_end(wire: Wire, client: Client) -> None:
    first = [Answer(sse(("log", {})))]
    wire.on("GET /vm-events", lambda _: first.pop() if first else error(503, "unreachable"))
    seen: list[Event] = []
    with pytest.raises(UnreachableError):
        seen.extend(client.events("a"))
    assert len(wire.asked) == 1 + 1 + len(feed.RECONNECT_S) - 1


def test_an_agent_that_is_not_there_is_told_at_once(wire: Wire, client: Client) -> None:
    with pytest.raises(NotFoundError):
        next(iter(client.events("a")))
    assert len(wire.asked) == 1


def test_a_server_that_cannot_be_had_at_first_is_told_at_once(wire: Wire, client: Client) -> None:
    wire.on("GET /vm-events", error(503, "stopping"))
    with pytest.raises(UnreachableError):
        next(iter(client.events("a")))
    assert len(wire.asked) == 1


def test_closing_wakes_a_reader_in_another_thread(wire: Wire, client: Client) -> None:
    release = threading.Event()

    def quiet(_: Asked) -> Answer:
        def body() -> Iterator[bytes]:
            yield from sse(("log", {}))
            release.wait(30)

        return Answer(body())

    wire.on("GET /vm-events", quiet)
    events = client.events("a")
    seen: list[Event] = []
    first = threading.Event()

    def read() -> None:
        for event in events:
            seen.append(event)
            first.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert first.wait(10)
        events.close()
        reader.join(10)
        assert not reader.is_alive()
        assert [e.name for e in seen] == ["log"]
    finally:
        release.set()


def test_a_tasks_output_is_not_replayed_when_it_breaks(wire: Wire, client: Client) -> None:
    route = "GET /sandboxes/h/daemon/tasks/t/stream"
    wire.on(route, lambda _: Answer(sse(("stdout", {"data": "x"})), cut=True))
    seen: list[Event] = []
    with pytest.raises(UnreachableError):
        seen.extend(client.task_events("h", "t"))
    assert len(wire.asked) == 1
