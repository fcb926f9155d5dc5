"""Vite's hot reload through both hops: browser, control plane's proxy, daemon, Vite."""

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import pytest

from tests.daemon.setup.projects import lifecycle, setup_log, wait_phase
from tests.daemon_process import TOKEN, DaemonProcess
from tests.test_reverse_proxy import fronted

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

FILES = {
    "package.json": json.dumps(
        {
            "name": "hot",
            "private": True,
            "type": "module",
            "scripts": {"dev": "vite"},
            "devDependencies": {"vite": "^7.0.0"},
        }
    ),
    "index.html": '<html><body><script type="module" src="/main.js"></script></body></html>',
    "main.js": "import './part.js'\nimport.meta.hot.accept('./part.js', () => {})\n",
    "part.js": "export const word = 'before'\n",
}


@pytest.mark.timeout(600)
async def test_an_edit_reaches_the_browser_through_both_hops(
    daemon: DaemonProcess, repo: Path
) -> None:
    for name, text in FILES.items():
        (repo / name).write_text(text)
    daemon.post("/config", {})
    await asyncio.to_thread(wait_phase, daemon, "running", timeout_s=300.0)
    assert lifecycle(daemon)["htmlSupport"] is True
    assert "Installed." in setup_log(daemon)
    async with fronted(daemon.url) as (url, front), aiohttp.ClientSession() as browser:
        front.extra_headers = [("X-Limpet-Token", TOKEN), ("X-Forwarded-Host", "h.example.com")]
        page = {"Accept": "text/html", "Sec-Fetch-Dest": "iframe", "Host": "h.example.com"}
        async with browser.get(url, headers=page) as answer:
            html = await answer.text()
        assert "data-limpet" in html
        assert "/@vite/client" in html
        async with browser.get(f"{url}/@vite/client") as answer:
            token = re.search(r'wsToken = "([^"]+)"', await answer.text())
        for path in ("main.js", "part.js"):
            async with browser.get(f"{url}/{path}") as answer:
                assert answer.status == 200
        assert token is not None
        headers = {"Origin": "http://h.example.com", "Host": "h.example.com"}
        async with browser.ws_connect(
            f"{url}/?token={token[1]}", protocols=["vite-hmr"], headers=headers
        ) as ws:
            assert ws.protocol == "vite-hmr"
            assert (await ws.receive_json())["type"] == "connected"
            (repo / "part.js").write_text("export const word = 'after'\n")
            async with asyncio.timeout(20):
                while (message := await ws.receive_json())["type"] != "update":
                    pass
            assert message["updates"][0]["acceptedPath"] == "/part.js"
        async with browser.get(f"{url}/part.js") as answer:
            assert "after" in await answer.text()
