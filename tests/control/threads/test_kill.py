"""kill -9 of the whole control plane in the middle of a run, and another one in its place."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.control.threads.following import tab

pytestmark = [pytest.mark.anyio, pytest.mark.long]
SERVER = Path(__file__).with_name("scripted_server.py")


@dataclass
class Server:
    """A served control plane in a process of its own."""

    process: asyncio.subprocess.Process
    url: str
    key: str

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method, f"{self.url}/api/local{path}", json=body, headers=headers
            ) as answer,
        ):
            told = await answer.json()
            assert answer.status == 200, told
            return told

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@asynccontextmanager
async def served(data_dir: Path) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), str(data_dir), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        while not (line := await process.stdout.readline()).startswith(b"["):
            assert line, "the server ended"
        url, key = json.loads(line)
        yield Server(process, url, key)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_run_survives_kill_9_of_its_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with served(data) as first:
        provider = {"kind": "openai-compatible", "base_url": "http://127.0.0.1:1/v1"}
        await first.api("POST", "/model-providers", {**provider, "models": ["m"]})
        agent = await first.api("POST", "/agents", {"title": "Worker"})
        thread = await first.api("POST", "/threads", {"agent_id": agent["id"]})
        lines = [
            "write a.txt from before",
            "say before ",
            "keep",
            "bash while [ ! -e go ]; do sleep 0.05; done",
            "read a.txt",
            "say after",
        ]
        path = f"/threads/{thread['id']}"
        sent = await first.api("POST", f"{path}/messages", {"text": "\n".join(lines)})
        async with tab(first.url, first.key, thread["id"]) as follower:
            await follower.until(
                lambda name, data: name == "event" and data["event"].get("name") == "bash"
            )
        seen = follower.ids[-1]
        await first.kill()
    async with served(data) as second:
        try:
            await second.api("POST", f"{path}/messages", {"text": "say queued"})
            async with tab(second.url, second.key, thread["id"], last=seen) as again:
                await again.until(
                    lambda name, data: name == "event" and data["event"].get("name") == "bash"
                )
                boxes = await second.api("GET", "/sandboxes")
                [handle] = [box["handle"] for box in boxes["sandboxes"]]
                await second.api("POST", f"/sandboxes/{handle}/exec", {"command": "touch go"})
                await again.until_kind("run_finished")
                ended = again.events[-1]
                assert (ended["run"], ended["how"]) == (sent["run"], "done")
                await again.until_kind("run_finished")  # what waited is done, too
            assert again.ids[0] == seen + 1
            assert (follower.text + again.text) == "before afterqueued"
            [read] = [e for e in again.events if "from before" in e.get("output", "")]
            assert read["ok"]
            cut = [e for e in again.events if e["kind"] == "tool_finished" and not e["ok"]]
            assert len(cut) == 1
        finally:
            await second.api("DELETE", f"/agents/{agent['id']}")
