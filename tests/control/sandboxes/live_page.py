"""A served control plane with one agent whose template is a tiny node server, up and running."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from limpet.ids import Handle
from tests.control.live_app import LiveApp, live_app
from tests.daemon.setup.projects import app_files


@dataclass
class LivePage:
    """The server, its agent, and the sandbox's handle."""

    app: LiveApp
    agent: str
    handle: str

    @property
    def host(self) -> str:
        return f"{self.handle}.localhost:{self.app.port}"

    def get(self, path: str, *, host: str | None = None, **more: Any) -> Any:
        """A request as a browser sends it to the preview's host."""
        headers = {"Host": host or self.host, **more.pop("headers", {})}
        return self.app.http.get(self.app.url + path, headers=headers, **more)

    def daemon(self, method: str, route: str, **more: Any) -> Any:
        """A request to the daemon by way of the API."""
        return self.app.http.request(
            method,
            f"{self.app.url}/api/local/sandboxes/{self.handle}/daemon/{route}",
            headers={"Authorization": f"Bearer {self.app.key}", **more.pop("headers", {})},
            **more,
        )

    async def box(self) -> Any:
        _, box = await self.app.api("GET", f"/sandboxes/{self.handle}")
        return box

    @contextlib.asynccontextmanager
    async def events(self, **headers: str) -> AsyncIterator["Events"]:
        """The sandbox's event stream."""
        async with self.app.http.get(
            f"{self.app.url}/api/local/vm-events",
            params={"virtualMcpId": self.agent},
            headers={"Authorization": f"Bearer {self.app.key}", **headers},
        ) as answer:
            assert answer.status == 200
            assert answer.headers["X-Accel-Buffering"] == "no"
            yield Events(answer)

    async def until_phase(self, phase: str) -> Any:
        """The sandbox once its daemon's phase is `phase`."""
        async with self.events() as events:
            await events.until("lifecycle", lambda data: data["state"]["phase"] == phase)
        return await self.box()


@dataclass
class Events:
    """Server-sent events as they come."""

    answer: aiohttp.ClientResponse

    async def next(self) -> tuple[str, Any, str | None]:
        """The next event's name, data and id; `end` when the stream has ended."""
        name, data, id_ = "message", "", None
        while True:
            line = (await self.answer.content.readline()).decode()
            if not line:
                return "end", None, None
            field, _, value = line.rstrip("\n").partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data += value
            elif field == "id":
                id_ = value
            elif line == "\n" and data:
                return name, json.loads(data), id_

    async def until(self, wanted: str, holds: Any = lambda _data: True) -> list[Any]:
        """All events up to the first `wanted` one that `holds` is true of."""
        seen = []
        async with asyncio.timeout(60):
            while True:
                event = await self.next()
                seen.append(event)
                if event[0] == wanted and holds(event[1]):
                    return seen
                assert event[0] != "end", seen


@contextlib.asynccontextmanager
async def live_page(
    folder: Path, server_js: str | None = None, **settings: Any
) -> AsyncIterator[LivePage]:
    """Serve; make the agent; wait until its page is shown; end everything afterwards.

    `server_js` is another dev server than the usual one.
    """
    template = folder / "templates" / "node"
    files = {**app_files(), **({"server.js": server_js} if server_js is not None else {})}
    for name, text in files.items():
        (template / name).parent.mkdir(parents=True, exist_ok=True)
        (template / name).write_text(text)
    (template / "template.json").write_text('{"title": "Node", "description": "A node server"}')
    async with live_app(
        folder / "data", templates_dir=folder / "templates", isolation="none", **settings
    ) as app:
        agent = (await app.agent(title="Node", template="node"))["id"]
        status, started = await app.api("POST", "/vm/start", {"virtualMcpId": agent})
        assert status == 200, started
        page = LivePage(app, agent, started["vmId"])
        try:
            await page.until_phase("running")
            yield page
        finally:
            await app.limpet.services.runner.delete(Handle(page.handle))
