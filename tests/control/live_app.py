"""The real app behind a real server on the loopback, in this process."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from limpet.control.app import Limpet
from limpet.control.db import EMBEDDED_ORG, EMBEDDED_USER
from limpet.control.listening import listen
from limpet.control.serve import new_server
from limpet.control.settings import Settings
from limpet.control.threads.harnesses import HARNESSES, Harnesses


@dataclass
class LiveApp:
    """A served control plane, an API key for it, and a client that has neither key nor cookie."""

    limpet: Limpet
    port: int
    key: str
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def raw(self, method: str, path: str, **more: Any) -> tuple[int, Any, Any]:
        """Status, headers and body (JSON when it is), without credentials."""
        async with self.http.request(
            method, self.url + path, allow_redirects=False, **more
        ) as answer:
            text = (await answer.read()).decode()
            is_json = "json" in answer.headers.get("content-type", "")
            return answer.status, answer.headers, json.loads(text) if is_json else text

    async def api(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        """Status and JSON of `/api/local<path>` with the API key."""
        headers = {"Authorization": f"Bearer {self.key}", **more.pop("headers", {})}
        if body is not None:
            more["json"] = body
        status, _, answer = await self.raw(method, f"/api/local{path}", headers=headers, **more)
        return status, answer

    async def agent(self, **wanted: Any) -> dict[str, Any]:
        """A new agent."""
        status, agent = await self.api("POST", "/agents", wanted)
        assert status == 200, agent
        assert isinstance(agent, dict)
        return agent

    async def cookie(self) -> str:
        """The cookie of a browser that signed in."""
        token = self.limpet.services.authenticator.new_sign_in_token()
        status, headers, _ = await self.raw("GET", f"/sign-in?token={token}")
        assert status == 303
        return str(headers["set-cookie"].split(";")[0])


@contextlib.asynccontextmanager
async def live_app(
    data_dir: Path, *, harnesses: Harnesses = HARNESSES, **settings: Any
) -> AsyncIterator[LiveApp]:
    """Serve from `data_dir` on any free port."""
    listening = listen("127.0.0.1", 0, insist=False)
    with contextlib.closing(listening):
        chosen = Settings(data_dir=data_dir, port=listening.port, drain_s=2, **settings)
        async with (
            Limpet.open(chosen, harnesses=harnesses) as limpet,
            aiohttp.ClientSession() as http,
        ):
            key = await limpet.services.authenticator.replace_api_key(
                EMBEDDED_ORG, EMBEDDED_USER, "tests"
            )
            server = new_server(limpet, chosen)
            serving = asyncio.create_task(server.serve(sockets=list(listening.sockets)))
            try:
                yield LiveApp(limpet, listening.port, key, http)
            finally:
                await http.close()
                server.should_exit = True
                await serving
