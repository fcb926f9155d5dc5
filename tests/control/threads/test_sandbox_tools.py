"""The tools of a run over a real daemon: what they give, and what they say when they cannot."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest

from limpet.control.threads import sandbox_tools
from limpet.control.threads.command_output import HEAD_CHARS, SHOWN_CHARS, TAIL_CHARS
from limpet.control.threads.console import PreviewConsoles
from limpet.control.threads.preview_look import NO_SCREENSHOT, NO_TAB, NO_WORDS
from limpet.control.threads.reading_pages import page_text
from limpet.control.threads.sandbox_tools import DaemonTools
from limpet.harness.tools import Edit, Ended, Said, SandboxTools, ToolFailedError
from tests.control.sandboxes.conftest import Box, House

pytestmark = pytest.mark.anyio


@pytest.fixture
async def agent_box(house: House) -> Box:
    box = await house.agent(template="page")
    await box.start()
    return box


@pytest.fixture
def consoles() -> PreviewConsoles:
    return PreviewConsoles()


@pytest.fixture
async def tools(agent_box: Box, consoles: PreviewConsoles) -> DaemonTools:
    async def revive() -> None:
        await agent_box.start()

    made = DaemonTools(agent_box.service, agent_box.key, consoles, revive)
    fits: SandboxTools = made
    return cast(DaemonTools, fits)


async def ran(events: AsyncIterator[Said | Ended]) -> tuple[str, Ended]:
    said = ""
    async for event in events:
        if isinstance(event, Ended):
            return said, event
        said += event.text
    raise AssertionError("it did not end")


async def test_files_are_read_written_edited_and_found(tools: DaemonTools) -> None:
    made = await tools.write("src/new.txt", "one\ntwo\nthree\n")
    assert made.diff.startswith("--- /dev/null\n+++ b/src/new.txt")
    assert await tools.read("src/new.txt", offset=1, limit=1) == "2\ttwo"
    edited = await tools.edit("src/new.txt", [Edit("two", "2"), Edit("e", "E", everywhere=True)])
    assert "+onE\n+2\n+thrEE\n" in edited.diff
    assert "thrEE" in await tools.read("src/new.txt")
    assert list(await tools.glob("**/*.txt")) == ["src/new.txt", "src/page.txt"]
    assert "src/new.txt:3:thrEE" in await tools.grep("THREE", ignore_case=True)


async def test_what_does_not_fit_changes_nothing_and_says_why(tools: DaemonTools) -> None:
    await tools.write("a.txt", "one\n")
    with pytest.raises(ToolFailedError, match="edit 2 of 2"):
        await tools.edit("a.txt", [Edit("one", "1"), Edit("nowhere", "x")])
    assert "one" in await tools.read("a.txt")
    for path in ("../../../etc/passwd", "missing.txt"):
        with pytest.raises(ToolFailedError):
            await tools.edit(path, [Edit("root", "x")])
    with pytest.raises(ToolFailedError, match="Path escapes"):
        await tools.write("../../state/x", "x")
    with pytest.raises(ToolFailedError, match="not found"):
        await tools.read("missing.txt")
    with pytest.raises(ToolFailedError):
        await tools.grep("(")


async def test_a_command_is_heard_while_it_runs(tools: DaemonTools, agent_box: Box) -> None:
    async with aclosing(
        tools.bash("echo first; while [ ! -e go ]; do sleep 0.05; done; exit 3")
    ) as events:  # type: ignore[type-var]
        assert isinstance(first := await anext(events), Said)
        assert first.text == "first\n"
        await agent_box.write("go", "")
        said, ended = await ran(events)
    assert (ended.code, ended.output, ended.timed_out) == (3, "first\n", False)
    assert said == ""


async def test_a_command_that_takes_too_long_is_ended(tools: DaemonTools) -> None:
    _, ended = await ran(tools.bash("echo on; sleep 984", timeout_s=1))
    assert (ended.code, ended.timed_out, ended.output) == (124, True, "on\n")


async def test_of_much_output_both_ends_are_kept(tools: DaemonTools, agent_box: Box) -> None:
    command = "echo begin; while [ ! -e go ]; do sleep 0.05; done; yes middle | head -c 3000000"
    events = tools.bash(f"{command}; echo; echo end")
    first = await anext(events)
    assert first == Said("begin\n")
    await agent_box.write("go", "")
    said, ended = await ran(events)
    assert ended.truncated
    assert ended.output.startswith("begin\n")
    assert ended.output.endswith("end\n")
    assert len(ended.output) < HEAD_CHARS + TAIL_CHARS + 100
    assert len(said) < SHOWN_CHARS + 100


async def test_a_command_whose_stream_is_cut_off_is_waited_for(
    tools: DaemonTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(_chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        for frame in ():
            yield frame

    monkeypatch.setattr(sandbox_tools, "split_frames", cut)
    said, ended = await ran(tools.bash("sleep 0.2; echo done; exit 3"))
    assert (said, ended.code, ended.output, ended.truncated) == ("", 3, "done\n", True)


async def test_who_stops_listening_ends_the_command(tools: DaemonTools, agent_box: Box) -> None:
    async def listen() -> None:
        await ran(tools.bash("echo on; touch begun; sleep 983"))

    listening = asyncio.create_task(listen())
    async with asyncio.timeout(30):
        while await agent_box.read("begun") is None:
            await asyncio.sleep(0.02)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await ends(agent_box, "sleep 983")


async def test_who_stops_listening_before_it_is_told_of_the_command_ends_it_too(
    tools: DaemonTools, agent_box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, begun, told = tools._call, asyncio.Event(), asyncio.Event()

    async def late(method: str, route: str, *more: Any, **named: Any) -> Any:
        answer = await call(method, route, *more, **named)
        if route == "/bash":
            begun.set()
            await told.wait()
        return answer

    monkeypatch.setattr(tools, "_call", late)
    listening = asyncio.create_task(ran(tools.bash("sleep 985")))
    await begun.wait()
    listening.cancel()
    asyncio.get_running_loop().call_soon(told.set)
    await asyncio.gather(listening, return_exceptions=True)
    assert listening.cancelled()
    await ends(agent_box, "sleep 985")


async def ends(box: Box, command: str) -> None:
    """Killed it is by now; that it has ended is told a little later."""
    client = await box.client()
    async with asyncio.timeout(30):
        while command in str(await client.call("GET", "/_sandbox/tasks?status=running")):
            await asyncio.sleep(0.02)


async def test_tasks_run_on_and_are_stopped(tools: DaemonTools) -> None:
    task = await tools.start_task("echo up; sleep 982")
    async with asyncio.timeout(30):
        while "up" not in (log := await tools.task_log(task)):
            await asyncio.sleep(0.05)
    assert log.startswith("[running]")
    await tools.stop_task(task)
    async with asyncio.timeout(30):
        while (await tools.task_log(task)).startswith("[running]"):
            await asyncio.sleep(0.05)
    for hostile in ("../config", "x/../../health", ""):
        with pytest.raises(ToolFailedError, match="no task"):
            await tools.task_log(hostile)


async def test_git_answers_and_its_refusals_are_told(tools: DaemonTools) -> None:
    await tools.write("a b.txt", "x")
    assert "a b.txt" in await tools.git(["status", "--short"])
    await tools.git(["add", "."])
    await tools.git(["commit", "-m", "It's; $(touch evil) done"])
    assert "$(touch evil)" in await tools.git(["log", "-1", "--format=%s"])
    assert await tools.glob("evil") == []
    with pytest.raises(ToolFailedError, match="nothing-like-it"):
        await tools.git(["checkout", "nothing-like-it"])


async def test_snapshots_are_saved_and_rolled_back_to(tools: DaemonTools) -> None:
    await tools.write("a.txt", "one")
    saved = await tools.save("before the change")
    await tools.write("a.txt", "two")
    words = await tools.roll_back(saved)
    assert "one" in await tools.read("a.txt")
    assert "What was there before is snapshot" in words
    for hostile in ("../x", "20260101t000000z-aaaaaaaaaaaa"):
        with pytest.raises(ToolFailedError):
            await tools.roll_back(hostile)
    with pytest.raises(ToolFailedError):
        await tools.save("x" * 101)


SERVER = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/moved':
            self.send_response(302); self.send_header('Location', '/?a=1'); self.end_headers()
            return
        self.send_response(200 if self.path.startswith('/?') or self.path == '/' else 404)
        self.send_header('Content-Type', 'text/html')
        self.end_headers()
        said = b'' if self.path == '/drawn' else b'<h1>Hello</h1><p>you</p>'
        self.wfile.write(b'<title>My  page</title><script>no</script>' + said)
http.server.HTTPServer(('127.0.0.1', PORT), Page).serve_forever()
"""


