"""chat, threads and models against a real server, whose model does as it is told."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.control.threads.test_kill import Server, served

pytestmark = [pytest.mark.anyio, pytest.mark.long]
KEY = "sk-secret-of-the-tests"


@dataclass
class Shell:
    """Runs the real `limpet` against the server."""

    server: Server
    folder: Path

    async def begin(self, *arguments: str, **env: str) -> Process:
        own = {k: v for k, v in os.environ.items() if not k.startswith(("LIMPET_", "SANDBOX_"))}
        more = {
            "LIMPET_URL": self.server.url, "LIMPET_API_KEY": self.server.key, "NO_COLOR": "1",
            "COLUMNS": "200", **env,
        }  # fmt: skip
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "limpet.cli", *arguments,
            stdin=PIPE, stdout=PIPE, stderr=PIPE, env={**own, **more}, cwd=self.folder,
        )  # fmt: skip

    async def __call__(self, *arguments: str, given: str = "", **env: str) -> tuple[int, str, str]:
        process = await self.begin(*arguments, **env)
        async with asyncio.timeout(90):
            out, err = await process.communicate(given.encode())
        assert b"Traceback" not in err, err.decode()
        return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
async def limpet(tmp_path: Path) -> AsyncIterator[Shell]:
    async with served(tmp_path / "data") as server:
        agent = await server.api("POST", "/agents", {"title": "Shop"})
        shell = Shell(server, tmp_path)
        try:
            yield shell
        finally:
            with contextlib.suppress(AssertionError):
                await server.api("DELETE", f"/agents/{agent['id']}")


async def with_model(limpet: Shell) -> None:
    code, _, err = await limpet(
        "models", "add", "openai-compatible", "--url", "http://127.0.0.1:1/v1", "-m", "m",
        "--name", "Here", "--key-env", "THE_KEY", THE_KEY=KEY,
    )  # fmt: skip
    assert code == 0, err


async def test_chat_shows_text_and_tools_and_goes_on(limpet: Shell) -> None:
    code, _, err = await limpet("chat", "Shop", "say hello")
    assert (code, "limpet models add" in err) == (2, True)
    await with_model(limpet)
    script = "say Hello \x1b[31m\nwrite a.txt one\nbash echo wrong; exit 3\nsay done"
    code, out, err = await limpet("chat", "Shop", script)
    assert (code, out) == (0, "Hello [31m\ndone\n")
    assert "● write a.txt one" in err
    assert "wrong" in err
    code, out, err = await limpet("chat", "Shop", "-c", given="read a.txt\nsay again\n")
    assert (code, "again" in out) == (0, True)
    code, out, _ = await limpet("threads", "ls", "--json")
    [thread] = json.loads(out)[:1]
    code, out, err = await limpet("threads", "show", thread["id"])
    assert "done" in out
    assert "> say again" in err


async def test_ctrl_c_stops_the_run(limpet: Shell) -> None:
    await with_model(limpet)
    process = await limpet.begin("chat", "Shop", "say begun\nbash sleep 985")
    assert process.stdout is not None
    async with asyncio.timeout(90):
        assert await process.stdout.readexactly(5) == b"begun"
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130, err.decode()
    [thread] = (await limpet.server.api("GET", "/threads"))["threads"]
    runs = (await limpet.server.api("GET", f"/threads/{thread['id']}/runs"))["runs"]
    assert [run["status"] for run in runs] == ["stopped"]


async def test_a_thread_is_exported_imported_and_deleted(limpet: Shell) -> None:
    await with_model(limpet)
    await limpet("chat", "Shop", "say carried over")
    [thread] = (await limpet.server.api("GET", "/threads"))["threads"]
    code, _, err = await limpet("threads", "export", thread["id"], "-o", "out.json")
    assert code == 0, err
    code, out, err = await limpet("threads", "import", "Shop", "out.json", "--json")
    assert code == 0, err
    made = json.loads(out)
    code, out, _ = await limpet("threads", "show", made["id"])
    assert "carried over" in out
    code, _, err = await limpet("threads", "import", "Shop", "-", given="[]")
    assert (code, "no exported thread" in err) == (2, True)
    code, _, _ = await limpet("threads", "rm", made["id"], "-y")
    assert code == 0
    code, _, _ = await limpet("threads", "show", made["id"])
    assert code == 4


async def test_models_are_listed_tested_and_removed_and_no_key_is_shown(limpet: Shell) -> None:
    await with_model(limpet)
    code, out, err = await limpet("models", "ls")
    assert (code, KEY in out + err) == (0, False)
    assert "Here (default)" in out
    code, out, err = await limpet("models", "test", "Here")
    assert (code, "does not answer" in err) == (1, True)
    assert KEY not in out + err
    code, _, err = await limpet("models", "add", "openai")
    assert (code, "key is needed" in err) == (2, True)
    code, _, _ = await limpet("models", "rm", "Here", "-y")
    assert code == 0
    _, out, _ = await limpet("models", "ls", "--json")
    assert json.loads(out) == []