async def test_the_preview_is_looked_at_as_it_is(
    house: House, consoles: PreviewConsoles, free_tcp_port: int
) -> None:
    box = await house.agent(start_command="python3 serve.py")
    await box.start()
    await box.write("serve.py", SERVER.replace("PORT", str(free_tcp_port)))
    client = await box.client()
    await client.call("POST", "/_sandbox/setup/start", json={})
    async with asyncio.timeout(60):
        while not (await client.health()).ready:
            await asyncio.sleep(0.1)

    async def revive() -> None:
        await box.start()

    tools = DaemonTools(box.service, box.key, consoles, revive)
    page = await tools.preview()
    assert (page.status, page.title) == (200, "My page")
    assert page.text == f"Hello\nyou\n{NO_TAB}"
    assert (await tools.preview(path="/gone")).status == 404
    moved = await tools.preview(path="/moved")
    assert (moved.status, moved.url.endswith("/?a=1")) == (200, True)
    consoles.hear(tools.handle, ["TypeError: x is undefined"], reset=False)
    heard = await tools.preview(screenshot=True)
    assert list(heard.console_errors) == ["TypeError: x is undefined"]
    assert heard.text.endswith(NO_SCREENSHOT)
    assert heard.screenshot_png is None
    consoles.hear(tools.handle, [], reset=True)
    assert list((await tools.preview()).console_errors) == []
    for hostile in (
        "/_sandbox/config",
        "/_sandbox/../_sandbox/idle",
        "//_sandbox/x/../../_sandbox/config",
        "/a b",
        "/health",
    ):
        with pytest.raises(ToolFailedError):
            await tools.preview(path=hostile)
    assert NO_WORDS in (await tools.preview(path="/drawn")).text
    elsewhere = await tools.preview(path="http://example.com/gone")
    assert elsewhere.status == 404


def test_pages_are_read_however_broken() -> None:
    page = page_text("<title>A &amp; B<p>x<style>no</p></style><ul><li>one<li>two</ul><b>bold")
    assert "no" not in page.text
    assert page_text("<body>a<script>b</body>").text == "a"
    assert page_text("").text == ""
    assert page_text("<p>one</p>\n\n <p>two   three</p>").text == "one\ntwo three"
